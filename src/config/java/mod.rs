//! The Java agent's JSON to typed options. Knows its keys, its coercions and what it refuses.

mod processing;

use crate::record::java::{
    Converter,
    json::{self, Extras},
};

/// Reads one entry of `dataProcessingOptions`; a `null` is none. The errors are whole sentences, without their place.
pub fn converter(entry: &str) -> Result<Option<Converter>, Vec<String>> {
    let extras = Extras { comments_and_infinity: true };
    let (node, end) = json::parse(entry, extras).map_err(|fault| vec![fault.to_string()])?;
    if !json::is_end(entry, end, extras) {
        return Err(vec![format!("something follows the entry at byte {end}")]);
    }
    let mut findings = processing::Findings::default();
    let converter = processing::converter(&node, &mut findings);
    if findings.problems.is_empty() {
        return Ok(converter);
    }
    Err(findings.problems.into_iter().map(|(_, text)| text).collect())
}
