//! Bytes to records: framing (`split`) and processing (`pipeline`). Knows no files, no sockets, no clock.

mod emit;
mod fields;
mod parse;
pub mod pipeline;
pub mod split;
mod text;
