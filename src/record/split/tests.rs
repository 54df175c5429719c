//! What framing must hold for any bytes.

use super::*;
use crate::record::java::pattern::{Flags, Pattern};
use proptest::prelude::*;

fn options(max_record: usize, oversize: Oversize, multiline: Option<&str>) -> Options {
    let multiline = multiline.map(|start| Multiline {
        start: Start::Search(Regex::new(start).unwrap()),
        timeout: Duration::from_secs(2),
        max_lines: 4,
    });
    Options {
        skip_header_lines: 0,
        multiline,
        max_record,
        oversize,
        terminator: b"\n".to_vec(),
        footer: None,
        partial_line_timeout: None,
    }
}

/// What splitting `data` as a whole file gives: each delivered body, `!` before one that goes to the dead letters.
fn bodies(options: &Options, data: &[u8], flush: Flush) -> (Vec<String>, usize) {
    let (mut out, mut pos) = (Vec::new(), 0);
    loop {
        let rest = &data[pos..];
        let text = |n: usize| String::from_utf8_lossy(&rest[..n]).into_owned();
        match next(options, rest, At { start_of_file: pos == 0, end_of_file: true, flush }) {
            Token::Record { len, body, .. } => {
                out.push(text(body));
                pos += len;
            }
            Token::TooLong { len, keep } => {
                out.push(format!("!{}", text(keep)));
                pos += len;
            }
            Token::ByteOrderMark { len } | Token::Hole { len } => pos += len,
            Token::LongLine | Token::Incomplete => return (out, pos),
        }
    }
}

#[track_caller]
fn check(options: &Options, data: &[u8], flush: Flush, expected: &[&str]) {
    assert_eq!(bodies(options, data, flush).0, expected);
}

#[test]
fn a_line_without_its_newline_is_not_a_record_yet() {
    let o = options(1024, Oversize::Truncate, None);
    check(&o, b"one\ntwo", Flush::Nothing, &["one\n"]);
    check(&o, b"one\ntwo", Flush::Everything, &["one\n", "two"]);
}

#[test]
fn line_ends_are_kept_and_empty_lines_are_records() {
    check(&options(1024, Oversize::Truncate, None), b"a\r\n\n\r\nb\n", Flush::Nothing, &["a\r\n", "\n", "\r\n", "b\n"]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_record() {
    let o = options(1024, Oversize::Truncate, None);
    check(&o, b"\xEF\xBB\xBFone\n", Flush::Nothing, &["one\n"]);
    check(&o, b"\xEF\xBB", Flush::Nothing, &[]);
    check(&o, b"one\n\xEF\xBB\xBFtwo\n", Flush::Nothing, &["one\n", "\u{feff}two\n"]);
}

#[test]
fn a_hole_of_nul_bytes_is_skipped_and_a_few_nul_bytes_are_data() {
    let o = options(1024, Oversize::Truncate, None);
    check(&o, &[&[0; 500][..], b"one\n"].concat(), Flush::Nothing, &["one\n"]);
    check(&o, b"\0\0one\n", Flush::Nothing, &["\0\0one\n"]);
    check(&o, &[0; 500], Flush::Nothing, &[]);
}

#[test]
fn a_long_line_is_truncated_split_or_dropped_at_a_character_boundary() {
    let line = "éééééééé\nnext\n".as_bytes();
    check(&options(8, Oversize::Truncate, None), line, Flush::Nothing, &["ééé", "next\n"]);
    check(&options(8, Oversize::Split, None), line, Flush::Nothing, &["éééé", "éééé", "\n", "next\n"]);
    check(&options(8, Oversize::Drop, None), line, Flush::Nothing, &["!ééé", "next\n"]);
}

#[test]
fn a_long_line_whose_end_is_not_in_sight_is_scanned_by_the_caller() {
    let at = At { start_of_file: false, end_of_file: true, flush: Flush::Nothing };
    assert_eq!(next(&options(8, Oversize::Truncate, None), &[b'x'; 9], at), Token::LongLine);
    assert_eq!(next(&options(8, Oversize::Truncate, None), &[b'x'; 8], at), Token::Incomplete);
}

#[test]
fn lines_belong_to_the_start_line_before_them() {
    let o = options(1024, Oversize::Truncate, Some("^[A-Z]"));
    let text = b"junk\nAlpha\n one\n two\nBeta\n three\n";
    check(&o, text, Flush::Nothing, &["junk\n", "Alpha\n one\n two\n"]);
    check(&o, text, Flush::Lines, &["junk\n", "Alpha\n one\n two\n", "Beta\n three\n"]);
    check(&o, b"Alpha\n one", Flush::Lines, &["Alpha\n"]);
    check(&o, b"Alpha\n one", Flush::Everything, &["Alpha\n one"]);
    check(&o, b"Alpha\nBeta", Flush::Everything, &["Alpha\n", "Beta"]);
}

#[test]
fn a_record_of_several_lines_is_closed_at_its_limits() {
    check(&options(1024, Oversize::Truncate, Some("^[A-Z]")), b"A\n1\n2\n3\n4\n", Flush::Nothing, &["A\n1\n2\n3\n"]);
    check(&options(8, Oversize::Truncate, Some("^[A-Z]")), b"A\n123\n456\n", Flush::Lines, &["A\n123\n", "456\n"]);
}

#[test]
fn what_a_cut_record_ends_with_fits_too() {
    let line = "éééééééé\nnext\n".as_bytes();
    let o = Options { terminator: b"<>\n".to_vec(), ..options(8, Oversize::Truncate, None) };
    check(&o, line, Flush::Nothing, &["éé", "next\n"]);
    let o = Options { terminator: Vec::new(), ..options(8, Oversize::Truncate, None) };
    check(&o, line, Flush::Nothing, &["éééé", "next\n"]);
}

#[test]
fn a_footer_is_the_whole_record_but_for_blanks() {
    let footer = Some(Regex::new(r"\A(?:EOF|-+)\z").unwrap());
    let o = Options { footer, ..options(1024, Oversize::Truncate, None) };
    for record in ["EOF", "EOF\n", " \0\t---\r\n"] {
        assert!(o.is_footer(record.as_bytes()), "{record:?}");
    }
    for record in ["", "\n", "EOF.\n", "EOF\n--\n", "\u{a0}EOF"] {
        assert!(!o.is_footer(record.as_bytes()), "{record:?}");
    }
    assert!(!options(1024, Oversize::Truncate, None).is_footer(b"EOF\n"));
}

/// The Java agent looks at the beginning of lines, their ends included.
#[test]
fn lines_begin_a_record_as_the_java_agent_looks_at_them() {
    let java = |pattern: &str, text: &[u8], expected: &[&str]| {
        let start = Pattern::parse(pattern, Flags::default()).expect("a pattern").looking_at().expect("supported");
        let multiline =
            Multiline { start: Start::JavaLookingAt(start), timeout: Duration::ZERO, max_lines: usize::MAX };
        let o = Options { multiline: Some(multiline), ..options(1024, Oversize::Truncate, None) };
        check(&o, text, Flush::Lines, expected);
    };
    java(
        "START",
        b"junk1\njunk2\nSTART a\n c1\nSTART b\n c2\nSTART c",
        &["junk1\njunk2\n", "START a\n c1\n", "START b\n c2\n"],
    );
    java("START", b"START a\n START x\nSTART b\n", &["START a\n START x\n", "START b\n"]);
    java("-{3}$", b"---\na\n----\n---\r\nb\n", &["---\na\n----\n", "---\r\nb\n"]);
    java("a\\n", b"ab\na\nab\n", &["ab\n", "a\nab\n"]);
    java("caf.$", b"x\ncaf\xe9\n", &["x\n", "caf\u{fffd}\n"]);
}

fn file() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[a-zA-Zé ]{0,40}".prop_map(String::into_bytes),
        4 => Just(b"\n".to_vec()),
        1 => Just(b"\r\n".to_vec()),
        1 => Just(vec![0; 100]),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|p| p.concat())
}

