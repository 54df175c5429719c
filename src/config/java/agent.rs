//! What a Java agent's configuration says, checked, in its own words. Knows what its keys mean there, not what becomes
//! of them here. Invariant: a flow that is in an [`Agent`] is one that the Java agent would have started, too.

use std::{collections::HashSet, path::PathBuf, time::Duration};

use super::{
    super::{aws, destination, problem::Location, value},
    build,
    glob::{FilePattern, file_pattern},
    keys::{self, Kind, Level},
    read::{Object, Reader},
};
use crate::{
    aws::StaticKeys,
    flow::Options,
    record::java::json::{Node, Value},
    source::StartAt,
};

/// Where the Java agent keeps its checkpoints if nobody says otherwise.
pub const CHECKPOINT_FILE: &str = "/var/run/aws-kinesis-agent/checkpoints";

/// A whole configuration, `agent.d` included.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    pub checkpoint_file: Option<PathBuf>,
    /// Our own key.
    pub state_dir: Option<PathBuf>,
    pub shutdown_timeout: Option<Duration>,
    pub max_sending_threads: Option<usize>,
    pub static_keys: Option<StaticKeys>,
    pub role_arn: Option<String>,
    pub external_id: Option<String>,
    pub kinesis: Service,
    pub firehose: Service,
    pub cloudwatch: Service,
    pub sts: Service,
    pub metrics: Metrics,
    /// In the order read.
    pub flows: Vec<Flow>,
}

/// How to reach one service.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Service {
    /// With its scheme.
    pub endpoint: Option<String>,
    /// As written, or from the endpoint's name.
    pub region: Option<String>,
}

/// The metrics for `CloudWatch`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metrics {
    pub emit: bool,
    pub namespace: String,
    pub tag_instance: bool,
    pub interval: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        let namespace = "AWSKinesisAgent".to_owned();
        Self { emit: true, namespace, tag_instance: false, interval: Duration::from_secs(30) }
    }
}

/// One flow.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Where it is written, for messages.
    pub at: Location,
    pub stream: Stream,
    pub files: FilePattern,
    /// `None`: not written, which means the end.
    pub start_at: Option<StartAt>,
    pub max_age: Option<Duration>,
    pub max_records: Option<usize>,
    pub max_bytes: Option<usize>,
    pub poll_interval: Option<Duration>,
    pub skip_header_lines: u32,
    pub multiline_start: Option<String>,
    pub footer: Option<String>,
    pub terminator: Option<String>,
    /// The entries of `dataProcessingOptions`.
    pub processing: Vec<Node>,
    /// Partition keys are the records' hashes; else random.
    pub hashes_records: bool,
    /// `None`: off, or of no effect.
    pub aggregate: Option<usize>,
}

/// Where a flow's records go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stream {
    Kinesis(String),
    Firehose(String),
}

impl Flow {
    /// The key of the flow's checkpoint in the Java agent.
    #[must_use]
    pub fn id(&self) -> String {
        let (kind, stream) = match &self.stream {
            Stream::Kinesis(stream) => ("kinesis", stream),
            Stream::Firehose(stream) => ("fh", stream),
        };
        let separator = if self.files.folder == "/" { "" } else { "/" };
        format!("{kind}:{stream}:{}{separator}{}", self.files.folder, self.files.name)
    }

    /// Its name here: the key there, as far as a name can hold it.
    #[must_use]
    pub fn name(&self) -> String {
        const MOST: usize = 128;
        let id = self.id();
        let shown: String = id.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        if id == shown && id.chars().count() <= MOST {
            return id;
        }
        let hash = format!("~{:016x}", xxhash_rust::xxh3::xxh3_64(id.as_bytes()));
        shown.chars().take(MOST - hash.len()).chain(hash.chars()).collect()
    }
}

/// Reads the top level, its flows included, and gives what those mean here.
pub(super) fn top(r: &mut Reader<'_>, top: &Object<'_>) -> (Agent, Vec<Options>) {
    known_keys(r, top, Level::Top);
    for (name, kind) in keys::TOP_WITHOUT_MEANING {
        without_meaning(r, top, name, *kind, &(i64::MIN..=i64::MAX));
    }
    for name in keys::REFUSED {
        if let Some(node) = top.get(name) {
            let text = "names Java code, which only the Java agent can run; remove it, and let the SDK's chain find the \
                        credentials: a role of the machine, or `credential_process` in a profile of ~/.aws/config";
            r.problem(node.at, &top.key(name), text);
        }
    }
    let mut agent = Agent {
        checkpoint_file: r.text(top, "checkpointFile").map(PathBuf::from),
        state_dir: r.parsed(top, keys::STATE_DIR, value::absolute_path),
        shutdown_timeout: r.long(top, "shutdownTimeoutMillis").map(millis),
        max_sending_threads: threads(r, top),
        static_keys: static_keys(r, top),
        role_arn: some(r, top, "assumeRoleARN", aws::role_arn),
        external_id: some(r, top, "assumeRoleExternalId", aws::word),
        kinesis: service(r, top, "kinesis.endpoint", Some("kinesis.region")),
        firehose: service(r, top, "firehose.endpoint", None),
        cloudwatch: service(r, top, "cloudwatch.endpoint", None),
        sts: service(r, top, "sts.endpoint", None),
        metrics: metrics(r, top),
        flows: Vec::new(),
    };
    let options = flows(r, top, &mut agent);
    (agent, options)
}

