//! `regex` and `grok`: each named group is a field. Knows no anchors but the user's. Invariant: the fields are in the
//! pattern's order.

use super::{
    super::{
        fields::{Fields, Name, Text, Value},
        regex::{Groups, Regex},
    },
    Mismatch,
    grok::Grok,
    plan::Plan,
};

#[derive(Clone, Debug)]
pub(in super::super) struct Pattern {
    name: &'static str,
    regex: Regex,
    /// Where the groups of the last match were; kept to be filled again.
    groups: Groups,
    /// The shorter way for lines of ASCII, if there is one.
    plan: Option<Plan>,
    fields: Vec<Field>,
}

/// A field and the groups that may have found it, of which the first that took part counts.
#[derive(Clone, Debug)]
struct Field {
    name: Name,
    groups: Vec<usize>,
}

impl Pattern {
    pub(super) fn regex(regex: Regex, fields: &mut Fields) -> Self {
        let named: Vec<(usize, String)> =
            regex.names().into_iter().enumerate().filter_map(|(group, name)| Some((group, name?.to_owned()))).collect();
        Self::new("regex", regex, named, fields)
    }

    pub(super) fn grok(grok: Grok, fields: &mut Fields) -> Self {
        Self::new("grok", grok.regex, grok.groups, fields)
    }

    fn new(kind: &'static str, regex: Regex, named: Vec<(usize, String)>, fields: &mut Fields) -> Self {
        let mut list: Vec<(String, Vec<usize>)> = Vec::new();
        for (group, name) in named {
            match list.iter_mut().find(|(known, _)| *known == name) {
                Some((_, groups)) => groups.push(group),
                None => list.push((name, vec![group])),
            }
        }
        let fields = list.into_iter().map(|(name, groups)| Field { name: fields.intern(&name), groups }).collect();
        let plan = match &regex {
            Regex::Linear(linear) => Plan::new(linear.as_str()),
            Regex::Backtracking(_) => None,
        };
        Self { name: kind, groups: regex.groups(), regex, plan, fields }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn parse(&mut self, line: &[u8], fields: &mut Fields) -> Result<(), Mismatch> {
        let found = if let Some(plan) = self.plan.as_mut().filter(|_| line.is_ascii()) {
            let matches = plan.matches(line);
            push(&self.fields, fields, |group| Some(plan.group(group)), matches)
        } else {
            let matches = self.regex.search(line, &mut self.groups).map_err(|_| Mismatch::GivenUp)?;
            push(&self.fields, fields, |group| self.groups.get(group), matches)
        };
        if found { Ok(()) } else { Err(Mismatch::NoMatch { end: line.len() }) }
    }
}

/// Adds the fields of a match; returns whether it is one.
fn push(list: &[Field], fields: &mut Fields, place: impl Fn(usize) -> Option<(usize, usize)>, matches: bool) -> bool {
    if matches {
        for field in list {
            let found = field.groups.iter().find_map(|&group| place(group));
            fields.push(field.name, found.map_or(Value::Null, |(start, end)| Value::Text(Text::line(start, end))));
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Format,
            testing::{check, parsed},
        },
        *,
    };

    fn regex(pattern: &str) -> Format {
        Format::Regex(Regex::new(pattern).expect("a pattern"))
    }

    #[test]
    fn a_plan_is_for_ascii_and_the_engine_for_the_rest() {
        let pattern = r"^(?P<a>\S+) (?P<b>.{2})$";
        assert!(Plan::new(pattern).is_some());
        check(regex(pattern), "x yz", "a=x|b=yz");
        check(regex(pattern), "é éé", "a=é|b=éé");
        check(regex(pattern), "x é", "the pattern matches nowhere in bytes 0 to 4");
        check(regex(pattern), "x y", "the pattern matches nowhere in bytes 0 to 3");
        assert_eq!(parsed(regex(r"^(?P<a>(?-u:[^ ]+)) x$"), b"\xff\xfe x"), "a=\u{fffd}\u{fffd}");
    }

    #[test]
    fn look_around_and_back_references_find_fields() {
        check(regex(r"(?P<q>['\x22])(?P<text>.*?)(?P=q)(?!x)"), r#"a 'b "c" d' e"#, r#"q='|text=b "c" d"#);
        check(regex(r"(?<=id=)(?P<id>\d+)"), "x id=42", "id=42");
    }

    #[test]
    fn a_search_that_is_given_up_is_no_match() {
        let line = "ab".repeat(40);
        check(regex(r"^(?P<a>a|b|ab)*\k<a>c$"), &line, "the pattern takes more than 100000 steps on this text");
    }
}
