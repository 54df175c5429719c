//! Trying a data stream. Knows the calls and what their answers mean.

use aws_sdk_kinesis::{
    Client,
    primitives::Blob,
    types::{PutRecordsRequestEntry, StreamDescriptionSummary, StreamStatus},
};

use super::{Finding, Findings, asked};
use crate::{
    deliver::{
        Kinesis, KinesisSink, ServiceClock,
        errors::{Class, Failure},
        kinesis::ACTIONS,
        put::{Asked, Listening},
    },
    model::Now,
};

/// One more than the largest: a record with it is well formed, and no stream takes it. So whoever may write learns that the
/// record is wrong, and whoever may not learns that.
const BEYOND_ALL_SHARDS: &str = "340282366920938463463374607431768211456";

pub(super) async fn probe(options: &Kinesis, now: Now) -> Vec<Finding> {
    let mut findings = Findings::default();
    let stream = options.stream.as_str();
    let Some((config, region)) = findings.connect(&options.aws, stream).await else { return findings.0 };
    let clock = ServiceClock::new(now);
    let config = aws_sdk_kinesis::config::Builder::from(&config).interceptor(Listening(clock.clone())).build();
    let client = Client::from_conf(config);
    let who = Asked { action: "", stream, region: &region, role: options.aws.role_arn.as_deref(), exactly_once: false };
    if describe(&mut findings, &client, who).await && write(&mut findings, &client, who).await {
        read(&mut findings, options, now).await;
    }
    findings.clock(&clock);
    findings.0
}

/// False: nothing else needs to be tried.
async fn describe(findings: &mut Findings, client: &Client, who: Asked<'_>) -> bool {
    const ACTION: &str = "kinesis:DescribeStreamSummary";
    let (name, arn) = name_or_arn(who.stream);
    let question = client.describe_stream_summary().set_stream_name(name).set_stream_arn(arn);
    match asked(question.send(), Asked { action: ACTION, ..who }).await {
        Ok(answer) => {
            match answer.stream_description_summary {
                Some(summary) => described(findings, who, &summary),
                None => findings.unknown("stream", "the service says nothing of it"),
            }
            true
        }
        Err(failure) if failure.is_denied() => {
            let text = format!("it may not be described, which delivery does not need; to see it here, allow {ACTION}");
            findings.unknown("stream", text);
            true
        }
        Err(failure) if matches!(failure.class, Class::Ambiguous | Class::Throttled) => {
            findings.unknown("stream", failure.to_string());
            true
        }
        Err(failure) => {
            findings.failed("stream", &failure);
            false
        }
    }
}

fn described(findings: &mut Findings, who: Asked<'_>, summary: &StreamDescriptionSummary) {
    let (status, shards) = (summary.stream_status.as_str(), summary.open_shard_count);
    let text = format!("{} in {}: {status}, {shards} shards", who.stream, who.region);
    match summary.stream_status {
        StreamStatus::Active | StreamStatus::Updating => findings.good("stream", text),
        _ => findings.bad("stream", format!("{text}; it takes no records as long as that is so")),
    }
}

async fn write(findings: &mut Findings, client: &Client, who: Asked<'_>) -> bool {
    const ACTION: &str = "kinesis:PutRecords";
    let (name, arn) = name_or_arn(who.stream);
    let record = PutRecordsRequestEntry::builder().data(Blob::new("")).partition_key("headwater");
    let record = record.explicit_hash_key(BEYOND_ALL_SHARDS).build().expect("data and key are set");
    let question = client.put_records().set_stream_name(name).set_stream_arn(arn).records(record);
    match asked(question.send(), Asked { action: ACTION, ..who }).await {
        Err(Failure { code, .. }) if code == "InvalidArgumentException" => {
            findings.good("write", format!("{ACTION} is allowed"));
            true
        }
        Ok(_) => {
            findings.unknown("write", "this service takes records that Kinesis does not: an empty one was written");
            true
        }
        // The form of a request may be looked at before the permission is.
        Err(failure) if !matches!(failure.class, Class::Hold | Class::Credentials) => {
            findings.unknown("write", failure.to_string());
            true
        }
        Err(failure) => {
            findings.failed("write", &failure);
            false
        }
    }
}

/// Whether the stream can be read back, if it has to be.
async fn read(findings: &mut Findings, options: &Kinesis, now: Now) {
    if options.exactly_once.is_none() {
        return;
    }
    let actions = ACTIONS.join(", ");
    match Box::pin(KinesisSink::try_reading(options, now)).await {
        Ok(Ok(())) => findings.good("read back", format!("{actions} are allowed")),
        Ok(Err(failure)) if failure.is_denied() => findings.failed("read back", &failure),
        Ok(Err(failure)) => findings.unknown("read back", format!("{failure}; it needs {actions}")),
        Err(error) => findings.bad("read back", error.to_string()),
    }
}

fn name_or_arn(stream: &str) -> (Option<String>, Option<String>) {
    let stream = Some(stream.to_owned());
    if stream.as_deref().is_some_and(|stream| stream.starts_with("arn:")) { (None, stream) } else { (stream, None) }
}
