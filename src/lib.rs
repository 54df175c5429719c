//! Headwater follows log files across rotation, turns their lines into records and delivers them to Amazon Kinesis.
//!
//! ```text
//! config --build--> FLOW = one thread (sync) ------------------------------+      one async side
//!                   discover -> tail -> split -> process -> open batch ----+-Batch-> deliver (retry only here) -> AWS
//!                      ^ inotify hint                       | marks        |              |
//!                      |                                    v              |              |
//!                   checkpoint <- persist <- file table <- LEDGER <--------+-- Settled ---+
//! ```
//!
//! Imports point down this list and never up, nor sideways between the four of the same rank; `tests/it/house.rs` holds it:
//!
//! ```text
//! main > cli > agent > config > flow > { source, record, deliver, checkpoint } > telemetry > aws > model
//! ```
//!
//! Each component owns its options; `config` alone knows how people write them.

pub mod agent;
pub mod aws;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod deliver;
pub mod flow;
pub mod model;
pub mod record;
pub mod source;
pub mod telemetry;
