//! `delivery:` to how often a line may arrive. Knows which parts of a flow cannot keep that promise.

use std::time::Duration;

use super::{
    keys,
    read::{Reader, Value, choose},
    value,
};
use crate::{deliver::Destination, flow::Delivery, record::split};

/// A request that has no answer has long been handled by then, unless the service is in trouble.
const SETTLE_WAIT: Duration = Duration::from_secs(5);
/// The service takes no request that was signed longer ago.
const LONGEST_WAIT: Duration = Duration::from_mins(15);

/// Reads `delivery`: a word, or `exactly_once` with its settings. What is wrong was reported.
pub(super) fn delivery(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Delivery> {
    let usual = Delivery::ExactlyOnce { settle_wait: SETTLE_WAIT };
    if value.is_scalar() {
        let words = [("at_least_once", Delivery::AtLeastOnce), ("exactly_once", usual)];
        return r.value(value, |text| choose(text, &words));
    }
    let map = r.map(value, &keys::DELIVERY)?;
    let inner = r.required(&map, "exactly_once", "write `delivery: exactly_once`")?;
    let map = r.map(&inner, &keys::EXACTLY_ONCE)?;
    let range = Duration::from_secs(1)..=LONGEST_WAIT;
    let settle_wait = r.key(&map, "settle_wait", |text| value::duration(text, &range)).unwrap_or(SETTLE_WAIT);
    Some(Delivery::ExactlyOnce { settle_wait })
}

/// Reports what cannot be delivered exactly once.
pub(super) fn check(
    r: &mut Reader<'_>,
    written: &Value<'_>,
    delivery: Delivery,
    destination: &Destination,
    framing: &split::Options,
    changing_keys: bool,
) {
    if delivery == Delivery::AtLeastOnce {
        return;
    }
    let kinesis = match destination {
        Destination::Kinesis(kinesis) => kinesis,
        Destination::Firehose(_) => {
            let text = "exactly_once is for data streams: Firehose cannot be read back; write at_least_once, \
                        add the record's id (`add: { id: \"${record.id}\" }`) and take repeats out where you read";
            return r.problem(written, text);
        }
        Destination::Stdout => {
            return r.problem(written, "exactly_once is for data streams; write at_least_once, or remove the key");
        }
    };
    // Records that a time-out ends may end elsewhere when they are read again.
    let by_time = framing.multiline.is_some() || framing.partial_line_timeout.is_some();
    if kinesis.joins_by_slot() && by_time {
        let text = "exactly_once cannot be combined with `aggregate`, a chosen `partition_key`, and `multiline` or \
                    `partial_line_timeout`; leave one of them out";
        r.problem(written, text);
    }
    if kinesis.joins_by_slot() && changing_keys {
        let text = "exactly_once with `aggregate` needs a `partition_key` that is the same when a line is read again, \
                    and this one changes with the time, the file's name or the instance (`${now}`, `${file.path}`, \
                    `${file.name}`, `${ec2...}`); make it of something else, or leave `aggregate` out";
        r.problem(written, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, parse_text};

    fn read(delivery: &str, destination: &str, more: &str) -> Result<Config, String> {
        let text = format!(
            "flows:\n  - name: web\n    source: {{ paths: /a{more}\n    destination: {{ {destination} }}\n    delivery: {delivery}\n"
        );
        parse_text("a.yaml", &text, &|_| None).map_err(|problems| problems.to_string())
    }

    const STREAM: &str = "kinesis: { stream: a }";

    #[test]
    fn exactly_once_is_a_word_or_a_mapping_with_its_wait() {
        let exactly_once = |seconds| Delivery::ExactlyOnce { settle_wait: Duration::from_secs(seconds) };
        for (written, expected) in [
            ("at_least_once", Delivery::AtLeastOnce),
            ("exactly_once", exactly_once(5)),
            ("{ exactly_once: {} }", exactly_once(5)),
            ("{ exactly_once: { settle_wait: 5m } }", exactly_once(300)),
        ] {
            let config = read(written, STREAM, " }").unwrap();
            assert_eq!(config.flows[0].delivery, expected, "{written}");
            let wait = match expected {
                Delivery::AtLeastOnce => None,
                Delivery::ExactlyOnce { settle_wait } => Some(settle_wait),
            };
            let Destination::Kinesis(kinesis) = &config.flows[0].destination else { panic!("{config:?}") };
            assert_eq!((kinesis.exactly_once, config.flows[0].destination.shape().ids), (wait, wait.is_some()));
        }
    }

    #[test]
    fn what_cannot_be_delivered_exactly_once_is_refused_with_a_way_out() {
        let check = |delivery: &str, destination: &str, more: &str, words: &str| {
            let problems = read(delivery, destination, more).unwrap_err();
            assert!(problems.contains(words) && problems.contains("flows[0].delivery"), "{problems}");
        };
        let ids = "Firehose cannot be read back; write at_least_once, add the record's id";
        check("exactly_once", "firehose: { stream: a }", " }", ids);
        check("exactly_once", "stdout: {}", " }", "a.yaml:5:15: flows[0].delivery: exactly_once is for data streams");
        check("once", STREAM, " }", r#""once" is not known; write at_least_once or exactly_once"#);
        check("{ exactly_once: { settle_wait: 1h } }", STREAM, " }", "it must be 1s to 15m");
        check("{ exactly_once: { wait: 1s } }", STREAM, " }", "delivery.exactly_once.wait: unknown key");
        check("{}", STREAM, " }", "write `delivery: exactly_once`");
        let joined = "kinesis: { stream: a, aggregate: true, partition_key: record_hash }";
        check("exactly_once", joined, ", multiline: { start: x } }", "leave one of them out");
        let time = " }\n    process: [{ parse: json }, { add: { at: '${now}' } }]";
        check("exactly_once", joined, time, "this one changes with the time");
    }

    #[test]
    fn whether_another_host_gives_other_records_is_known() {
        let names = |steps: &str, key: &str| {
            let destination = format!("kinesis: {{ stream: a, partition_key: {key} }}");
            read("exactly_once", &destination, &format!(" }}\n    process: [{{ parse: json }}{steps}]")).unwrap().flows
                [0]
            .names_host
        };
        assert!(!names("", "random"));
        assert!(names(", { add: { h: 'on ${host}' } }", "random") && names("", "{ template: '${host}-${fields.a}' }"));
    }

    #[test]
    fn what_changes_with_time_and_is_no_key_is_no_hindrance() {
        let key = |key: &str| format!("kinesis: {{ stream: a, aggregate: true, partition_key: {key} }}");
        let steps =
            " }\n    process: [{ parse: json }, { add: { at: '${now}', b: '${fields.at}' } }, { rename: { b: c } }]";
        read("exactly_once", &key("{ field: client }"), steps).unwrap();
        read("exactly_once", &key("{ template: '${host}-${fields.d}' }"), steps).unwrap();
        for changing in [
            "{ field: c }",
            "{ field: b }",
            "{ template: '${now}' }",
            "{ template: '${fields.at}' }",
            "{ template: '${file.name}-${fields.d}' }",
            "{ template: '${ec2.instance_id}' }",
            "record_hash",
        ] {
            assert!(read("exactly_once", &key(changing), steps).is_err(), "{changing}");
        }
        let plain = "kinesis: { stream: a, partition_key: record_hash }";
        read("exactly_once", plain, ", multiline: { start: x } }").unwrap();
    }
}
