//! A flow of the Java agent to a flow of ours. Knows both vocabularies, and no text. Invariant: where the two differ,
//! docs/MIGRATION.md says how.

use std::time::Duration;

use super::{
    super::kinesis::of_delivery,
    agent::{Agent, Flow, Metrics, Service, Stream},
    processing::{self, Findings},
    read::{Object, Reader},
};
use crate::{
    aws::Aws,
    deliver::{Aggregate, Destination, Firehose, Kinesis, MaxRate},
    flow::{Delivery, Limits, Options},
    model::content_hash,
    record::{
        java::{
            Converter,
            pattern::{Flags, Pattern},
        },
        key,
        pipeline::Pipeline,
        regex::Regex,
        split::{self, Multiline, Oversize, Start},
    },
    source,
    telemetry::cloudwatch::{self, Part},
};

/// Names that the Java agent never reads, and those of other compressed files, whose bytes it sent as if they were lines.
/// The rest of a followed file is read although its name is one of these.
pub(super) const ARCHIVES: [&str; 7] = ["*.[gG][zZ]", "*.[bB][zZ]2", "*.[zZ][iI][pP]", "*.xz", "*.zst", "*.lz4", "*.Z"];

/// The region that the Java agent uses for Firehose and `CloudWatch`, and for a Kinesis endpoint that names none.
pub(super) const LAST_REGION: &str = "us-east-1";

/// What the Java agent calls its session in an assumed role.
pub(super) const SESSION_NAME: &str = "AWSKinesisAgent";

/// What a flow means here. `None`: what is wrong was reported.
pub(super) fn options(r: &mut Reader<'_>, object: &Object<'_>, agent: &Agent, flow: &Flow) -> Option<Options> {
    let destination = destination(r, object, agent, flow);
    let most = destination.max_request_bytes();
    let default_bytes = if matches!(flow.stream, Stream::Firehose(_)) { 4 << 20 } else { 5 << 20 };
    let limits = Limits {
        batch_records: flow.max_records.unwrap_or(500).min(destination.max_records()),
        batch_bytes: flow.max_bytes.unwrap_or(default_bytes).min(most),
        batch_age: flow.max_age.unwrap_or(Duration::from_secs(1)),
        buffer: 32 << 20,
    };
    let framing = framing(r, object, flow, &destination);
    let glob = source::Pattern::new(&flow.files.glob).map_err(|why| format!("is no pattern: {why}"));
    let paths = vec![r.check(object, "filePattern", glob)?];
    let exclude = ARCHIVES.iter().map(|glob| source::Pattern::new(glob).expect("these are globs")).collect();
    let source = source::Options { paths, exclude, start_at: flow.start_at, poll_interval: poll_interval(flow) };
    let pipeline = Pipeline::java(converters(r, object, flow)).with_key(key(flow));
    let (name, delivery) = (flow.name(), Delivery::AtLeastOnce);
    let mut written = String::new();
    object.write(&mut written);
    let (digest, written) = (0, content_hash(written.as_bytes()));
    Some(Options {
        name,
        source,
        framing: framing?,
        pipeline,
        destination,
        limits,
        delivery,
        digest,
        names_host: false,
        written,
    })
}

fn converters(r: &mut Reader<'_>, object: &Object<'_>, flow: &Flow) -> Vec<Converter> {
    let mut converters = Vec::new();
    for (index, node) in flow.processing.iter().enumerate() {
        let key = object.key(&format!("dataProcessingOptions[{index}]"));
        let mut findings = Findings::default();
        converters.extend(processing::converter(node, &mut findings));
        findings.problems.iter().for_each(|(at, text)| r.problem(*at, &key, text));
        findings.warnings.iter().for_each(|(at, text)| r.warning(*at, &key, text));
    }
    converters
}

/// How often a file is looked at that announces nothing, as far as that is allowed here.
pub(super) fn poll_interval(flow: &Flow) -> Duration {
    let allowed = Duration::from_millis(10)..=Duration::from_hours(1);
    flow.poll_interval.map_or(Duration::from_secs(1), |time| time.clamp(*allowed.start(), *allowed.end()))
}

/// The requests under way at once.
pub(super) fn max_in_flight(agent: &Agent) -> usize {
    agent.max_sending_threads.unwrap_or(8).clamp(1, 64)
}

/// A Java pattern that is compared with the beginning of a line.
pub(super) fn looking_at(pattern: &str) -> Result<Regex, String> {
    let found = Pattern::parse(pattern, Flags::default()).and_then(|pattern| pattern.looking_at());
    found.map_err(|error| error.to_string())
}

