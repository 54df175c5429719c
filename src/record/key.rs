//! The partition key of a record, by what its flow chooses: its hash, a field, something constant. Knows no destination.
//! Invariant: a key has 1 to 256 characters, and a record without one of its own meets the rule that was set for it.

use std::collections::BTreeSet;

use md5::{Digest, Md5};

use super::{
    fields::{Fields, Name},
    pipeline::{Context, Step},
    template::{Filler, Template},
};
use crate::model::RecordId;

/// What records' keys are made of. Built by `config`; nothing in it can be invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub source: Source,
    /// For a record whose key would be empty: its field is missing, null or empty, or nothing could be parsed.
    pub on_missing: OnMissing,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The MD5 of the bytes that are sent, in lower-case hexadecimal digits.
    RecordHash,
    /// The value of the field of this name after the last step; a text without its quotes, anything else as JSON.
    Field(String),
    /// The fields in it are those after the last step. If something in it is missing, so is the key.
    Template(Template),
    /// 1 to 256 characters.
    Constant(String),
}

/// What becomes of a record without a key. Default: `Random`, which loses nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnMissing {
    /// It gets a key drawn from its id.
    #[default]
    Random,
    Drop,
    DeadLetter,
}

/// A record without a key that is not sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Missing {
    Drop,
    DeadLetter { reason: String },
}

/// Most characters of a key, as UTF-16 counts them: what the service takes, however it counts.
const MAX_CHARS: usize = 256;

impl Options {
    /// Equal records have the same key.
    pub const RECORD_HASH: Self = Self { source: Source::RecordHash, on_missing: OnMissing::Random };

    /// The longest key there may be, in bytes.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        match &self.source {
            Source::RecordHash => 32,
            Source::Field(_) | Source::Template(_) => 3 * MAX_CHARS,
            Source::Constant(key) => key.len(),
        }
    }

    /// Whether a record may get another key when it is read again, for these steps put the time or the file's name into it.
    #[must_use]
    pub fn may_change(&self, steps: &[Step]) -> bool {
        let mut changing = BTreeSet::new();
        for step in steps {
            match step {
                Step::Add(fields) => {
                    for (name, added) in fields {
                        if added.may_change(&changing) {
                            changing.insert(name.as_str());
                        }
                    }
                }
                Step::Rename(names) => {
                    changing.extend(
                        names
                            .iter()
                            .filter(|(old, _)| changing.contains(old.as_str()))
                            .map(|(_, new)| new.as_str())
                            .collect::<Vec<_>>(),
                    );
                }
                _ => {}
            }
        }
        match &self.source {
            Source::RecordHash => !changing.is_empty(),
            Source::Field(name) => changing.contains(name.as_str()),
            Source::Template(template) => template.may_change() || template.names(&changing),
            Source::Constant(_) => false,
        }
    }
}

/// Whether `key` has 1 to 256 characters.
#[must_use]
pub fn is_key(key: &str) -> bool {
    !key.is_empty() && cut(key).len() == key.len()
}

/// Chooses the key of one record after the other.
#[derive(Clone, Debug)]
pub(super) struct Chooser {
    from: Ready,
    on_missing: OnMissing,
    /// What was found of the record, and the key made of it.
    found: Vec<u8>,
    key: String,
}

#[derive(Clone, Debug)]
enum Ready {
    RecordHash,
    Field(Name, String),
    Template(Filler),
    Constant,
}

impl Chooser {
    pub(super) fn new(options: Options, fields: &mut Fields) -> Self {
        let mut found = Vec::new();
        let from = match options.source {
            Source::RecordHash => Ready::RecordHash,
            Source::Field(name) => Ready::Field(fields.intern(&name), name),
            Source::Template(template) => Ready::Template(Filler::new(template, fields)),
            Source::Constant(key) => {
                found = key.into_bytes();
                Ready::Constant
            }
        };
        Self { from, on_missing: options.on_missing, found, key: String::new() }
    }

    /// A record begins; nothing is known of it.
    pub(super) fn begin(&mut self) {
        if !matches!(self.from, Ready::Constant) {
            self.found.clear();
        }
    }

