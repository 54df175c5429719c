//! Bytes to records: framing (`split`) and processing (`pipeline`). Knows no files, no sockets, no clock.

pub mod ec2;
mod emit;
mod fields;
pub mod java;
pub mod key;
mod parse;
pub mod pipeline;
pub mod regex;
pub mod split;
mod text;
