//! `destination:` to `deliver` options. Knows the names and limits of the services.

use super::{
    aws::{is_account, is_lower_or_dash, of_service, region},
    keys,
    kinesis::{Flow, consumers, keeps_order, of_delivery, partition_key},
    read::{Map, Reader, Value},
    value,
};
use crate::{
    aws::Aws,
    deliver::{Aggregate, Destination, Firehose, Kinesis, LARGEST_KINESIS_RECORD, MAX_FIREHOSE_RECORD, MaxRate},
    flow::Delivery,
    record::key,
};

/// What a flow writes to, and how its records' keys are chosen, if they are.
pub(super) struct Target {
    pub(super) destination: Destination,
    pub(super) key: Option<key::Options>,
}

impl From<Destination> for Target {
    fn from(destination: Destination) -> Self {
        Self { destination, key: None }
    }
}

/// Reads `destination:`.
pub(super) fn destination(r: &mut Reader<'_>, value: &Value<'_>, defaults: &Aws, flow: Flow<'_>) -> Option<Target> {
    let map = r.map(value, &keys::DESTINATION)?;
    let written = map.present(keys::DESTINATION.keys);
    let kinesis = map.get("kinesis").map(|value| kinesis(r, &value, defaults, flow));
    let stdout = map.get("stdout").map(|value| r.map(&value, &keys::STDOUT).map(|_| Destination::Stdout.into()));
    let firehose = map.get("firehose").map(|value| firehose(r, &value, defaults).map(Target::from));
    match written.len() {
        // An unknown key alone was reported already.
        0 if !map.is_empty() => None,
        0 => {
            r.problem(value, "names no destination; write `kinesis: { stream: NAME }` or `stdout: {}`");
            None
        }
        1 => kinesis.or(firehose).or(stdout)?,
        _ => {
            r.problem(value, format!("names several destinations ({}); a flow has one", written.join(", ")));
            None
        }
    }
}

fn kinesis(r: &mut Reader<'_>, value: &Value<'_>, defaults: &Aws, flow: Flow<'_>) -> Option<Target> {
    let map = r.map(value, &keys::KINESIS)?;
    let stream = stream(r, &map, &KINESIS);
    let aws = of_service(r, &map, defaults);
    let key = map.get("partition_key").and_then(|value| partition_key(r, &value, flow));
    let aggregate = map.get("aggregate").and_then(|value| aggregate(r, &value, Aggregate::KPL, LARGEST_KINESIS_RECORD));
    let keeps_order = keeps_order(r, &map, key.as_ref());
    consumers(r, &map, aggregate.is_some());
    let (partition_key, max_in_flight, max_rate) =
        (of_delivery(key.as_ref()), max_in_flight(r, &map), max_rate(r, &map));
    let exactly_once = match flow.delivery {
        Delivery::AtLeastOnce => None,
        Delivery::ExactlyOnce { settle_wait } => Some(settle_wait),
    };
    let kinesis =
        Kinesis { stream: stream?, aws, partition_key, aggregate, keeps_order, exactly_once, max_in_flight, max_rate };
    Some(Target { destination: Destination::Kinesis(Box::new(kinesis)), key })
}

fn firehose(r: &mut Reader<'_>, value: &Value<'_>, defaults: &Aws) -> Option<Destination> {
    let map = r.map(value, &keys::FIREHOSE)?;
    let stream = stream(r, &map, &FIREHOSE);
    let aws = of_service(r, &map, defaults);
    let aggregate = map.get("aggregate").and_then(|value| aggregate(r, &value, Aggregate::LINES, MAX_FIREHOSE_RECORD));
    let add_newline = r.key(&map, "add_newline", value::boolean);
    if let (Some(written), Some(false), Some(_)) = (map.get("add_newline"), add_newline, aggregate) {
        r.warning(&written, "has no effect with `aggregate`: lines that are joined need their ends");
    }
    let (add_newline, max_in_flight, max_rate) =
        (add_newline.unwrap_or(true), max_in_flight(r, &map), max_rate(r, &map));
    let firehose = Firehose { stream: stream?, aws, aggregate, add_newline, max_in_flight, max_rate };
    Some(Destination::Firehose(Box::new(firehose)))
}

