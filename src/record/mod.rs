//! Bytes to records: framing (`split`) and processing (`pipeline`). Knows no files, no sockets, no clock.

pub mod ec2;
mod emit;
mod fields;
pub mod java;
mod json;
pub mod key;
pub mod limit;
pub mod parse;
pub mod pipeline;
pub mod regex;
pub mod split;
pub mod steps;
pub mod template;
mod text;
