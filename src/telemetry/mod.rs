//! What the agent says about itself: counters and rate-limited messages. Knows no flow, file or destination.
//! Invariant: nothing here is global; every handle is given at construction.

pub mod calls;
pub mod cloudwatch;
pub mod counters;
pub mod lag;
pub mod limit;
pub mod log;
pub mod status;
