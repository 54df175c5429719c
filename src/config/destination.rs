//! `destination:` to `deliver` options. Knows the names and limits of the services.

use super::{
    aws::{is_account, is_lower_or_dash, of_destination, region},
    keys,
    read::{Map, Reader, Value, choose},
    value,
};
use crate::{
    aws::Aws,
    deliver::{Aggregate, Destination, Firehose, Kinesis, PartitionKey},
};

/// Reads `destination:`.
pub(super) fn destination(r: &mut Reader<'_>, value: &Value<'_>, defaults: &Aws) -> Option<Destination> {
    let map = r.map(value, &keys::DESTINATION)?;
    let written = map.present(keys::DESTINATION.keys);
    let kinesis = map.get("kinesis").map(|value| kinesis(r, &value, defaults));
    let stdout = map.get("stdout").map(|value| r.map(&value, &keys::STDOUT).map(|_| Destination::Stdout));
    let firehose = map.get("firehose").map(|value| firehose(r, &value, defaults));
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

fn kinesis(r: &mut Reader<'_>, value: &Value<'_>, defaults: &Aws) -> Option<Destination> {
    let map = r.map(value, &keys::KINESIS)?;
    let stream = stream(r, &map, &Service { name: "kinesis", resource: "stream", longest: 128 });
    let aws = of_destination(r, &map, defaults);
    let partition_key = map.get("partition_key").and_then(|value| partition_key(r, &value));
    r.key(&map, "aggregate", |text| {
        let not_yet = || "is not available in this version; write false, or remove the key".to_owned();
        if value::boolean(text)? { Err(not_yet()) } else { Ok(()) }
    });
    let max_in_flight = max_in_flight(r, &map);
    let partition_key = partition_key.unwrap_or(PartitionKey::Random);
    Some(Destination::Kinesis(Box::new(Kinesis { stream: stream?, aws, partition_key, max_in_flight })))
}

fn partition_key(r: &mut Reader<'_>, value: &Value<'_>) -> Option<PartitionKey> {
    const KEYS: [(&str, PartitionKey); 2] =
        [("random", PartitionKey::Random), ("record_hash", PartitionKey::RecordMd5)];
    if !value.is_scalar() {
        r.problem(value, "a key from a field is not available in this version; write random or record_hash");
        return None;
    }
    r.value(value, |text| choose(text, &KEYS))
}

fn firehose(r: &mut Reader<'_>, value: &Value<'_>, defaults: &Aws) -> Option<Destination> {
    let map = r.map(value, &keys::FIREHOSE)?;
    let stream = stream(r, &map, &Service { name: "firehose", resource: "deliverystream", longest: 64 });
    let aws = of_destination(r, &map, defaults);
    let aggregate = map.get("aggregate").and_then(|value| aggregate(r, &value));
    let add_newline = r.key(&map, "add_newline", value::boolean);
    if let (Some(written), Some(false), Some(_)) = (map.get("add_newline"), add_newline, aggregate) {
        r.warning(&written, "has no effect with `aggregate`: lines that are joined need their ends");
    }
    let (add_newline, max_in_flight) = (add_newline.unwrap_or(true), max_in_flight(r, &map));
    Some(Destination::Firehose(Box::new(Firehose { stream: stream?, aws, aggregate, add_newline, max_in_flight })))
}

/// `true`, `false`, a size, or a mapping. What is wrong was reported.
fn aggregate(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Aggregate> {
    let usual = Aggregate::default();
    let size = |text: &str| value::size(text, &(1..=usual.max_bytes));
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
    Some(Aggregate { max_bytes, max_records })
}

fn max_in_flight(r: &mut Reader<'_>, map: &Map<'_>) -> usize {
    r.key(map, "max_in_flight", |text| value::integer(text, &(1..=64))).unwrap_or(8)
}

/// What a service calls its streams.
struct Service {
    name: &'static str,
    /// Before the name in an ARN.
    resource: &'static str,
    /// Most characters of a name.
    longest: usize,
}

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
fn stream_name(text: &str, service: &Service) -> Result<String, String> {
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
    use crate::config::{Config, parse_text};

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
            let expected = expected.map(|(max_bytes, max_records)| Aggregate { max_bytes, max_records });
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
        a.yaml:6:82: flows[0].destination.firehose.zzz: unknown key; known here: stream, aggregate, add_newline, max_in_flight, region, endpoint_url, role_arn, external_id, session_name, sts_endpoint_url, fips, dual_stack, profile, ca_bundle, access_key_id, secret_access_key, session_token
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

    #[test]
    fn the_hash_of_a_record_is_longer_than_a_random_key() {
        let [random, hash] =
            ["random", "record_hash"].map(|key| good(&format!("kinesis: {{ stream: a, partition_key: {key} }}")));
        assert_eq!((random.shape().overhead, random.max_record_bytes()), (10, (1 << 20) - 10));
        assert_eq!((hash.shape().overhead, hash.max_record_bytes()), (32, (1 << 20) - 32));
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
        ] {
            let warnings = read("", &destination).unwrap().warnings;
            assert!(warnings.len() == 1 && warnings[0].contains(key), "{destination}: {warnings:?}");
        }
    }
}
