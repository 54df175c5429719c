//! What holds for every parser, and the parsers of cells and pairs against simple models.

use proptest::prelude::*;

use super::{
    super::fields::{Fields, Value},
    testing::{check, context, fields, hostile, parsed},
    *,
};

fn named(names: &[&str]) -> csv::Options {
    csv::Options {
        columns: csv::Columns::Named(names.iter().map(|&name| name.to_owned()).collect()),
        delimiter: b',',
        quote: b'"',
        trim: false,
    }
}

fn key_value(field: &str, value: &str, trim: bool) -> Format {
    let options = pairs::Options { field_delimiter: field.to_owned(), value_delimiter: value.to_owned(), trim };
    Format::KeyValue(options)
}

fn every_format() -> Vec<Format> {
    // Compiling them takes long.
    static FORMATS: std::sync::LazyLock<Vec<Format>> = std::sync::LazyLock::new(formats);
    FORMATS.clone()
}

fn formats() -> Vec<Format> {
    let regex = |pattern| Format::Regex(super::super::regex::Regex::new(pattern).expect("a pattern"));
    vec![
        Format::Json,
        regex(r"^(?P<a>\S+) (?P<b>.*)$"),
        regex(r"(?P<a>.)\k<a>"),
        Format::Grok(Box::new(Grok::new("%{IP:ip}|^%{GREEDYDATA:all}$", &[]).expect("a pattern"))),
        Format::Csv(named(&["a", "b", "c"])),
        Format::Csv(csv::Options { trim: true, delimiter: b'\t', ..named(&["a"]) }),
        Format::Csv(csv::Options { columns: csv::Columns::Header, ..named(&[]) }),
        Format::Logfmt,
        key_value(" ", "=", true),
        key_value("; ", ": ", false),
        Format::Common,
        Format::Combined,
        Format::ApacheError,
        Format::NginxError,
        Format::SyslogRfc3164,
        Format::SyslogRfc5424,
        Format::Cri,
        Format::Docker,
    ]
}

#[test]
fn hostile_lines_are_read_or_refused_within_the_bounds() {
    for format in every_format() {
        let mut buffers = Fields::default();
        let mut parser = Parser::new(format, Refine::default(), &mut buffers);
        for line in hostile() {
            let shown = fields(&mut parser, &mut buffers, &context(&line), &line);
            assert!(buffers.len() <= MAX_FIELDS, "{} of {shown:.40}", parser.name());
        }
    }
}