/// Reads `flows`, of the top level or of a file in `agent.d`, into the agent, and gives what they mean here.
pub(super) fn flows(r: &mut Reader<'_>, top: &Object<'_>, agent: &mut Agent) -> Vec<Options> {
    let Some(node) = top.get("flows") else { return Vec::new() };
    let items: &[Node] = match &node.value {
        Value::List(items) => items,
        Value::Null => &[],
        _ => {
            r.problem(node.at, "flows", "is no list; write `[ { ... } ]`, one object a flow");
            &[]
        }
    };
    let mut options = Vec::new();
    let mut seen: HashSet<String> = agent.flows.iter().map(Flow::id).collect();
    for (index, item) in items.iter().enumerate() {
        let path = format!("flows[{index}]");
        let Some(object) = Object::of(path.clone(), item) else {
            r.problem(item.at, &path, "is no object; write `{ \"filePattern\": ..., \"kinesisStream\": ... }`");
            continue;
        };
        let Some(flow) = flow(r, &object) else { continue };
        if !seen.insert(flow.id()) {
            let text = "another flow has the same stream and file pattern; remove one of the two";
            r.problem(item.at, &path, text);
        }
        options.extend(build::options(r, &object, agent, &flow));
        agent.flows.push(flow);
    }
    options
}

fn known_keys(r: &mut Reader<'_>, object: &Object<'_>, level: Level) {
    for member in object.members() {
        let key = object.key(&member.name);
        if member.repeated {
            r.warning(member.at, &key, "is written more than once; the last one counts");
        }
        if let Some(advice) = keys::advice(level, &member.name) {
            r.warning(member.at, &key, advice);
        }
    }
}

fn without_meaning(
    r: &mut Reader<'_>,
    object: &Object<'_>,
    name: &str,
    kind: Kind,
    range: &std::ops::RangeInclusive<i64>,
) {
    let bounded = *range != (i64::MIN..=i64::MAX);
    match kind {
        Kind::Text => drop(r.text(object, name)),
        Kind::Switch => drop(r.switch(object, name)),
        Kind::Int | Kind::Long if bounded => drop(r.ranged(object, name, range.clone())),
        Kind::Int => drop(r.int(object, name)),
        Kind::Long => drop(r.long(object, name)),
    }
}

/// Text that is not empty; the Java agent takes empty text as none.
fn some(
    r: &mut Reader<'_>,
    object: &Object<'_>,
    name: &str,
    read: impl FnOnce(&str) -> Result<String, String>,
) -> Option<String> {
    r.text(object, name).filter(|text| !text.is_empty())?;
    r.parsed(object, name, read)
}

fn millis(number: i64) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or(0))
}

fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

fn threads(r: &mut Reader<'_>, top: &Object<'_>) -> Option<usize> {
    let number = r.int(top, "maxSendingThreads")?;
    let wrong = || format!("{number} threads send nothing; write at least 1, or remove the key");
    r.check(top, "maxSendingThreads", if number < 1 { Err(wrong()) } else { Ok(count(number)) })
}

fn static_keys(r: &mut Reader<'_>, top: &Object<'_>) -> Option<StaticKeys> {
    const NAMES: [&str; 2] = ["awsAccessKeyId", "awsSecretAccessKey"];
    let [id, secret] = NAMES.map(|name| r.text(top, name).filter(|text| !text.is_empty()));
    let at = |name| top.get(name).map_or(top.at, |node| node.at);
    match (id, secret) {
        (Some(access_key_id), Some(secret_access_key)) => {
            let text = "is written in the file, where whoever reads the file reads it; \
                        leave it to the SDK's chain (environment, profile, role)";
            r.warning(at(NAMES[1]), NAMES[1], text);
            Some(StaticKeys { access_key_id, secret_access_key, session_token: None })
        }
        (None, None) => None,
        (id, _) => {
            let (written, other) = if id.is_some() { (NAMES[0], NAMES[1]) } else { (NAMES[1], NAMES[0]) };
            let text = format!("has no effect without `{other}`, in the Java agent neither");
            r.warning(at(written), written, text);
            None
        }
    }
}

