//! The integration tests, one binary: `cargo test --test it`.
//!
//! `support` holds the tools: a Kinesis with faults, a real stand-in, the agent as a process, a writer that rotates.
//! `real` drives the real binary through them; each test has its own folder, address and ports, so they run side by side.
//! `simulation` runs the whole flow with a simulated disk, journal, destination and clock.

mod allocations;
mod corpora;
mod house;
mod packaging;
mod real;
mod simulation;
mod support;
mod vectors;
