//! What the Java agent makes of a record, byte for byte. Knows no configuration file and no destination.

pub mod json;
