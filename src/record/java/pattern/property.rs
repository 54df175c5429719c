//! Java's named sets of characters, and what cases do to a set. Knows no syntax.

use regex_syntax::hir::{Class, HirKind};

use super::{
    Error,
    node::{Set, negated, set, union},
    parse::Switches,
};

/// The set of `\d`, `\w`, `\s`, `\h`, `\v`, or in capitals its complement. `unicode`: beyond ASCII.
pub(super) fn predefined(letter: char, unicode: bool) -> Option<Set> {
    let found = match (letter.to_ascii_lowercase(), unicode) {
        ('d', false) => ascii("0-9"),
        ('w', false) => ascii("0-9A-Za-z_"),
        ('s', false) => ascii(r"\t-\r "),
        ('d', true) => general("Nd"),
        ('w', true) => word(),
        ('s', true) => white_space(),
        ('h', _) => ascii(r"\t\x20\xa0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000"),
        ('v', _) => ascii(r"\n-\r\x85\u2028\u2029"),
        _ => return None,
    };
    Some(if letter.is_ascii_uppercase() { negated(found) } else { found })
}

/// The set of `\p{name}`. `None`: Java does not know it.
pub(super) fn family(name: &str, switches: Switches) -> Result<Option<Set>, Error> {
    let any_case = switches.any_case;
    if let Some((kind, value)) = name.split_once('=') {
        return match kind.to_ascii_lowercase().as_str() {
            "sc" | "script" => Ok(script(value)),
            "gc" | "general_category" => plain(value, any_case),
            "blk" | "block" => Err(block(name)),
            _ => Ok(None),
        };
    }
    if name.starts_with("In") {
        return Err(block(name));
    }
    if let Some(short) = name.strip_prefix("Is") {
        let found = binary(short, any_case)?.or_else(|| posix(short, any_case));
        let found = if found.is_some() { found } else { plain(short, any_case)? };
        return Ok(found.or_else(|| script(short)));
    }
    let found = if switches.unicode_classes { posix(name, any_case) } else { None };
    if found.is_some() { Ok(found) } else { plain(name, any_case) }
}

fn block(name: &str) -> Error {
    Error::Unsupported(format!("the block `\\p{{{name}}}`"))
}

/// Categories, ASCII classes and what `java.lang.Character` knows.
fn plain(name: &str, any_case: bool) -> Result<Option<Set>, Error> {
    if let Some(method) = name.strip_prefix("java") {
        return Ok(match method {
            "LowerCase" | "UpperCase" | "TitleCase" | "Alphabetic" | "Ideographic" | "Letter" => {
                binary(method, any_case)?
            }
            "Digit" => Some(general("Nd")),
            "Defined" => Some(negated(general("Cn"))),
            "LetterOrDigit" => Some(union(general("L"), &general("Nd"))),
            "SpaceChar" => Some(general("Z")),
            "ISOControl" => Some(general("Cc")),
            "Whitespace" => {
                Some(union(difference(general("Z"), &ascii(r"\xa0\u2007\u202f")), &ascii(r"\t-\r\x1c-\x1f")))
            }
            "JavaIdentifierStart"
            | "JavaIdentifierPart"
            | "UnicodeIdentifierStart"
            | "UnicodeIdentifierPart"
            | "IdentifierIgnorable"
            | "Mirrored" => {
                return Err(Error::Unsupported(format!("`\\p{{{name}}}`")));
            }
            _ => None,
        });
    }
    Ok(Some(match name {
        "Lu" | "Ll" | "Lt" if any_case => general("LC"),
        "Cs" => set(&[]),
        "LD" => union(general("L"), &general("Nd")),
        "L1" => ascii(r"\x00-\xff"),
        "all" => negated(set(&[])),
        "ASCII" => ascii(r"\x00-\x7f"),
        "Alnum" => ascii("0-9A-Za-z"),
        "Alpha" => ascii("A-Za-z"),
        "Lower" | "Upper" if any_case => ascii("A-Za-z"),
        "Lower" => ascii("a-z"),
        "Upper" => ascii("A-Z"),
        "Blank" => ascii(r"\t\x20"),
        "Cntrl" => ascii(r"\x00-\x1f\x7f"),
        "Digit" => ascii("0-9"),
        "Graph" => ascii("!-~"),
        "Print" => ascii(r"\x20-~"),
        "Punct" => ascii(r"!-/:-@\[-`\{-~"),
        "Space" => ascii(r"\t-\r\x20"),
        "XDigit" => ascii("0-9A-Fa-f"),
        "L" | "M" | "N" | "Z" | "C" | "P" | "S" | "LC" | "Lu" | "Ll" | "Lt" | "Lm" | "Lo" | "Mn" | "Me" | "Mc"
        | "Nd" | "Nl" | "No" | "Zs" | "Zl" | "Zp" | "Cn" | "Cc" | "Cf" | "Co" | "Pd" | "Ps" | "Pe" | "Pc" | "Po"
        | "Sm" | "Sc" | "Sk" | "So" | "Pi" | "Pf" => general(name),
        _ => return Ok(None),
    }))
}

