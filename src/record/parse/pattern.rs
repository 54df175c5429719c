//! `regex`: each named group is a field. Knows no anchors but the user's. Invariant: the groups are in the pattern's order.

use regex::bytes::{CaptureLocations, Regex};

use super::{
    super::fields::{Fields, Name, Text, Value},
    Mismatch,
};

#[derive(Clone, Debug)]
pub(in super::super) struct Pattern {
    regex: Regex,
    /// Where the groups of the last match were; kept to be filled again.
    locations: CaptureLocations,
    /// The named groups: number and name.
    groups: Vec<(usize, Name)>,
}

impl Pattern {
    pub(super) fn new(regex: Regex, fields: &mut Fields) -> Self {
        let named = regex.capture_names().enumerate();
        let groups = named.filter_map(|(group, name)| Some((group, fields.intern(name?)))).collect();
        Self { locations: regex.capture_locations(), groups, regex }
    }

    pub(super) fn parse(&mut self, line: &[u8], fields: &mut Fields) -> Result<(), Mismatch> {
        if self.regex.captures_read(&mut self.locations, line).is_none() {
            return Err(Mismatch::NoMatch { end: line.len() });
        }
        for &(group, name) in &self.groups {
            let value = match self.locations.get(group) {
                Some((start, end)) => Value::Text(Text::line(start, end)),
                None => Value::Null,
            };
            fields.push(name, value);
        }
        Ok(())
    }
}