/// A Java pattern that is compared with a whole record, whose lines have beginnings and ends of their own.
pub(super) fn whole_record(pattern: &str) -> Result<Regex, String> {
    let found = Pattern::parse(pattern, Flags { multi_line: true }).and_then(|pattern| pattern.matches());
    found.map_err(|error| error.to_string())
}

fn framing(r: &mut Reader<'_>, object: &Object<'_>, flow: &Flow, destination: &Destination) -> Option<split::Options> {
    let start = match &flow.multiline_start {
        Some(text) => Some(r.check(object, "multiLineStartPattern", looking_at(text))?),
        None => None,
    };
    let footer = match &flow.footer {
        Some(text) => Some(r.check(object, "fileFooterPattern", whole_record(text))?),
        None => None,
    };
    Some(split::Options {
        skip_header_lines: flow.skip_header_lines,
        // As there, only the room for a record bounds its lines.
        multiline: start.map(|start| Multiline {
            start: Start::JavaLookingAt(start),
            timeout: Duration::from_secs(2),
            max_lines: usize::MAX,
        }),
        // Converters see as much of a long record as there; what is too long after them is cut.
        max_record: destination.max_request_bytes().min(5 << 20),
        oversize: Oversize::Truncate,
        terminator: flow.terminator.as_deref().unwrap_or("\n").into(),
        footer,
        partial_line_timeout: None,
    })
}

fn destination(r: &mut Reader<'_>, object: &Object<'_>, agent: &Agent, flow: &Flow) -> Destination {
    let max_in_flight = max_in_flight(agent);
    match &flow.stream {
        Stream::Kinesis(stream) => {
            // Without an endpoint the Java agent asks the SDK's chain, and stops where that knows no region.
            let last = agent.kinesis.endpoint.is_some();
            let aws = aws(agent, &agent.kinesis, last);
            Destination::Kinesis(Box::new(Kinesis {
                stream: stream.clone(),
                aws,
                partition_key: of_delivery(key(flow).as_ref()),
                aggregate: None,
                keeps_order: false,
                exactly_once: None,
                max_in_flight,
                max_rate: MaxRate::default(),
            }))
        }
        Stream::Firehose(stream) => {
            if flow.hashes_records {
                let at = object.get("partitionKeyOption").map_or(object.at, |node| node.at);
                let text = "has no effect on a delivery stream, in the Java agent neither";
                r.warning(at, &object.key("partitionKeyOption"), text);
            }
            let whole_lines = flow.terminator.as_ref().is_none_or(|text| text.ends_with('\n'));
            Destination::Firehose(Box::new(Firehose {
                stream: stream.clone(),
                aws: aws(agent, &agent.firehose, true),
                aggregate: flow.aggregate.map(|max_bytes| Aggregate { max_bytes, ..Aggregate::LINES }),
                // What converters write is sent as it is; else only the last line of a file can be without its newline.
                add_newline: flow.processing.is_empty() && whole_lines,
                max_in_flight,
                max_rate: MaxRate::default(),
            }))
        }
    }
}

/// What partition keys are made of, where they are not random.
fn key(flow: &Flow) -> Option<key::Options> {
    let has_keys = flow.hashes_records && matches!(flow.stream, Stream::Kinesis(_));
    has_keys.then_some(key::Options::RECORD_HASH)
}

/// The metrics that the Java agent sends unless it is told not to.
pub(in super::super) fn metrics(agent: &Agent) -> Option<cloudwatch::Options> {
    let Metrics { emit, namespace, tag_instance, interval } = agent.metrics.clone();
    emit.then(|| cloudwatch::Options {
        aws: aws(agent, &agent.cloudwatch, true),
        namespace,
        interval: interval.clamp(Duration::from_secs(1), Duration::from_hours(1)),
        dimensions: if tag_instance { vec![("Instance".to_owned(), vec![Part::InstanceId])] } else { Vec::new() },
    })
}

/// How to reach a service.
fn aws(agent: &Agent, service: &Service, last: bool) -> Aws {
    Aws {
        region: service.region.clone(),
        region_otherwise: last.then(|| LAST_REGION.to_owned()),
        endpoint_url: service.endpoint.clone(),
        role_arn: agent.role_arn.clone(),
        external_id: agent.external_id.clone(),
        session_name: Some(SESSION_NAME.to_owned()),
        sts_endpoint_url: agent.sts.endpoint.clone(),
        static_keys: agent.static_keys.clone(),
        ..Aws::default()
    }
}