/// Properties that Unicode gives a character or not.
fn binary(name: &str, any_case: bool) -> Result<Option<Set>, Error> {
    let cased = || union(union(unicode(r"\p{Lowercase}"), &unicode(r"\p{Uppercase}")), &general("Lt"));
    Ok(Some(match name.to_ascii_uppercase().as_str() {
        "LOWERCASE" | "UPPERCASE" | "TITLECASE" if any_case => cased(),
        "LOWERCASE" => unicode(r"\p{Lowercase}"),
        "UPPERCASE" => unicode(r"\p{Uppercase}"),
        "TITLECASE" => general("Lt"),
        "ALPHABETIC" => unicode(r"\p{Alphabetic}"),
        "IDEOGRAPHIC" => unicode(r"\p{Ideographic}"),
        "LETTER" => general("L"),
        "ASSIGNED" => negated(general("Cn")),
        "CONTROL" => general("Cc"),
        "HEXDIGIT" | "HEX_DIGIT" => hexadecimal_digit(),
        "JOINCONTROL" | "JOIN_CONTROL" => ascii(r"\u200c\u200d"),
        "NONCHARACTERCODEPOINT" | "NONCHARACTER_CODE_POINT" => unicode(r"\p{Noncharacter_Code_Point}"),
        "PUNCTUATION" => general("P"),
        "WHITESPACE" | "WHITE_SPACE" => white_space(),
        "WORD" => word(),
        other if other.starts_with("EMOJI") => return Err(Error::Unsupported(format!("`\\p{{Is{name}}}`"))),
        _ => return Ok(None),
    }))
}

/// The classes of POSIX beyond ASCII.
fn posix(name: &str, any_case: bool) -> Option<Set> {
    let spaces = || difference(white_space(), &ascii(r"\n-\r\x85\u2028\u2029"));
    let graph = || negated(union(union(general("Z"), &general("Cc")), &general("Cn")));
    Some(match name.to_ascii_uppercase().as_str() {
        "ALPHA" => unicode(r"\p{Alphabetic}"),
        "LOWER" | "UPPER" if any_case => {
            union(union(unicode(r"\p{Lowercase}"), &unicode(r"\p{Uppercase}")), &general("Lt"))
        }
        "LOWER" => unicode(r"\p{Lowercase}"),
        "UPPER" => unicode(r"\p{Uppercase}"),
        "SPACE" => white_space(),
        "PUNCT" => general("P"),
        "XDIGIT" => hexadecimal_digit(),
        "ALNUM" => union(unicode(r"\p{Alphabetic}"), &general("Nd")),
        "CNTRL" => general("Cc"),
        "DIGIT" => general("Nd"),
        "BLANK" => spaces(),
        "GRAPH" => graph(),
        "PRINT" => difference(union(graph(), &spaces()), &general("Cc")),
        _ => return None,
    })
}

fn white_space() -> Set {
    union(general("Z"), &ascii(r"\t-\r\x85"))
}

fn word() -> Set {
    unicode(r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200c}\x{200d}]")
}

fn hexadecimal_digit() -> Set {
    unicode(r"[\p{Nd}\p{Hex_Digit}]")
}

fn difference(mut set: Set, other: &Set) -> Set {
    set.difference(other);
    set
}

/// A script, by its name or its short name.
fn script(name: &str) -> Option<Set> {
    let known = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if known { class_of(&format!(r"\p{{Script={name}}}")) } else { None }
}

/// A general category.
fn general(name: &str) -> Set {
    unicode(&format!(r"\p{{gc={name}}}"))
}

/// The characters of a class, written without its brackets.
fn ascii(items: &str) -> Set {
    unicode(&format!("[{items}]"))
}

/// A class that is written in this file.
fn unicode(class: &str) -> Set {
    class_of(class).expect("a class that is known")
}

fn class_of(class: &str) -> Option<Set> {
    let hir = regex_syntax::Parser::new().parse(class).ok()?;
    match hir.kind() {
        HirKind::Class(Class::Unicode(set)) => Some(set.clone()),
        HirKind::Class(Class::Bytes(bytes)) => bytes.to_unicode_class(),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            Some(set(&text.chars().map(|c| (c, c)).collect::<Vec<_>>()))
        }
        _ => None,
    }
}

/// A set and the other cases of its ASCII letters.
pub(super) fn fold_ascii(found: Set) -> Set {
    let mut letters = found.clone();
    letters.intersect(&set(&[('A', 'Z'), ('a', 'z')]));
    letters.case_fold_simple();
    // The folding of Unicode finds letters beyond ASCII too.
    letters.intersect(&set(&[('A', 'Z'), ('a', 'z')]));
    union(found, &letters)
}

/// A set and the other cases of its letters, as Java compares them: by the lower case of the upper case.
pub(super) fn fold(found: Set) -> Set {
    let mut folded = found;
    folded.case_fold_simple();
    let mut i = set(&[('I', 'I'), ('i', 'i'), ('\u{130}', '\u{131}')]);
    let has_i = folded.iter().any(|range| i.iter().any(|i| range.start() <= i.end() && i.start() <= range.end()));
    if has_i {
        i.union(&folded);
        return i;
    }
    folded
}