/// One line of each format that matches.
const LINES: [(usize, &str); 15] = [
    (0, r#"{"a":"x","b":1}"#),
    (1, "GET /index.html"),
    (4, r#"1,"x ""y""",z"#),
    (6, "1,2"),
    (7, r#"level=info msg="a \"b\"" ok"#),
    (8, r#"a=1 b="x y" c"#),
    (10, r#"h - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 5"#),
    (11, r#"h - - [10/Oct/2000:13:55:36 -0700] "GET /\" HTTP/1.0" 200 5 "-" "curl""#),
    (12, "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 1:tid 4] (13)x: [client 1.2.3.4:5] gone"),
    (13, r#"2023/10/11 14:32:52 [error] 1#2: *3 gone, client: 1.2.3.4, server: s, request: "GET /""#),
    (14, "<34>Oct 11 22:14:15 h su[1]: gone"),
    (15, r#"<34>1 2003-10-11T22:14:15Z h su - ID47 [a@1 b="c\"d"] gone"#),
    (16, "2016-10-06T00:17:09.669794202Z stdout F hello"),
    (17, r#"{"log":"a\n","stream":"stdout","time":"2016"}"#),
    (5, "x"),
];

#[test]
fn lines_that_match_are_read_without_allocating() {
    let formats = every_format();
    for (index, line) in LINES {
        let refine = Refine {
            types: [("b", Type::Int), ("bytes", Type::Int), ("response", Type::Float)]
                .map(|(name, kind)| (name.to_owned(), kind))
                .to_vec(),
            timestamp: Some(Box::new(TimestampOptions {
                field: if index == 10 || index == 11 { "datetime" } else { "timestamp" }.to_owned(),
                to: Some("time".to_owned()),
                format: TimeFormat::new(match index {
                    12 => "apache_error",
                    14 => "syslog",
                    15 => "rfc3339",
                    _ => "httpdate",
                })
                .expect("a format"),
                zone: zone("UTC").expect("a zone"),
            })),
            null_if: vec!["-".to_owned()],
        };
        let mut buffers = Fields::default();
        let mut parser = Parser::new(formats[index].clone(), refine, &mut buffers);
        let context = context(line.as_bytes());
        let header = Span { start: 0, end: 4 };
        parser.learn_header(context.generation, header, b"a,b");
        let mut read = || {
            buffers.clear();
            parser.parse(&context, line.as_bytes(), &mut buffers).expect(line)
        };
        (0..3).for_each(|_| assert_eq!(read(), Found::Fields));
        let allocated = allocation_counter::measure(|| assert_eq!(read(), Found::Fields));
        assert_eq!(allocated.count_total, 0, "{line}");
    }
}

#[test]
fn cells_are_quoted_as_rfc_4180_says() {
    let abc = || Format::Csv(named(&["a", "b", "c"]));
    check(abc(), "1,2,3", "a=1|b=2|c=3");
    check(abc(), r#""1","a ""b"", c","#, r#"a=1|b=a "b", c|c="#);
    check(abc(), "\"x\ny\",\"\",\"\"\"\"", "a=x\ny|b=|c=\"");
    check(abc(), "1", "a=1|b=null|c=null");
    check(abc(), "", "a=|b=null|c=null");
    check(abc(), " \"1\" ,a\"b,", "a= \"1\" |b=a\"b|c=");
    check(abc(), "1,2,3,4", "expected no more cells than fields at byte 6");
    check(abc(), "1,2,3,", "expected no more cells than fields at byte 6");
    check(abc(), "1,\"2", "expected the quote that ends the cell at byte 4");
    check(abc(), "1,\"2\"x,3", "expected a delimiter or the end after the quote at byte 5");
    check(abc(), "1\n2", "expected no line end outside quotes at byte 1");
    let other = csv::Options { delimiter: b';', quote: b'\'', trim: true, ..named(&["a", "b"]) };
    check(Format::Csv(other.clone()), "  x y ; 'p;''q' ", "a=x y|b=p;'q");
    check(
        Format::Csv(csv::Options { delimiter: b'\t', ..other }),
        " \t\t",
        "expected no more cells than fields at byte 3",
    );
}

#[test]
fn the_first_line_of_a_file_names_its_cells() {
    let mut buffers = Fields::default();
    let options = csv::Options { columns: csv::Columns::Header, ..named(&[]) };
    let mut parser = Parser::new(Format::Csv(options), Refine::default(), &mut buffers);
    let (file, other) = (Generation(7), Generation(8));
    let mut read = |parser: &mut Parser, generation, start, line: &str| {
        let span = Span { start, end: start + line.len() as u64 + 1 };
        let context = Context { generation, span, ..context(b"") };
        fields(parser, &mut buffers, &context, line.as_bytes())
    };
    assert!(parser.lacks_header(file));
    assert_eq!(read(&mut parser, file, 8, "1,2"), "the header line of this file cannot be read");
    parser.learn_header(file, Span { start: 3, end: 17 }, b"a,\"x \"\"y\"\"\",a");
    parser.learn_header(other, Span { start: 0, end: 2 }, b"\xff");
    assert!(!parser.lacks_header(file) && !parser.lacks_header(other));
    assert_eq!(read(&mut parser, file, 3, "a,\"x \"\"y\"\"\",a"), "header");
    assert_eq!(read(&mut parser, file, 3, "a,\"x \"\"y\"\"\",a\n1,2,3"), "expected a header line alone at byte 0");
    assert_eq!(read(&mut parser, file, 17, "1,2,3"), "a=3|x \\\"y\\\"=2");
    assert_eq!(read(&mut parser, other, 2, "1"), "\u{fffd}=1");
    assert_eq!(read(&mut parser, file, 22, "1"), "a=null|x \\\"y\\\"=null");
    parser.learn_header(Generation(9), Span { start: 0, end: 2 }, b"\"");
    assert!(parser.lacks_header(Generation(9)), "what is no line of cells is no header");
}

#[test]
fn logfmt_is_names_with_values() {
    let logfmt = |line, expected| check(Format::Logfmt, line, expected);
    logfmt(
        r#"ts=2024-01-02T03:04:05Z level=info msg="a \"b\"\n\u00e9" dur=1.2ms retry empty= path=/x?a=b"#,
        "ts=2024-01-02T03:04:05Z|level=info|msg=a \"b\"\né|dur=1.2ms|retry=`true`|empty=|path=/x?a=b",
    );
    logfmt("  a=1\tb=\"\"\t ", "a=1|b=");
    logfmt("a=1 a=2", "a=2");
    logfmt("just some words", "expected a name with a value at byte 15");
    logfmt("", "expected a name with a value at byte 0");
    logfmt("=1", "expected a name at byte 0");
    logfmt("a=1 \"b\"", "expected a name at byte 4");
    logfmt("a\"b", "expected `=` after the name at byte 1");
    logfmt("a=\"b", "expected `\"` that ends the value at byte 4");
    logfmt("a=\"b\\\"", "expected `\"` that ends the value at byte 6");
    logfmt("a=\"b\"c", "expected a space or the end after the quote at byte 5");
}

#[test]
fn pairs_have_any_delimiters() {
    check(key_value(" ", "=", true), r#"a=1   b="x y" c  d= e=f=g"#, "a=1|b=x y|c=`true`|d=|e=f=g");
    check(key_value(";", ":", true), " a : 1 ; b:\"x;\\\"y\" ;; c : ", "a=1|b=x;\"y|c=");
    check(key_value(";", ":", false), " a : 1 ;b:", " a = 1 |b=");
    check(key_value("||", "->", true), "a->1||b->2", "a=1|b=2");
    check(key_value(" ", "=", true), "no pair", "expected a name with a value at byte 7");
    check(key_value(" ", "=", true), "a=1 =2", "expected a name at byte 4");
    check(key_value(" ", "=", true), "a=\"1", "expected `\"` that ends the value at byte 4");
    check(key_value(" ", "=", true), "a=\"1\"x", "expected a delimiter or the end after the quote at byte 5");
    check(key_value(";", "=", false), "a=\"1\" ;b=2", "expected a delimiter or the end after the quote at byte 5");
}

/// The cells of a line, read with no thought of speed.
fn cells(line: &str) -> Option<Vec<String>> {
    let mut list = vec![String::new()];
    let mut chars = line.chars().peekable();
    loop {
        let cell = list.last_mut().expect("never empty");
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next()? {
                    '"' if chars.next_if_eq(&'"').is_some() => cell.push('"'),
                    '"' => break,
                    c => cell.push(c),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| !matches!(c, ',' | '\n')) {
                cell.push(c);
            }
        }
        match chars.next() {
            None => return Some(list),
            Some(',') => list.push(String::new()),
            Some(_) => return None,
        }
    }
}

/// The pairs of a line whose values are read with no thought of speed; no escape but `\"` and `\\`.
fn logfmt_pairs(line: &str) -> Option<Vec<(String, String)>> {
    let mut list = Vec::new();
    let mut chars = line.chars().peekable();
    let mut any = false;
    loop {
        while chars.next_if(char::is_ascii_whitespace).is_some() {}
        if chars.peek().is_none() {
            return any.then_some(list);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| !c.is_ascii_whitespace() && !matches!(c, '=' | '"')) {
            name.push(c);
        }
        let mut value = "`true`".to_owned();
        if name.is_empty() {
            return None;
        }
        if chars.next_if_eq(&'=').is_some() {
            any = true;
            value.clear();
            if chars.next_if_eq(&'"').is_some() {
                loop {
                    match chars.next()? {
                        '\\' => value.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
                        '"' => break,
                        c => value.push(c),
                    }
                }
            } else {
                while let Some(c) = chars.next_if(|c| !c.is_ascii_whitespace()) {
                    value.push(c);
                }
            }
        }
        if chars.peek().is_some_and(|c| !c.is_ascii_whitespace()) {
            return None;
        }
        match list.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => list.push((name, value)),
        }
    }
}

fn joined<'a>(list: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    list.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn cells_are_those_of_the_model(line in "([,\"\n a]|é){0,16}") {
        let found = parsed(Format::Csv(named(&["0", "1", "2", "3"])), line.as_bytes());
        match cells(&line) {
            Some(cells) if cells.len() <= 4 => {
                let cells = cells.iter().map(String::as_str).chain(std::iter::repeat("null"));
                prop_assert_eq!(found, joined(["0", "1", "2", "3"].into_iter().zip(cells)));
            }
            _ => prop_assert!(found.starts_with("expected"), "{}", found),
        }
    }

    #[test]
    fn pairs_are_those_of_the_model(line in "([=\" ab]|=\"|\\\\\"|\\\\\\\\|é){0,16}") {
        let found = parsed(Format::Logfmt, line.as_bytes());
        match logfmt_pairs(&line) {
            Some(pairs) => {
                // Names are shown as JSON writes them.
                let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.replace('\\', r"\\"), value)).collect();
                prop_assert_eq!(found, joined(pairs.iter().map(|(name, value)| (&**name, &***value))));
            }
            None => prop_assert!(found.starts_with("expected"), "{}", found),
        }
    }

    #[test]
    fn no_line_makes_any_parser_panic(line in proptest::collection::vec(prop_oneof![
        proptest::sample::select(b" \"[]<>{}=,:;\\*#-10Z".to_vec()), any::<u8>(),
    ], 0..60), start in 0..LINES.len(), cut in any::<prop::sample::Index>()) {
        let good = LINES[start].1.as_bytes();
        let line = [&good[..cut.index(good.len() + 1)], &line].concat();
        for format in every_format() {
            let _ = parsed(format, &line);
        }
    }
}

#[test]
fn a_value_is_null_text_or_json() {
    let mut buffers = Fields::default();
    let mut parser = Parser::new(Format::Logfmt, Refine::default(), &mut buffers);
    let line = b"a=1 b";
    parser.parse(&context(line), line, &mut buffers).expect("a match");
    assert!(matches!(buffers.at(0).value, Value::Text(_)) && matches!(buffers.at(1).value, Value::Json(_)));
}
