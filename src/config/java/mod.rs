//! The Java agent's `agent.json` and `agent.d` to the same options as our YAML. Knows how the Java agent reads its
//! configuration, and what each of its settings means here. Invariant: what it accepted and ignored in silence is a warning.

pub mod agent;
mod build;
mod glob;
mod groups;
mod keys;
mod processing;
mod read;
mod steps;
mod yaml;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::problem::Problem;
use crate::{
    flow::Options,
    record::java::{
        Converter,
        json::{self, Extras, Node, Value},
    },
};
pub use agent::Agent;
pub(super) use build::metrics;
pub use glob::FilePattern;
use read::{Object, Reader};
pub use yaml::yaml;

/// The environment variable that names the state directory where the file does not.
pub const STATE_DIR_VARIABLE: &str = "HEADWATER_STATE_DIR";

/// What is allowed beyond JSON there.
const EXTRAS: Extras = Extras { comments_and_infinity: true };

/// The smallest useful configuration, for messages.
const MINIMAL: &str = r#""flows": [ { "filePattern": "/var/log/web.log", "kinesisStream": "web-logs" } ]"#;

/// What was read of one file.
pub(super) struct Found {
    /// What its flows mean here.
    pub(super) options: Vec<Options>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// Whether a file is the Java agent's: by what its flows say, else by its name.
pub(super) fn is_java(file: &str, text: &str) -> bool {
    let named = std::path::Path::new(file).extension().is_some_and(|extension| extension == "json");
    let Ok((root, _)) = json::parse(text, EXTRAS) else { return named };
    let has = |names: &[&str]| {
        let Some(Value::List(flows)) = root.value.get("flows").map(|node| &node.value) else { return false };
        flows.iter().any(|flow| names.iter().any(|name| flow.value.get(name).is_some()))
    };
    has(&["filePattern", "kinesisStream", "deliveryStream"]) || named && !has(&["source", "destination"])
}

/// Reads the main file.
pub(super) fn main(file: Arc<str>, text: &str) -> (Agent, Found) {
    let mut r = Reader::new(file, text);
    let root = match parse(&mut r, text) {
        Ok(root) => Some(root),
        Err((at, fault)) => {
            r.problem(at, "", fault);
            None
        }
    };
    let top = root.as_ref().and_then(|root| Object::of(String::new(), root));
    let (agent, options) = top.map(|top| agent::top(&mut r, &top)).unwrap_or_default();
    (agent, Found { options, problems: r.problems, warnings: r.warnings })
}

/// Reads the flows of a file in `agent.d`; one that is no configuration is left out with a warning, as there.
pub(super) fn more(agent: &mut Agent, file: Arc<str>, text: &str) -> Found {
    let mut r = Reader::new(file, text);
    let mut options = Vec::new();
    match parse(&mut r, text) {
        Ok(root) => {
            if let Some(top) = Object::of(String::new(), &root) {
                for member in top.members().iter().filter(|member| member.name != "flows") {
                    r.warning(member.at, &member.name, "has no effect in agent.d, where only `flows` is read");
                }
                options = agent::flows(&mut r, &top, agent);
            }
        }
        Err((at, fault)) => r.warning(at, "", format!("{fault}; the file is left out, as in the Java agent")),
    }
    Found { options, problems: r.problems, warnings: r.warnings }
}

/// Says that there is no flow at all.
pub(super) fn no_flow(file: Arc<str>, text: &str) -> Problem {
    let mut r = Reader::new(file, text);
    let flows = json::parse(text, EXTRAS).ok().and_then(|(root, _)| root.value.get("flows").map(|node| node.at));
    r.problem(flows.unwrap_or(0), "flows", format!("there is no flow; write at least one, like `{MINIMAL}`"));
    r.problems.remove(0)
}

/// The object that a file holds.
fn parse(r: &mut Reader<'_>, text: &str) -> Result<Node, (usize, String)> {
    let (root, end) =
        json::parse(text, EXTRAS).map_err(|fault| (fault.at, format!("is not JSON: expected {} here", fault.what)))?;
    if !matches!(root.value, Value::Map(_)) {
        return Err((root.at, "must be an object `{ ... }`".to_owned()));
    }
    if !json::is_end(text, end, EXTRAS) {
        r.warning(end, "", "what follows the configuration is ignored, as in the Java agent");
    }
    Ok(root)
}

/// Reads one entry of `dataProcessingOptions`; a `null` is none. The errors are whole sentences, without their place.
pub fn converter(entry: &str) -> Result<Option<Converter>, Vec<String>> {
    let (node, end) = json::parse(entry, EXTRAS).map_err(|fault| vec![fault.to_string()])?;
    if !json::is_end(entry, end, EXTRAS) {
        return Err(vec![format!("something follows the entry at byte {end}")]);
    }
    let mut findings = processing::Findings::default();
    let converter = processing::converter(&node, &mut findings);
    if findings.problems.is_empty() {
        return Ok(converter);
    }
    Err(findings.problems.into_iter().map(|(_, text)| text).collect())
}
