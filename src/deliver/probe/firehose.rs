//! Trying a delivery stream. Knows the calls and what their answers mean.

use aws_sdk_firehose::{
    Client,
    types::{DeliveryStreamDescription, DeliveryStreamStatus, DeliveryStreamType},
};

use super::{Finding, Findings, asked};
use crate::{
    deliver::{
        Firehose, ServiceClock,
        errors::Class,
        put::{Asked, Listening},
    },
    model::Now,
};

pub(super) async fn probe(options: &Firehose, now: Now) -> Vec<Finding> {
    let mut findings = Findings::default();
    let stream = options.stream.as_str();
    let Some((config, region)) = findings.connect(&options.aws, stream).await else { return findings.0 };
    let clock = ServiceClock::new(now);
    let config = aws_sdk_firehose::config::Builder::from(&config).interceptor(Listening(clock.clone())).build();
    let client = Client::from_conf(config);
    let role = options.aws.role_arn.as_deref();
    describe(&mut findings, &client, Asked { action: "", stream, region: &region, role, exactly_once: false }).await;
    findings.clock(&clock);
    findings.0
}

async fn describe(findings: &mut Findings, client: &Client, who: Asked<'_>) {
    const ACTION: &str = "firehose:DescribeDeliveryStream";
    let name = who.stream.rsplit('/').next().unwrap_or(who.stream);
    let question = client.describe_delivery_stream().delivery_stream_name(name).limit(1);
    match asked(question.send(), Asked { action: ACTION, ..who }).await {
        Ok(answer) => match answer.delivery_stream_description {
            Some(description) => described(findings, who, &description),
            None => findings.unknown("stream", "the service says nothing of it"),
        },
        Err(failure) if failure.is_denied() => {
            let text = format!("it may not be described, which delivery does not need; to see it here, allow {ACTION}");
            findings.unknown("stream", text);
        }
        Err(failure) if matches!(failure.class, Class::Ambiguous | Class::Throttled) => {
            findings.unknown("stream", failure.to_string());
        }
        Err(failure) => return findings.failed("stream", &failure),
    }
    // Any record that the service refuses for its form it refuses before it looks at permissions.
    findings.unknown("write", "not tried, for that would deliver something; it needs firehose:PutRecordBatch");
}

fn described(findings: &mut Findings, who: Asked<'_>, description: &DeliveryStreamDescription) {
    let status = description.delivery_stream_status.as_str();
    let text = format!("{} in {}: {status}", who.stream, who.region);
    let source = &description.delivery_stream_type;
    if *source != DeliveryStreamType::DirectPut {
        let text = format!("{text}, but it takes its records from elsewhere ({source}): send to one with Direct PUT");
        return findings.bad("stream", text);
    }
    match description.delivery_stream_status {
        DeliveryStreamStatus::Active => findings.good("stream", text),
        _ => findings.bad("stream", format!("{text}; it takes no records as long as that is so")),
    }
}