fn service(r: &mut Reader<'_>, top: &Object<'_>, endpoint: &str, region: Option<&str>) -> Service {
    let with_scheme = |text: &str| {
        let url = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        aws::endpoint_url(&url)
    };
    let endpoint = some(r, top, endpoint, with_scheme);
    let region = region.and_then(|name| some(r, top, name, aws::region));
    let region = region.or_else(|| region_of(endpoint.as_deref()?));
    Service { endpoint, region }
}

/// The region that the name of an AWS endpoint holds.
fn region_of(url: &str) -> Option<String> {
    const AWS: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"];
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', ':']).next()?.trim_end_matches('.').to_ascii_lowercase();
    if !AWS.iter().any(|end| host.ends_with(end)) {
        return None;
    }
    let is_region = |label: &&str| {
        let parts: Vec<&str> = label.split('-').collect();
        let number = parts.last().is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        parts.len() >= 3 && parts[0].len() == 2 && number && !label.starts_with("vpce")
    };
    host.split('.').find(is_region).map(str::to_owned)
}

fn metrics(r: &mut Reader<'_>, top: &Object<'_>) -> Metrics {
    let default = Metrics::default();
    Metrics {
        emit: r.switch(top, "cloudwatch.emitMetrics").unwrap_or(default.emit),
        namespace: some(r, top, "cloudwatch.namespace", |text| Ok(text.to_owned())).unwrap_or(default.namespace),
        tag_instance: r.switch(top, "cloudwatch.tagInstance").unwrap_or(default.tag_instance),
        interval: r.long(top, "cloudwatch.metricsBufferTimeMillis").map_or(default.interval, millis),
    }
}

fn flow(r: &mut Reader<'_>, flow: &Object<'_>) -> Option<Flow> {
    known_keys(r, flow, Level::Flow);
    for (name, kind, range) in keys::FLOW_WITHOUT_MEANING {
        without_meaning(r, flow, name, *kind, range);
    }
    let stream = stream(r, flow);
    let files = required(r, flow, "filePattern", "write the files to follow, like /var/log/app.log*");
    let files = files.and_then(|()| r.parsed(flow, "filePattern", file_pattern));
    let is_firehose = matches!(stream, Some(Stream::Firehose(_)));
    let most_bytes = if is_firehose { 4 << 20 } else { 5 << 20 };
    let start_at = [("START_OF_FILE", StartAt::Beginning), ("END_OF_FILE", StartAt::End)];
    let hashes_records = [("RANDOM", false), ("DETERMINISTIC", true)];
    Some(Flow {
        at: r.place(flow.at),
        start_at: r.choice(flow, "initialPosition", &start_at),
        max_age: r.ranged(flow, "maxBufferAgeMillis", 1_000..=900_000).map(millis),
        max_records: r.ranged(flow, "maxBufferSizeRecords", 1..=500).map(count),
        max_bytes: r.ranged(flow, "maxBufferSizeBytes", 1..=most_bytes).map(count),
        poll_interval: r.long(flow, "minTimeBetweenFilePollsMillis").map(millis),
        skip_header_lines: header_lines(r, flow),
        multiline_start: r.text(flow, "multiLineStartPattern").filter(|text| !text.is_empty()),
        footer: r.text(flow, "fileFooterPattern").filter(|text| !text.is_empty()),
        terminator: terminator(r, flow, if is_firehose { 1_000 << 10 } else { 1 << 20 }),
        processing: processing(r, flow),
        hashes_records: r.choice(flow, "partitionKeyOption", &hashes_records).unwrap_or(false),
        aggregate: aggregate(r, flow, is_firehose),
        stream: stream?,
        files: files?,
    })
}

fn required(r: &mut Reader<'_>, flow: &Object<'_>, name: &str, remedy: &str) -> Option<()> {
    if flow.get(name).is_some_and(|node| node.value != Value::Null) {
        return Some(());
    }
    r.problem(flow.at, &flow.key(name), format!("is missing; {remedy}"));
    None
}

fn stream(r: &mut Reader<'_>, flow: &Object<'_>) -> Option<Stream> {
    let written = |name: &str| flow.get(name).filter(|node| node.value != Value::Null);
    if written("deliveryStream").is_some() {
        if let Some(node) = written("kinesisStream") {
            let text =
                "has no effect beside `deliveryStream`, which counts, as in the Java agent; remove one of the two";
            r.warning(node.at, &flow.key("kinesisStream"), text);
        }
        return r
            .parsed(flow, "deliveryStream", |text| destination::stream_name(text, &destination::FIREHOSE))
            .map(Stream::Firehose);
    }
    required(r, flow, "kinesisStream", "write where the records go: `kinesisStream` or `deliveryStream`")?;
    r.parsed(flow, "kinesisStream", |text| destination::stream_name(text, &destination::KINESIS)).map(Stream::Kinesis)
}