/// `true`, `false`, a size, or a mapping. What is wrong was reported.
fn aggregate(r: &mut Reader<'_>, value: &Value<'_>, usual: Aggregate, most: usize) -> Option<Aggregate> {
    let size = |text: &str| value::size(text, &(1..=most));
    if value.is_scalar() {
        let read = |text: &str| match text {
            "true" => Ok(Some(usual)),
            "false" => Ok(None),
            _ => size(text)
                .map(|max_bytes| Some(Aggregate { max_bytes, ..usual }))
                .map_err(|wrong| format!("is neither true nor false; as the size of a record it {wrong}")),
        };
        return r.value(value, read)?;
    }
    let map = r.map(value, &keys::AGGREGATE)?;
    let max_bytes = r.key(&map, "max_bytes", size).unwrap_or(usual.max_bytes);
    let max_records = r.key(&map, "max_records", |text| value::integer(text, &(1..=1_000_000)));
    let max_records = max_records.and_then(|n| u32::try_from(n).ok()).unwrap_or(usual.max_records);
    Some(Aggregate { max_bytes, max_records, ..usual })
}

fn max_in_flight(r: &mut Reader<'_>, map: &Map<'_>) -> usize {
    r.key(map, "max_in_flight", |text| value::integer(text, &(1..=64))).unwrap_or(8)
}

/// Reads `max_rate`: nothing is no limit.
fn max_rate(r: &mut Reader<'_>, map: &Map<'_>) -> MaxRate {
    let map = map.get("max_rate").and_then(|value| r.map(&value, &keys::MAX_RATE));
    let Some(map) = map else { return MaxRate::default() };
    let narrow = |n: usize| u32::try_from(n).ok();
    let bytes = r.key(&map, "bytes", |text| value::size(text, &(1 << 10..=1 << 30))).and_then(narrow);
    let records = r.key(&map, "records", |text| value::integer(text, &(1..=1_000_000))).and_then(narrow);
    MaxRate { bytes, records }
}

/// What a service calls its streams.
pub(super) struct Service {
    name: &'static str,
    /// Before the name in an ARN.
    resource: &'static str,
    /// Most characters of a name.
    longest: usize,
}

pub(super) const KINESIS: Service = Service { name: "kinesis", resource: "stream", longest: 128 };
pub(super) const FIREHOSE: Service = Service { name: "firehose", resource: "deliverystream", longest: 64 };

/// Reads `stream`.
fn stream(r: &mut Reader<'_>, map: &Map<'_>, service: &Service) -> Option<String> {
    let written = r.required(map, "stream", "write the stream's name or ARN")?;
    let stream = r.value(&written, |text| stream_name(text, service))?;
    let of_arn = stream.strip_prefix("arn:").and_then(|arn| arn.split(':').nth(2));
    if let (Some(own), Some(of_arn)) = (map.get("region"), of_arn)
        && r.expanded(&own).is_some_and(|own| own.text != of_arn)
    {
        r.warning(&own, "differs from the region in the stream's ARN, which is the one used for the stream");
    }
    Some(stream)
}