proptest! {
    /// Whatever is appended later, a record that was cut without a flush stays the same record.
    #[test]
    fn records_do_not_depend_on_what_comes_later(data in file(), cut in 0..1000usize, multi in any::<bool>(), split in any::<bool>()) {
        let o = options(64, if split { Oversize::Split } else { Oversize::Truncate }, multi.then_some("^[A-Z]"));
        let cut = cut.min(data.len());
        let (early, _) = bodies(&o, &data[..cut], Flush::Nothing);
        let (late, _) = bodies(&o, &data, Flush::Nothing);
        prop_assert!(late.starts_with(&early), "{early:?} then {late:?}");
    }

    /// Whoever has a record's bytes alone cuts the same record: so what was sent is compared with its file.
    #[test]
    fn a_record_cut_alone_is_the_same(
        data in file(), multi in any::<bool>(), flush in prop_oneof![Just(Flush::Nothing), Just(Flush::Everything)],
        oversize in prop_oneof![Just(Oversize::Truncate), Just(Oversize::Split), Just(Oversize::Drop)],
    ) {
        let o = options(64, oversize, multi.then_some("^[A-Z]"));
        let mut pos = 0;
        loop {
            let token = next(&o, &data[pos..], At { start_of_file: pos == 0, end_of_file: true, flush });
            let len = match token {
                Token::Record { len, .. } => {
                    let alone = At { start_of_file: pos == 0, end_of_file: true, flush: Flush::Everything };
                    prop_assert_eq!(next(&o, &data[pos..pos + len], alone), token);
                    len
                }
                Token::TooLong { len, .. } | Token::ByteOrderMark { len } | Token::Hole { len } => len,
                Token::LongLine | Token::Incomplete => break,
            };
            pos += len;
        }
    }

    /// Split loses no byte: the records are the file, holes and mark aside.
    #[test]
    fn splitting_consumes_the_whole_file(data in file(), multi in any::<bool>()) {
        let o = options(64, Oversize::Split, multi.then_some("^[A-Z]"));
        let (_, consumed) = bodies(&o, &data, Flush::Everything);
        prop_assert_eq!(consumed, data.len());
        let mut rest = &data[..];
        while !rest.is_empty() {
            match next(&o, rest, At { start_of_file: false, end_of_file: true, flush: Flush::Everything }) {
                Token::Record { len, body, truncated } => {
                    prop_assert!(len > 0 && len == body && !truncated && body <= 64);
                    rest = &rest[len..];
                }
                Token::Hole { len } => {
                    prop_assert!(rest[..len].iter().all(|b| *b == 0));
                    rest = &rest[len..];
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