fn header_lines(r: &mut Reader<'_>, flow: &Object<'_>) -> u32 {
    let lines = r.int(flow, "skipHeaderLines").unwrap_or(0).max(0);
    let wrong = || format!("{lines} header lines are more than can be skipped, 1000");
    let lines = r.check(flow, "skipHeaderLines", if lines > 1_000 { Err(wrong()) } else { Ok(lines) });
    lines.and_then(|lines| u32::try_from(lines).ok()).unwrap_or(0)
}

fn terminator(r: &mut Reader<'_>, flow: &Object<'_>, max_record: usize) -> Option<String> {
    const NAME: &str = "truncatedRecordTerminator";
    if let Some(Node { at, value: Value::Null }) = flow.get(NAME) {
        r.problem(*at, &flow.key(NAME), "is null; write text, \"\" for none, or remove the key");
        return None;
    }
    let text = r.text(flow, NAME)?;
    let wrong = || format!("has {} bytes, and a record has no more than {max_record}; write a shorter one", text.len());
    let fits = if text.len() < max_record { Ok(()) } else { Err(wrong()) };
    r.check(flow, NAME, fits)?;
    Some(text)
}

fn processing(r: &mut Reader<'_>, flow: &Object<'_>) -> Vec<Node> {
    const NAME: &str = "dataProcessingOptions";
    match flow.get(NAME) {
        None | Some(Node { value: Value::Null, .. }) => Vec::new(),
        Some(Node { value: Value::List(items), .. }) => items.clone(),
        Some(node) => {
            let text = "is no list, so it is ignored, as in the Java agent; write `[ { \"optionName\": ... } ]`";
            r.warning(node.at, &flow.key(NAME), text);
            Vec::new()
        }
    }
}

fn aggregate(r: &mut Reader<'_>, flow: &Object<'_>, is_firehose: bool) -> Option<usize> {
    const NAME: &str = "aggregatedRecordSizeBytes";
    let size = r.ranged(flow, NAME, 0..=1_024_000).map(count).filter(|size| *size > 0)?;
    let multiline = flow.get("multiLineStartPattern").is_some_and(|node| {
        !matches!(&node.value, Value::Null) && !matches!(&node.value, Value::Text(text) if text.is_empty())
    });
    let why = match (is_firehose, multiline) {
        (false, _) => "records are joined for Firehose only",
        (true, true) => "records of several lines are not joined",
        (true, false) => return Some(size),
    };
    let at = flow.get(NAME).map_or(flow.at, |node| node.at);
    r.warning(at, &flow.key(NAME), format!("has no effect, in the Java agent neither: {why}"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_read_from_the_name_of_an_aws_endpoint() {
        for (url, region) in [
            ("https://kinesis.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("https://kinesis-fips.us-gov-west-1.amazonaws.com:443/x", Some("us-gov-west-1")),
            ("https://firehose.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("https://vpce-0a1-b2.kinesis.ap-southeast-2.vpce.amazonaws.com", Some("ap-southeast-2")),
            ("https://kinesis.eu-central-1.api.aws", Some("eu-central-1")),
            ("https://firehose.amazonaws.com", None),
            ("https://kinesis.eu-west-1.example.com", None),
            ("http://127.0.0.1:4567", None),
        ] {
            assert_eq!(region_of(url).as_deref(), region, "{url}");
        }
    }

    #[test]
    fn a_long_name_of_a_flow_ends_in_a_hash() {
        let flow = |pattern: &str| Flow {
            at: Location { line: 1, column: 1 },
            stream: Stream::Firehose("s".to_owned()),
            files: file_pattern(pattern).expect("a pattern"),
            start_at: None,
            max_age: None,
            max_records: None,
            max_bytes: None,
            poll_interval: None,
            skip_header_lines: 0,
            multiline_start: None,
            footer: None,
            terminator: None,
            processing: Vec::new(),
            hashes_records: false,
            aggregate: None,
        };
        assert_eq!(flow("/v/a*").name(), "fh:s:/v/a*");
        assert_eq!(flow("/a*").name(), "fh:s:/a*");
        let long = |end: &str| flow(&format!("/v/{}{end}", "x".repeat(200))).name();
        assert_eq!(long("a").chars().count(), 128);
        assert_ne!(long("a"), long("b"));
        assert!(!flow("/v/a\nb").name().contains('\n'));
    }
}