    /// Whether it says something of the EC2 instance.
    pub(super) fn needs_ec2(&self) -> bool {
        matches!(&self.from, Ready::Template(template) if template.needs_ec2())
    }

    /// Whether it names a tag of the EC2 instance.
    pub(super) fn needs_ec2_tags(&self) -> bool {
        matches!(&self.from, Ready::Template(template) if template.needs_ec2_tags())
    }

    /// The steps are done, and these are the record's fields.
    pub(super) fn take(&mut self, context: &Context<'_>, line: &[u8], fields: &Fields) {
        match &self.from {
            Ready::RecordHash | Ready::Constant => {}
            Ready::Field(name, _) => {
                if let Some(value) = fields.get(line, *name) {
                    fields.push_text(line, value, &mut self.found);
                }
            }
            Ready::Template(template) => {
                if !template.fill(context, line, fields, &mut self.found) {
                    self.found.clear();
                }
            }
        }
    }

    /// The key of the record `id`, which is sent as `sent`.
    pub(super) fn key(&mut self, id: RecordId, sent: &[u8]) -> Result<&str, Missing> {
        if matches!(self.from, Ready::RecordHash) {
            push_hex(&Md5::digest(sent), &mut self.found);
        }
        self.key.clear();
        if self.found.is_empty() {
            let random = id.random_key();
            self.key.push_str(match self.on_missing {
                OnMissing::Random => str::from_utf8(&random).expect("digits and letters"),
                OnMissing::Drop => return Err(Missing::Drop),
                OnMissing::DeadLetter => return Err(Missing::DeadLetter { reason: self.reason() }),
            });
        } else {
            // A whole record may be in a field: no more of it is looked at than a key can hold.
            let few = &self.found[..self.found.len().min(4 * MAX_CHARS)];
            self.key.push_str(cut(&String::from_utf8_lossy(few)));
        }
        Ok(&self.key)
    }

    fn reason(&self) -> String {
        match &self.from {
            Ready::Field(_, name) => format!("no partition key: the field {name} is missing or empty"),
            Ready::Template(_) => "no partition key: a part of its template is missing or empty".to_owned(),
            Ready::RecordHash | Ready::Constant => "no partition key".to_owned(),
        }
    }
}

/// The longest beginning of `text` that is a key.
fn cut(text: &str) -> &str {
    let mut chars = 0;
    let end = text.char_indices().find(|(_, c)| {
        chars += c.len_utf16();
        chars > MAX_CHARS
    });
    end.map_or(text, |(at, _)| &text[..at])
}

fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Instant};

    use super::*;
    use crate::{
        model::{Generation, Now, Span},
        record::{
            ec2,
            fields::{Text, Value},
            template::{Ec2, Part, Variable},
        },
    };

    const ID: RecordId = RecordId { generation: Generation(1), span: Span { start: 2, end: 3 } };

    fn take(chooser: &mut Chooser, line: &[u8], fields: &Fields) {
        let ec2 = ec2::Shared::default();
        let now = Now { mono: Instant::now(), wall: 0 };
        let path = Path::new("/var/log/a.log");
        let context = Context { host: "web-1", ec2: &ec2, path, generation: ID.generation, span: ID.span, now };
        chooser.found.extend_from_slice(b"of the record before");
        chooser.begin();
        chooser.take(&context, line, fields);
    }

    /// The key where the field `a` has this value.
    fn key(value: Option<Value>, line: &[u8], on_missing: OnMissing) -> Result<String, Missing> {
        let mut fields = Fields::default();
        let name = fields.intern("a");
        let options = Options { source: Source::Field("a".to_owned()), on_missing };
        let mut chooser = Chooser::new(options, &mut fields);
        if let Some(value) = value {
            fields.push(name, value);
        }
        take(&mut chooser, line, &fields);
        chooser.key(ID, b"").map(str::to_owned)
    }

    fn text_key(text: &[u8]) -> String {
        let value = Value::Text(Text::line(0, text.len()));
        key(Some(value), text, OnMissing::Drop).expect("a key")
    }

    fn json_key(json: &str) -> Result<String, Missing> {
        let value = Value::Json(Text::line(0, json.len()));
        key(Some(value), json.as_bytes(), OnMissing::Drop)
    }

    #[test]
    fn a_field_is_a_key_as_people_read_it() {
        assert_eq!(text_key(b"10.0.0.1"), "10.0.0.1");
        assert_eq!(text_key(b"a\xffb"), "a\u{fffd}b");
        for (json, expected) in [(r#""a\"\u00e9""#, "a\"é"), ("1.50", "1.50"), ("true", "true"), ("[1, 2]", "[1, 2]")]
        {
            assert_eq!(json_key(json).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_key_is_cut_after_256_characters_and_never_within_one() {
        assert_eq!(text_key("é".repeat(300).as_bytes()), "é".repeat(256));
        // Outside the basic plane a character counts as two, as the service may count it.
        assert_eq!(text_key(format!("a{}", "😀".repeat(200)).as_bytes()), format!("a{}", "😀".repeat(127)));
        assert!(is_key(&"x".repeat(256)) && !is_key(&"x".repeat(257)) && !is_key(""));
    }

    #[test]
    fn no_key_is_longer_than_was_said() {
        let of = |source| Options { source, on_missing: OnMissing::Random }.max_bytes();
        assert_eq!(text_key("\u{ffff}".repeat(300).as_bytes()).len(), of(Source::Field("a".to_owned())));
        assert_eq!((of(Source::RecordHash), of(Source::Constant("é".to_owned()))), (32, 2));
    }

    #[test]
    fn a_record_without_a_key_meets_the_rule() {
        for value in [None, Some(Value::Null), Some(Value::Text(Text::line(0, 0)))] {
            assert_eq!(key(value, b"", OnMissing::Random).as_deref(), Ok("ctarwyta6x"));
            assert_eq!(key(value, b"", OnMissing::Drop), Err(Missing::Drop));
            let reason = "no partition key: the field a is missing or empty".to_owned();
            assert_eq!(key(value, b"", OnMissing::DeadLetter), Err(Missing::DeadLetter { reason }));
        }
        assert_eq!(json_key("\"\""), Err(Missing::Drop));
    }

    #[test]
    fn a_template_of_which_a_part_is_missing_is_no_key() {
        let mut fields = Fields::default();
        let name = fields.intern("user");
        let mut key = |parts: Vec<Part>, user: Option<&str>| {
            let options = Options { source: Source::Template(Template(parts)), on_missing: OnMissing::Drop };
            let mut chooser = Chooser::new(options, &mut fields);
            fields.clear();
            if let Some(user) = user {
                fields.push(name, Value::Text(Text::line(0, user.len())));
            }
            take(&mut chooser, user.unwrap_or_default().as_bytes(), &fields);
            chooser.key(ID, b"").map(str::to_owned)
        };
        let host = || vec![Part::Variable(Variable::Host), Part::Text("-".into()), Part::Field("user".into())];
        assert_eq!(key(host(), Some("ann")).as_deref(), Ok("web-1-ann"));
        assert_eq!((key(host(), None), key(host(), Some(""))), (Err(Missing::Drop), Err(Missing::Drop)));
        let region = vec![Part::Text("a".into()), Part::Variable(Variable::Ec2(Ec2::Region))];
        assert_eq!(key(region, Some("ann")), Err(Missing::Drop));
    }

    #[test]
    fn the_hash_of_a_record_is_its_md5_in_hexadecimal_digits() {
        let options = Options { source: Source::RecordHash, on_missing: OnMissing::Random };
        let mut chooser = Chooser::new(options, &mut Fields::default());
        for _ in 0..2 {
            chooser.begin();
            assert_eq!(chooser.key(ID, b"same\n"), Ok("847676261680bff61c72961c8198abc0"));
        }
    }

    #[test]
    fn a_constant_is_the_key_of_every_record() {
        let options = Options { source: Source::Constant("x".to_owned()), on_missing: OnMissing::Random };
        let mut chooser = Chooser::new(options, &mut Fields::default());
        for _ in 0..2 {
            chooser.begin();
            assert_eq!(chooser.key(ID, b""), Ok("x"));
        }
    }
}
