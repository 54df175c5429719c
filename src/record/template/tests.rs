//! What templates accept, and what they give.

use std::{path::Path, time::Instant};

use super::*;
use crate::{
    model::{Generation, Now, Span},
    record::{ec2::Shared, fields::Text},
};

fn variable(variable: Variable) -> Part {
    Part::Variable(variable)
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

/// What an `add` of these values to `{"n":1.10,"s":"a\tb","z":null}` gives, each followed by a space.
fn added(list: Vec<Added>, ec2: &Shared) -> String {
    let line = br#"1.10"a\tb""#;
    let mut fields = Fields::default();
    let list = list.into_iter().enumerate().map(|(at, added)| (format!("v{at}"), added)).collect();
    let mut add = Add::new(list, &mut fields);
    let [n, s, z] = ["n", "s", "z"].map(|name| fields.intern(name));
    fields.push(n, Value::Json(Text::line(0, 4)));
    fields.push(s, Value::Json(Text::line(4, line.len())));
    fields.push(z, Value::Null);
    let context = Context {
        host: "web\n1",
        ec2,
        path: Path::new("/var/log/a.log"),
        generation: Generation(0xabc),
        span: Span { start: 10, end: 25 },
        now: Now { mono: Instant::now(), wall: 1_795_168_800_007_999_999 },
    };
    add.run(&context, line, &mut fields);
    let mut out = Vec::new();
    for field in fields.iter().skip(3) {
        fields.push_json(line, field.value, &mut out);
        out.push(b' ');
    }
    String::from_utf8(out).expect("UTF-8")
}

#[track_caller]
fn check(parts: &[Part], expected: &str) {
    check_on(&Shared::default(), parts, expected);
}

#[track_caller]
fn check_on(ec2: &Shared, parts: &[Part], expected: &str) {
    let found = added(vec![Added::Text(Template(parts.to_vec()))], ec2);
    assert_eq!(found, format!("{expected} "));
}

fn instance() -> Shared {
    let shared = Shared::default();
    shared.set(Instance {
        instance_id: Some("i-1".to_owned()),
        tags: Some([("Name of it".to_owned(), "x\"y".to_owned())].into()),
        ..Instance::default()
    });
    shared
}

#[test]
fn times_are_utc_with_milliseconds() {
    check(&[variable(Variable::Now)], r#""2026-11-20T10:00:00.007Z""#);
    check(&[variable(Variable::NowUnixMs)], r#""1795168800007""#);
    let time = |wall| {
        let mut out = Vec::new();
        push_time(wall, &mut out);
        String::from_utf8(out).expect("UTF-8")
    };
    assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
    assert!(time(i64::MIN).starts_with("1677-09-21T00:12:43."));
    assert!(time(i64::MAX).starts_with("2262-04-11T23:47:16."));
}

#[test]
fn a_field_alone_keeps_its_type_and_is_text_among_others() {
    let field = |name: &str| Part::Field(name.to_owned());
    check(&[field("n")], "1.10");
    check(&[field("s")], r#""a\tb""#);
    check(&[field("z")], "null");
    check(&[field("missing")], "null");
    check(&[text("<"), field("n"), field("s"), field("z"), field("missing"), text(">")], r#""<1.10a\tb>""#);
}

#[test]
fn what_is_not_known_is_null_alone_and_nothing_among_others() {
    let id = variable(Variable::Ec2(Ec2::InstanceId));
    let tag = |name: &str| variable(Variable::Ec2Tag(name.to_owned()));
    let lists = [vec![id.clone()], vec![tag("Name of it")], vec![tag("b")], vec![id, text("/"), tag("b")]];
    for (parts, outside) in lists.iter().zip(["null", "null", "null", r#""/""#]) {
        check(parts, outside);
    }
    for (parts, inside) in lists.iter().zip([r#""i-1""#, r#""x\"y""#, "null", r#""i-1/""#]) {
        check_on(&instance(), parts, inside);
    }
    check_on(&instance(), &[variable(Variable::Ec2(Ec2::Region))], "null");
}

#[test]
fn json_holds_texts_that_are_escaped() {
    let json = |json: &str| Piece::Json(json.to_owned());
    let string = |parts: Vec<Part>| Piece::Text(Template(parts));
    let pieces = vec![
        json(r#"{"h":"#),
        string(vec![variable(Variable::Host), text("\"")]),
        json(r#","n":["#),
        string(vec![Part::Field("n".to_owned())]),
        json(",1,"),
        string(vec![variable(Variable::Ec2(Ec2::Region))]),
        json("]}"),
    ];
    let expected = r#"{"h":"web\n1\"","n":[1.10,1,null]} "#;
    assert_eq!(added(vec![Added::Json(pieces)], &Shared::default()), expected);
}

#[test]
fn later_fields_see_earlier_ones() {
    let list = [vec![text("x")], vec![Part::Field("v0".to_owned()), text("y")]];
    let list = list.into_iter().map(|parts| Added::Text(Template(parts))).collect();
    assert_eq!(added(list, &Shared::default()), r#""x" "xy" "#);
}

#[test]
fn a_step_says_whether_it_needs_ec2() {
    let needs = |part: Part| {
        let pieces = vec![Piece::Json("[".to_owned()), Piece::Text(Template(vec![text("a"), part]))];
        let add = Add::new(vec![("x".to_owned(), Added::Json(pieces))], &mut Fields::default());
        (add.needs_ec2(), add.needs_ec2_tags())
    };
    assert_eq!(needs(variable(Variable::Host)), (false, false));
    assert_eq!(needs(variable(Variable::Ec2(Ec2::Region))), (true, false));
    assert_eq!(needs(variable(Variable::Ec2Tag("a".to_owned()))), (true, true));
}
