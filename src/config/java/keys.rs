//! Every key of the Java agent's configuration, and what becomes of it here. Knows no values.
//! Invariant: docs/MIGRATION.md names each of them, and a test holds it to that.

use super::super::keys::nearest;

/// What a key's value must be where it has no meaning here: it is still checked as the Java agent checks it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    /// A whole number of 32 or 64 bits.
    Int,
    Long,
    Switch,
}

/// Keys of the top level that are read.
pub(super) const TOP: &[&str] = &[
    "flows",
    "checkpointFile",
    "shutdownTimeoutMillis",
    "maxSendingThreads",
    "awsAccessKeyId",
    "awsSecretAccessKey",
    "assumeRoleARN",
    "assumeRoleExternalId",
    "kinesis.endpoint",
    "kinesis.region",
    "firehose.endpoint",
    "cloudwatch.endpoint",
    "sts.endpoint",
    "cloudwatch.emitMetrics",
    "cloudwatch.namespace",
    "cloudwatch.tagInstance",
    "cloudwatch.metricsBufferTimeMillis",
    STATE_DIR,
];

/// Ours: the one key that the Java agent does not know.
pub(super) const STATE_DIR: &str = "headwater.stateDir";

/// Keys of the top level that have no meaning here.
pub(super) const TOP_WITHOUT_MEANING: &[(&str, Kind)] = &[
    ("checkpointTimeToLiveDays", Kind::Int),
    ("checkpoints.queryTimeoutSeconds", Kind::Int),
    ("checkpoints.connectionTimeoutSeconds", Kind::Int),
    ("maxSendingThreadsPerCore", Kind::Int),
    ("sendingThreadsKeepAliveMillis", Kind::Long),
    ("sendingThreadsMaxQueueSize", Kind::Int),
    ("maxConnections", Kind::Int),
    ("connectionTimeoutMillis", Kind::Int),
    ("socketTimeoutMillis", Kind::Int),
    ("connectionTTLMillis", Kind::Long),
    ("useTcpKeepAlive", Kind::Switch),
    ("useHttpGzip", Kind::Switch),
    ("userAgent", Kind::Text),
    ("userAgentOverride", Kind::Text),
    ("cloudwatch.metricsQueueSize", Kind::Int),
    ("log.emitMetrics", Kind::Switch),
    ("log.emitInternalMetrics", Kind::Switch),
    ("log.statusReportingPeriodSeconds", Kind::Int),
];

/// Keys that name Java classes.
pub(super) const REFUSED: &[&str] =
    &["userDefinedCredentialsProvider.classname", "userDefinedCredentialsProvider.location"];

/// Keys of a flow that are read.
pub(super) const FLOW: &[&str] = &[
    "deliveryStream",
    "kinesisStream",
    "filePattern",
    "initialPosition",
    "maxBufferAgeMillis",
    "maxBufferSizeRecords",
    "maxBufferSizeBytes",
    "minTimeBetweenFilePollsMillis",
    "skipHeaderLines",
    "multiLineStartPattern",
    "fileFooterPattern",
    "truncatedRecordTerminator",
    "dataProcessingOptions",
    "partitionKeyOption",
    "aggregatedRecordSizeBytes",
];

/// Keys of a flow that have no meaning here, with the range that the Java agent allows.
pub(super) const FLOW_WITHOUT_MEANING: &[(&str, Kind, std::ops::RangeInclusive<i64>)] = &[
    ("publishQueueCapacity", Kind::Int, i64::MIN..=i64::MAX),
    ("waitOnEmptyPublishQueueMillis", Kind::Long, 1_000..=900_000),
    ("waitOnFullPublishQueueMillis", Kind::Long, 1_000..=900_000),
    ("retryInitialBackoffMillis", Kind::Long, 0..=i64::MAX),
    ("retryMaxBackoffMillis", Kind::Long, i64::MIN..=i64::MAX),
    ("maxTimeBetweenFileTrackerRefreshMillis", Kind::Long, i64::MIN..=i64::MAX),
    ("log.emitInternalMetrics", Kind::Switch, 0..=0),
];

/// Keys that old manuals name and that no Java agent of today reads.
pub(super) const READ_NOWHERE: &[&str] = &[
    "log.level",
    "log.file",
    "log.maxBackupIndex",
    "log.maxFileSize",
    "pollPeriodMillis",
    "waitOnFullRetryQueueMillis",
];

fn top() -> impl Iterator<Item = &'static str> {
    TOP.iter().copied().chain(TOP_WITHOUT_MEANING.iter().map(|(name, _)| *name))
}

fn flow() -> impl Iterator<Item = &'static str> {
    FLOW.iter().copied().chain(FLOW_WITHOUT_MEANING.iter().map(|(name, ..)| *name))
}

/// Where a key stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    Top,
    Flow,
}

/// What to say of a key that is not read where it stands; `None`: it is read.
pub(super) fn advice(level: Level, name: &str) -> Option<String> {
    let (here, elsewhere): (Vec<&str>, Vec<&str>) = match level {
        Level::Top => (top().chain(REFUSED.iter().copied()).collect(), flow().collect()),
        Level::Flow => (flow().collect(), top().collect()),
    };
    if here.contains(&name) {
        return None;
    }
    if READ_NOWHERE.contains(&name) {
        return Some("is read nowhere, by the Java agent neither; remove it".to_owned());
    }
    let home = if level == Level::Top { "a flow" } else { "the top level" };
    if elsewhere.contains(&name) {
        return Some(format!("has no effect here, in the Java agent neither; it belongs to {home}"));
    }
    let near = nearest(name, here.into_iter()).map(|near| format!("; did you mean `{near}`?"));
    let near =
        near.or_else(|| nearest(name, elsewhere.into_iter()).map(|near| format!("; did you mean `{near}` of {home}?")));
    Some(format!("is unknown and ignored, as in the Java agent{}", near.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_names_every_key_of_the_java_agent() {
        let manual = include_str!("../../../docs/MIGRATION.md");
        let named = |name: &&str| !manual.contains(&format!("`{name}`"));
        let all = top().chain(flow()).chain(REFUSED.iter().copied()).chain(READ_NOWHERE.iter().copied());
        let missing: Vec<&str> = all.filter(named).collect();
        assert!(missing.is_empty(), "docs/MIGRATION.md does not name {missing:?}");
    }

    #[test]
    fn a_key_that_is_not_read_is_told_why() {
        for (level, name, expected) in [
            (Level::Top, "flows", None),
            (Level::Top, "log.level", Some("read nowhere")),
            (Level::Top, "maxBufferAgeMillis", Some("belongs to a flow")),
            (Level::Flow, "kinesis.endpoint", Some("belongs to the top level")),
            (Level::Flow, "filePatern", Some("did you mean `filePattern`?")),
            (Level::Top, "maxBufferAgeMilis", Some("did you mean `maxBufferAgeMillis` of a flow?")),
            (Level::Flow, "xyz", Some("as in the Java agent")),
        ] {
            let found = advice(level, name);
            assert_eq!(found.is_some(), expected.is_some(), "{name}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{name}");
        }
    }
}
