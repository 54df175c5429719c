//! Bytes to records: framing (`split`) and processing (`pipeline`). Knows no files, no sockets, no clock.

pub mod pipeline;
pub mod split;
