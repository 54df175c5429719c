//! What survives: one journal per flow, in words that people can read. Knows no files but its own.

pub mod format;
pub mod journal;
pub mod reserve;
pub mod storage;
