//! The integration tests, one binary: `cargo test --test it`.
//!
//! `support` holds the tools: a Kinesis with faults, a real stand-in, the agent as a process, a writer that rotates.
//! `real` drives the real binary through them. Each test has its own folder, address and ports, so they run side by side.

mod real;
mod support;
// `mod simulation;` (seeds over the pure flow) and `mod house;` (the import rule) belong here too.
