//! `redact`: hides parts of a text, or all of it. Knows nothing of records. Invariant: neither an error nor a debugging text
//! holds the key.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::record::regex::{GivenUp, Groups, Regex};

/// What to hide, and what stands there instead.
#[derive(Clone, Debug)]
pub enum Redact {
    /// The whole value of a field, unless it is null.
    Field { field: String, with: With },
    /// Each match of a pattern.
    Matches {
        /// Where to look. Without: in every text and number that the fields hold; in the line, where nothing made fields of it.
        field: Option<String>,
        pattern: Regex,
        with: With,
    },
}

/// What stands in the place of what is hidden.
#[derive(Clone, Debug)]
pub enum With {
    Text(Replacement),
    /// The keyed hash of what stood there: equal texts stay equal, and nobody without the key can find or check them.
    Hash(Key),
}

/// Bytes of a hash that are written, two digits each.
const HASH_BYTES: usize = 16;

/// The key of a hash: HMAC-SHA256, of which the first 16 bytes are written in hexadecimal.
#[derive(Clone)]
pub struct Key(Box<Hmac<Sha256>>);

impl Key {
    /// Takes a secret of any length.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(Box::new(Hmac::new_from_slice(secret).expect("a key of HMAC has any length")))
    }

    fn push(&self, text: &[u8], out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let hash = Hmac::clone(&self.0).chain_update(text).finalize().into_bytes();
        for byte in &hash[..HASH_BYTES] {
            out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// A replacement names a group that its pattern does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("names the group `{0}`, which the pattern does not have")]
pub struct UnknownGroup(pub String);

/// Text in which `$1`, `$name`, `${1}` and `${name}` stand for groups of a match, and `$$` for a dollar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

impl Replacement {
    /// Reads a replacement for what `pattern` matches. A name without braces goes as far as letters, digits and `_` do.
    pub fn new(written: &str, pattern: &Regex) -> Result<Self, UnknownGroup> {
        let names = pattern.names();
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), written);
        while let Some((before, after)) = rest.split_once('$') {
            literal.push_str(before);
            let (name, after) = group_name(after);
            rest = after;
            if name.is_empty() {
                literal.push('$');
                rest = after.strip_prefix('$').unwrap_or(after);
                continue;
            }
            let group = match name.parse() {
                Ok(number) => Some(number).filter(|&number: &usize| number < names.len()),
                Err(_) => names.iter().position(|known| *known == Some(name)),
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Group(group.ok_or_else(|| UnknownGroup(name.to_owned()))?));
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    /// This text, whatever it holds.
    #[must_use]
    pub fn literal(text: String) -> Self {
        Self(vec![Part::Text(text)])
    }

    fn push(&self, text: &[u8], groups: impl Fn(usize) -> Option<(usize, usize)>, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Text(literal) => out.extend_from_slice(literal.as_bytes()),
                Part::Group(group) => out.extend_from_slice(groups(*group).map_or(&[], |(from, to)| &text[from..to])),
            }
        }
    }
}

/// The name of a group that follows a dollar, and what follows the name.
fn group_name(after: &str) -> (&str, &str) {
    if let Some((name, rest)) = after.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
        return (name, rest);
    }
    let len = after.bytes().take_while(|&byte| byte == b'_' || byte.is_ascii_alphanumeric()).count();
    after.split_at(len)
}