/// A name, or an ARN.
pub(super) fn stream_name(text: &str, service: &Service) -> Result<String, String> {
    let Service { name: of, resource, longest } = service;
    let name = match text.strip_prefix("arn:") {
        None => text,
        Some(arn) => {
            let wrong =
                || format!("is not the ARN of a stream; it must look like arn:aws:{of}:REGION:ACCOUNT:{resource}/NAME");
            let parts: Vec<&str> = arn.splitn(5, ':').collect();
            let &[partition, service, region_name, account, rest] = parts.as_slice() else {
                return Err(wrong());
            };
            let partition_ok = partition.starts_with("aws") && partition.bytes().all(is_lower_or_dash);
            if service != *of || !partition_ok || region(region_name).is_err() || !is_account(account) {
                return Err(wrong());
            }
            rest.strip_prefix(resource).and_then(|rest| rest.strip_prefix('/')).ok_or_else(wrong)?
        }
    };
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if (1..=*longest).contains(&name.len()) && name.bytes().all(known) {
        return Ok(text.to_owned());
    }
    Err(format!("is no name of a stream; it has 1 to {longest} letters, digits, `_`, `.` or `-`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, parse_text},
        deliver::PartitionKey,
    };

    fn read(aws: &str, destination: &str) -> Result<Config, String> {
        let text = format!(
            "aws: {{ {aws} }}\nflows:\n  - name: web\n    source: {{ paths: /a }}\n    destination:\n      {destination}\n"
        );
        parse_text("a.yaml", &text, &|_| None).map_err(|problems| problems.to_string())
    }

    fn good(destination: &str) -> Destination {
        read("", destination).unwrap_or_else(|problems| panic!("{destination}: {problems}")).flows.remove(0).destination
    }

    fn bad(destination: &str) -> String {
        read("", destination).expect_err(destination)
    }

    #[test]
    fn a_firehose_has_its_own_limits_and_ends_lines() {
        let config = read("region: eu-west-1", "firehose: { stream: web, max_in_flight: 3 }").unwrap();
        let flow = &config.flows[0];
        let Destination::Firehose(firehose) = &flow.destination else { panic!("{flow:?}") };
        assert_eq!((firehose.stream.as_str(), firehose.max_in_flight), ("web", 3));
        assert_eq!((firehose.add_newline, firehose.aggregate), (true, None));
        assert_eq!(firehose.aws.region.as_deref(), Some("eu-west-1"));
        assert_eq!((flow.limits.batch_records, flow.limits.batch_bytes), (500, 4 << 20));
        assert_eq!(flow.framing.max_record, 1_024_000 - 1, "with the newline that may be added");
        assert_eq!(good("firehose: { stream: a, add_newline: false }").max_record_bytes(), 1_024_000);
    }

    #[test]
    fn aggregate_is_a_word_a_size_or_a_mapping() {
        for (written, expected) in [
            ("false", None),
            ("true", Some((1_024_000, u32::MAX))),
            ("5KB", Some((5_000, u32::MAX))),
            ("1000KiB", Some((1_024_000, u32::MAX))),
            ("{}", Some((1_024_000, u32::MAX))),
            ("{ max_records: 500 }", Some((1_024_000, 500))),
            ("{ max_bytes: 100KiB, max_records: 2 }", Some((102_400, 2))),
        ] {
            let expected =
                expected.map(|(max_bytes, max_records)| Aggregate { max_bytes, max_records, ..Aggregate::LINES });
            let shape = good(&format!("firehose: {{ stream: a, aggregate: {written} }}")).shape();
            assert_eq!((shape.aggregate, shape.newline), (expected, true), "{written}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_firehose_is_said_with_a_remedy() {
        insta::assert_snapshot!(bad("firehose: { stream: a b, aggregate: yes, add_newline: 1, max_in_flight: 0, zzz: 1 }"), @r#"
        a.yaml:6:27: flows[0].destination.firehose.stream: "a b" is no name of a stream; it has 1 to 64 letters, digits, `_`, `.` or `-`
        a.yaml:6:43: flows[0].destination.firehose.aggregate: "yes" is neither true nor false; as the size of a record it is not a size; write a whole number and a unit: B, KiB, MiB, GiB, KB, MB or GB
        a.yaml:6:61: flows[0].destination.firehose.add_newline: "1" is neither true nor false; write one of them
        a.yaml:6:79: flows[0].destination.firehose.max_in_flight: "0" is out of range; it must be 1 to 64
        a.yaml:6:82: flows[0].destination.firehose.zzz: unknown key; known here: stream, aggregate, add_newline, max_in_flight, max_rate, region, endpoint_url, role_arn, external_id, session_name, sts_endpoint_url, fips, dual_stack, profile, ca_bundle, access_key_id, secret_access_key, session_token
        "#);
        insta::assert_snapshot!(bad("firehose: { aggregate: 1MiB }"), @r#"
        a.yaml:6:17: flows[0].destination.firehose.stream: is missing; write the stream's name or ARN
        a.yaml:6:30: flows[0].destination.firehose.aggregate: "1MiB" is neither true nor false; as the size of a record it is out of range; it must be 1B to 1000KiB
        "#);
        insta::assert_snapshot!(bad("firehose: { stream: a, aggregate: { max_bytes: 0, max_records: many, size: 1 } }"), @r#"
        a.yaml:6:54: flows[0].destination.firehose.aggregate.max_bytes: "0" is out of range; it must be 1B to 1000KiB
        a.yaml:6:70: flows[0].destination.firehose.aggregate.max_records: "many" is not a whole number; write digits alone
        a.yaml:6:76: flows[0].destination.firehose.aggregate.size: unknown key; known here: max_bytes, max_records
        "#);
        insta::assert_snapshot!(bad("firehose: { stream: 'arn:aws:kinesis:eu-west-1:111122223333:stream/x' }"), @r#"a.yaml:6:27: flows[0].destination.firehose.stream: "arn:aws:kinesis:eu-west-1:111122223333:stream/x" is not the ARN of a stream; it must look like arn:aws:firehose:REGION:ACCOUNT:deliverystream/NAME"#);
        insta::assert_snapshot!(bad(&format!("firehose: {{ stream: {} }}", "x".repeat(65))), @r#"a.yaml:6:27: flows[0].destination.firehose.stream: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..." is no name of a stream; it has 1 to 64 letters, digits, `_`, `.` or `-`"#);
    }

    #[test]
    fn a_stream_is_a_name_or_an_arn_of_its_service() {
        good("firehose: { stream: 'arn:aws:firehose:eu-west-1:111122223333:deliverystream/web' }");
        good("kinesis: { stream: 'arn:aws-cn:kinesis:cn-north-1:111122223333:stream/web' }");
        bad("kinesis: { stream: 'arn:aws:firehose:eu-west-1:111122223333:deliverystream/web' }");
    }

    fn of_kinesis(more: &str) -> (Kinesis, Config) {
        let destination = format!("kinesis: {{ stream: a, {more} }}");
        let config = read("", &destination).unwrap_or_else(|problems| panic!("{more}: {problems}"));
        let Destination::Kinesis(kinesis) = &config.flows[0].destination else { panic!("{config:?}") };
        (Kinesis::clone(kinesis), config)
    }

    #[test]
    fn a_key_takes_its_room_from_the_record() {
        for (key, bytes, chosen) in [
            ("random", 10, false),
            ("record_hash", 32, true),
            ("{ constant: four }", 4, true),
            ("{ constant: é }", 2, true),
            ("{ template: '${host}-${flow}', on_missing: dead_letter }", 768, true),
        ] {
            let (kinesis, config) = of_kinesis(&format!("partition_key: {key}"));
            let expected = if chosen { PartitionKey::Chosen { max_bytes: bytes } } else { PartitionKey::Random };
            assert_eq!(kinesis.partition_key, expected);
            let destination = &config.flows[0].destination;
            assert_eq!((destination.shape().overhead, destination.max_record_bytes()), (bytes, (1 << 20) - bytes));
            assert_eq!(config.flows[0].framing.max_record, (1 << 20) - bytes);
        }
    }

    #[test]
    fn order_needs_slots_and_is_off_unless_asked_for() {
        for (more, keeps_order) in [("", false), ("order: none", false), ("order: per_key", true)] {
            let (kinesis, config) = of_kinesis(&format!("partition_key: record_hash, {more}"));
            let shape = config.flows[0].destination.shape();
            assert_eq!((kinesis.keeps_order, shape.slots), (keeps_order, keeps_order), "{more}");
        }
    }

    #[test]
    fn a_rate_bounds_bytes_records_or_both() {
        for (more, bytes, records) in [
            ("", None, None),
            ("max_rate: { bytes: 1MiB }", Some(1 << 20), None),
            ("max_rate: { bytes: 500KiB, records: 100 }", Some(500 << 10), Some(100)),
        ] {
            assert_eq!(of_kinesis(more).0.max_rate, MaxRate { bytes, records }, "{more}");
        }
        let problems = bad("firehose: { stream: a, max_rate: { bytes: 10, records: 0 } }");
        assert!(
            problems.contains("it must be 1KiB to 1GiB") && problems.contains("it must be 1 to 1000000"),
            "{problems}"
        );
    }

    #[test]
    fn a_stream_joins_records_as_the_producer_library_does() {
        for (written, expected) in [
            ("false", None),
            ("true", Some((51_200, u32::MAX))),
            ("1MiB", Some((1 << 20, u32::MAX))),
            ("{ max_bytes: 25KiB, max_records: 2 }", Some((25_600, 2))),
        ] {
            let expected =
                expected.map(|(max_bytes, max_records)| Aggregate { max_bytes, max_records, ..Aggregate::KPL });
            for (key, slots) in [("random", false), ("record_hash", expected.is_some())] {
                let (kinesis, config) = of_kinesis(&format!("aggregate: {written}, partition_key: {key}"));
                assert_eq!(kinesis.aggregate, expected, "{written}");
                let shape = config.flows[0].destination.shape();
                assert_eq!((shape.aggregate, shape.newline, shape.slots), (expected, false, slots), "{written}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_keys_is_said_with_a_remedy() {
        insta::assert_snapshot!(bad("kinesis: { stream: a, partition_key: md5 }"), @r#"a.yaml:6:44: flows[0].destination.kinesis.partition_key: "md5" is not known; write random, record_hash, or a mapping with field, template or constant"#);
        insta::assert_snapshot!(bad("kinesis: { stream: a, partition_key: { constant: '' } }"), @r#"a.yaml:6:56: flows[0].destination.kinesis.partition_key.constant: "" is no key; it has 1 to 256 characters"#);
        insta::assert_snapshot!(bad("kinesis: { stream: a, partition_key: { field: client } }"), @"a.yaml:6:53: flows[0].destination.kinesis.partition_key.field: names a field, but no step of `process` finds any; add one, like `- parse: json`");
        insta::assert_snapshot!(bad("kinesis: { stream: a, partition_key: { field: '', on_missing: keep, x: 1 } }"), @r#"
        a.yaml:6:53: flows[0].destination.kinesis.partition_key.field: "" is no name of a field; write one
        a.yaml:6:69: flows[0].destination.kinesis.partition_key.on_missing: "keep" is not known; write random or drop or dead_letter
        a.yaml:6:75: flows[0].destination.kinesis.partition_key.x: unknown key; known here: field, template, constant, on_missing
        "#);
        insta::assert_snapshot!(bad("kinesis: { stream: a, partition_key: { template: '${fields.user}-${hots}' } }"), @"a.yaml:6:56: flows[0].destination.kinesis.partition_key.template: unknown variable `${hots}`; did you mean `${host}`?");
        insta::assert_snapshot!(bad("kinesis: { stream: a, partition_key: { template: '${fields.user}' } }"), @"a.yaml:6:56: flows[0].destination.kinesis.partition_key.template: names a field, but no step of `process` finds any; add one, like `- parse: json`");
        insta::assert_snapshot!(bad("kinesis: { stream: a, partition_key: {} }"), @"a.yaml:6:44: flows[0].destination.kinesis.partition_key: names no single source of keys; write exactly one of field, template and constant");
        insta::assert_snapshot!(bad("kinesis: { stream: a, partition_key: { field: a, constant: b } }"), @"a.yaml:6:44: flows[0].destination.kinesis.partition_key: names no single source of keys; write exactly one of field, template and constant");
        insta::assert_snapshot!(bad("kinesis: { stream: a, aggregate: { max_bytes: 11MiB } }"), @r#"a.yaml:6:53: flows[0].destination.kinesis.aggregate.max_bytes: "11MiB" is out of range; it must be 1B to 10MiB"#);
        insta::assert_snapshot!(bad("kinesis: { stream: a, order: per_key }"), @"a.yaml:6:36: flows[0].destination.kinesis.order: needs keys to keep the order of, and random ones are all different; write a `partition_key` with a field, a template or a constant, or remove the key");
        insta::assert_snapshot!(bad("kinesis: { stream: a, order: per_shard }"), @r#"a.yaml:6:36: flows[0].destination.kinesis.order: "per_shard" is not known; write none or per_key"#);
        insta::assert_snapshot!(bad("kinesis: { stream: a, consumers: [kcl, spark] }"), @r#"a.yaml:6:46: flows[0].destination.kinesis.consumers[1]: "spark" is not known; write kcl or firehose or beam or flink_legacy or flink or lambda or sdk or pinot or fluentd or logstash"#);
    }

    #[test]
    fn a_consumer_that_cannot_open_aggregates_is_warned_of() {
        let warnings = |aggregate: bool, consumers: &str| {
            of_kinesis(&format!("aggregate: {aggregate}, consumers: {consumers}")).1.warnings
        };
        assert_eq!(warnings(true, "[kcl, firehose, beam, flink_legacy]"), Vec::<String>::new());
        assert_eq!(warnings(false, "[lambda, sdk]"), Vec::<String>::new());
        insta::assert_snapshot!(warnings(true, "[kcl, lambda, flink]").join("\n"), @r#"
        a.yaml:6:63: flows[0].destination.kinesis.consumers[1]: lambda does not open aggregated records by itself; let the function take them apart with the aws-kinesis-agg library, or write `aggregate: false`
        a.yaml:6:71: flows[0].destination.kinesis.consumers[2]: flink does not open aggregated records by itself; give its KinesisStreamsSource a schema that takes them apart, or write `aggregate: false`
        "#);
        assert_eq!(warnings(true, "pinot").len(), 1);
    }

    #[test]
    fn the_keys_of_access_are_taken_from_aws_and_overridden_one_by_one() {
        let defaults = "fips: true, dual_stack: true, session_name: a@b, sts_endpoint_url: 'https://sts', \
                        role_arn: 'arn:aws:iam::111122223333:role/x'";
        let config = read(defaults, "firehose: { stream: a, dual_stack: false, session_name: me }").unwrap();
        let Destination::Firehose(firehose) = &config.flows[0].destination else { panic!("{config:?}") };
        let aws = &firehose.aws;
        assert_eq!((aws.fips, aws.dual_stack, aws.session_name.as_deref()), (Some(true), Some(false), Some("me")));
        assert_eq!(aws.sts_endpoint_url.as_deref(), Some("https://sts"));
        assert_eq!(config.warnings, Vec::<String>::new());
    }

    #[test]
    fn access_that_contradicts_itself_is_refused() {
        insta::assert_snapshot!(bad("kinesis: { stream: a, fips: true, endpoint_url: 'http://h', session_name: x }"), @r#"
        a.yaml:6:35: flows[0].destination.kinesis.fips: chooses among the region's endpoints, and `endpoint_url` names another; remove one of the two
        a.yaml:6:81: flows[0].destination.kinesis.session_name: "x" is no name of a session; it has 2 to 64 letters, digits or `_ + = , . @ -`
        "#);
        insta::assert_snapshot!(read("dual_stack: true", "kinesis: { stream: a, endpoint_url: 'http://h' }").unwrap_err(), @"a.yaml:6:43: flows[0].destination.kinesis.dual_stack: chooses among the region's endpoints, and `endpoint_url` names another; remove one of the two");
        insta::assert_snapshot!(read("fips: true, endpoint_url: 'http://h'", "kinesis: { stream: a }").unwrap_err(), @"a.yaml:6:16: flows[0].destination.kinesis.fips: chooses among the region's endpoints, and `endpoint_url` names another; remove one of the two");
        read("fips: true, endpoint_url: 'http://h'", "kinesis: { stream: a, fips: false }").unwrap();
        read("fips: true, endpoint_url: 'http://h'", "stdout:").unwrap();
    }

    #[test]
    fn what_has_no_effect_is_only_odd() {
        let arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/x";
        for (destination, key) in [
            ("kinesis: { stream: a, session_name: me }".to_owned(), "kinesis.session_name"),
            ("kinesis: { stream: a, sts_endpoint_url: 'https://sts' }".to_owned(), "kinesis.sts_endpoint_url"),
            (format!("kinesis: {{ stream: '{arn}', region: us-east-1 }}"), "kinesis.region"),
            ("firehose: { stream: a, aggregate: true, add_newline: false }".to_owned(), "firehose.add_newline"),
            (
                "kinesis: { stream: a, partition_key: { constant: a, on_missing: drop } }".to_owned(),
                "kinesis.partition_key.on_missing",
            ),
        ] {
            let warnings = read("", &destination).unwrap().warnings;
            assert!(warnings.len() == 1 && warnings[0].contains(key), "{destination}: {warnings:?}");
        }
    }
}