impl With {
    /// Appends what stands for the whole of `text`.
    pub(super) fn push_whole(&self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text(replacement) => replacement.push(text, |_| None, out),
            Self::Hash(key) => key.push(text, out),
        }
    }

    /// Appends `text` with each match of `pattern` replaced; false, and nothing, if there is none.
    pub(super) fn push_replaced(
        &self,
        pattern: &Regex,
        groups: &mut Groups,
        text: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, GivenUp> {
        let (mut copied, mut any) = (0, false);
        pattern.each(text, groups, |groups| {
            let (start, end) = groups.get(0).expect("group 0 is the match");
            out.extend_from_slice(&text[copied..start]);
            match self {
                Self::Text(replacement) => replacement.push(text, |group| groups.get(group), out),
                Self::Hash(key) => key.push(&text[start..end], out),
            }
            (copied, any) = (end, true);
        })?;
        if any {
            out.extend_from_slice(&text[copied..]);
        }
        Ok(any)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replaced(pattern: &str, replacement: &str, text: &[u8]) -> Result<Vec<u8>, GivenUp> {
        let pattern = Regex::new(pattern).expect("a pattern");
        let with = With::Text(Replacement::new(replacement, &pattern).expect("its groups are there"));
        let mut out = Vec::new();
        let any = with.push_replaced(&pattern, &mut pattern.groups(), text, &mut out)?;
        Ok(if any { out } else { text.to_vec() })
    }

    #[track_caller]
    fn check(pattern: &str, replacement: &str, text: &str, expected: &str) {
        let found = replaced(pattern, replacement, text.as_bytes()).expect("a pattern that ends");
        assert_eq!(String::from_utf8(found).expect("UTF-8"), expected);
    }

    #[test]
    fn groups_stand_where_the_replacement_names_them() {
        check(r"(\d{4})\d{8}(\d{4})", "$1-${2}x$$", "card 1111222233334444.", "card 1111-4444x$.");
        check(r"(?P<user>\w+)@\w+", "$user@***", "ann@x, bob@y", "ann@***, bob@***");
        check("(a)|(b)", "[$2]", "ab", "[][b]");
        check("x", "***", "none", "none");
    }

    #[test]
    fn look_around_finds_what_follows_a_name() {
        check(r"(?<=password=)\S+", "***", "a password=hunter2 b password=x", "a password=*** b password=***");
        check(r"(\w)\1", "$1", "aabb", "ab");
        check("(?=b)", "|", "éb", "é|b");
        assert_eq!(replaced("(?<=k=)x", "y", b"\xffk=x\xff"), Ok(b"\xffk=y\xff".to_vec()));
    }

    #[test]
    fn a_group_that_is_not_there_is_refused() {
        let pattern = Regex::new("(?P<a>x)").expect("a pattern");
        for (written, missing) in [("$2", "2"), ("${b}", "b"), ("$ab", "ab"), ("$1_", "1_")] {
            assert_eq!(Replacement::new(written, &pattern), Err(UnknownGroup(missing.to_owned())));
        }
        assert!(Replacement::new("$a $1 $0 $ $- ${", &pattern).is_ok());
    }

    #[test]
    fn a_hash_is_hmac_sha256_cut_to_32_digits() {
        // RFC 4231, test case 2.
        let mut out = Vec::new();
        Key::new(b"Jefe").push(b"what do ya want for nothing?", &mut out);
        assert_eq!(out, b"5bdcc146bf60754e6a042426089575c7");
        let (pattern, with) = (Regex::new(r"\w+").expect("a pattern"), With::Hash(Key::new(b"Jefe")));
        let mut out = Vec::new();
        assert_eq!(with.push_replaced(&pattern, &mut pattern.groups(), b"<a>", &mut out), Ok(true));
        assert_eq!(out.len(), 34);
    }

    #[test]
    fn nobody_sees_the_key() {
        let with = With::Hash(Key::new(b"hush-hush"));
        assert_eq!(format!("{with:?}"), "Hash(Key(..))");
    }

    #[test]
    fn too_many_matches_of_a_pattern_that_backtracks_are_given_up() {
        let most = crate::record::regex::MATCH_LIMIT;
        assert!(replaced("(?<!b)a", "", &vec![b'a'; most]).is_ok());
        assert_eq!(replaced("(?<!b)a", "", &vec![b'a'; most + 1]), Err(GivenUp));
        assert!(replaced("a", "", &vec![b'a'; most + 1]).is_ok());
    }

    fn patterns() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "(a+)(b)?", "", "a*", r"\b", "(?P<n>[a-é])|x", "^|$", "(?-u:.)", "."])
    }

    proptest! {
        #[test]
        fn replacing_is_what_the_engine_s_own_does(
            pattern in patterns(),
            replacement in prop::sample::select(vec!["", "-", "<$0>", "$$", "$0$0"]),
            text in prop_oneof![
                r"[aabéx \n]{0,12}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..12)
            ],
        ) {
            let model = regex::bytes::Regex::new(pattern).expect("a pattern");
            let expected = model.replace_all(&text, replacement.as_bytes()).into_owned();
            prop_assert_eq!(replaced(pattern, replacement, &text), Ok(expected));
        }

        #[test]
        fn no_replacement_makes_it_panic(written in r"[$\{\}a1_ é]{0,10}") {
            let pattern = Regex::new("(?P<a>x)").expect("a pattern");
            let _ = Replacement::new(&written, &pattern);
        }
    }
}
