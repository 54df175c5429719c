//! What people read when an `agent.json` is wrong or looks wrong, word for word; then that good ones mean what
//! docs/MIGRATION.md says.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use crate::{
    config::{Config, load, load_java, parse_text},
    deliver::{Destination, Firehose, Kinesis, PartitionKey},
    flow::Options,
    record::split::{Oversize, Start},
    source::StartAt,
    telemetry::cloudwatch,
};

/// Nothing is set.
fn env(_: &str) -> Option<String> {
    None
}

/// The problems of a file, one a line.
fn bad(text: &str) -> String {
    match parse_text("agent.json", text, &env) {
        Ok(config) => panic!("this should be refused: {config:?}"),
        Err(problems) => problems.to_string(),
    }
}

fn good(text: &str) -> Config {
    parse_text("agent.json", text, &env).unwrap_or_else(|problems| panic!("this should be accepted:\n{problems}"))
}

/// The warnings of a good file, one a line.
fn warnings(text: &str) -> String {
    good(text).warnings.join("\n")
}

/// A file with these keys at the top level.
fn top(keys: &str) -> String {
    format!("{{\n{keys}\n\"flows\": [ {{ \"filePattern\": \"/v/a.log*\", \"kinesisStream\": \"s\" }} ] }}")
}

/// A file with one flow that has these keys.
fn flow(keys: &str) -> String {
    format!("{{ \"flows\": [ {{ \"filePattern\": \"/v/a.log*\", \"kinesisStream\": \"s\",\n{keys} }} ] }}")
}

/// A file with one flow for Firehose that has these keys.
fn firehose(keys: &str) -> String {
    format!("{{ \"flows\": [ {{ \"filePattern\": \"/v/a.log*\", \"deliveryStream\": \"d\"{keys} }} ] }}")
}

fn options(text: &str) -> Options {
    let mut flows = good(text).flows;
    assert_eq!(flows.len(), 1);
    flows.remove(0)
}

fn kinesis_of(text: &str) -> Kinesis {
    match options(text).destination {
        Destination::Kinesis(kinesis) => *kinesis,
        other => panic!("the destination should be a stream, not {other:?}"),
    }
}

fn firehose_of(text: &str) -> Firehose {
    match options(text).destination {
        Destination::Firehose(firehose) => *firehose,
        other => panic!("the destination should be a delivery stream, not {other:?}"),
    }
}

#[test]
fn what_is_no_json_says_where() {
    insta::assert_snapshot!(bad("{ \"flows\": [ { \"filePattern\": \"/v/a\",\n \"kinesisStream\": \"s\" }, ] }"), @"agent.json:2:26: is not JSON: expected a value here");
    insta::assert_snapshot!(bad(""), @"agent.json:1:1: is not JSON: expected a value here");
    insta::assert_snapshot!(bad("[]"), @"agent.json:1:1: must be an object `{ ... }`");
}

#[test]
fn the_java_agent_is_known_by_content_under_any_name_even_if_it_is_no_json() {
    let file = |text: &str| parse_text("headwater.yaml", text, &env);
    assert_eq!(file(&flow("\"maxBufferAgeMillis\": 5000")).expect("a good file").flows[0].name, "kinesis:s:/v/a.log*");
    let problems = file("{ \"flows\": [ { \"filePattern\": \"/v/a\", \"kinesisStream\": \"s\" }, ] }").unwrap_err();
    insta::assert_snapshot!(problems, @"headwater.yaml:1:63: is not JSON: expected a value here");
}

#[test]
fn ours_in_json_is_ours() {
    let text = r#"{ "flows": [ { "name": "web", "source": { "paths": "/v/a" }, "destination": { "stdout": {} } } ] }"#;
    assert_eq!(good(text).flows[0].name, "web");
}

#[test]
fn no_flow_at_all_is_a_mistake() {
    for text in ["{}", "{ \"flows\": null }", "{ \"cloudwatch.emitMetrics\": true }"] {
        assert!(bad(text).contains("there is no flow"), "{text}");
    }
    insta::assert_snapshot!(bad("{\n  \"flows\": [] }"), @r#"agent.json:2:12: flows: there is no flow; write at least one, like `"flows": [ { "filePattern": "/var/log/web.log", "kinesisStream": "web-logs" } ]`"#);
    insta::assert_snapshot!(bad("{ \"flows\": {} }"), @"agent.json:1:12: flows: is no list; write `[ { ... } ]`, one object a flow");
    insta::assert_snapshot!(bad("{ \"flows\": [ 1 ] }"), @r#"agent.json:1:14: flows[0]: is no object; write `{ "filePattern": ..., "kinesisStream": ... }`"#);
}

#[test]
fn every_mistake_is_found_at_once_in_its_place() {
    insta::assert_snapshot!(bad(r#"{ // a comment
  "maxSendingThreads": 0,
  "cloudwatch.emitMetrics": "maybe",
  "assumeRoleARN": "role",
  "headwater.stateDir": "state",
  "userDefinedCredentialsProvider.classname": "com.example.Keys",
  "userDefinedCredentialsProvider.location": "/x.jar",
  "flows": [
    { "kinesisStream": "a b", "filePattern": "/v/" },
    { "filePattern": "relative.log", "kinesisStream": [ "s" ] },
    { "filePattern": "/v/[", "deliveryStream": "d", "maxBufferSizeBytes": 4194305 },
    { "filePattern": "/v/a" },
    { "deliveryStream": "d" }
  ]
}"#), @r#"
agent.json:2:24: maxSendingThreads: 0 threads send nothing; write at least 1, or remove the key
agent.json:3:29: cloudwatch.emitMetrics: "maybe" is neither true nor false; write one of them
agent.json:4:20: assumeRoleARN: "role" is not the ARN of a role; it must look like arn:aws:iam::111122223333:role/NAME
agent.json:5:25: headwater.stateDir: "state" is not an absolute path; begin it with `/`
agent.json:6:47: userDefinedCredentialsProvider.classname: names Java code, which only the Java agent can run; remove it, and let the SDK's chain find the credentials: a role of the machine, or `credential_process` in a profile of ~/.aws/config
agent.json:7:46: userDefinedCredentialsProvider.location: names Java code, which only the Java agent can run; remove it, and let the SDK's chain find the credentials: a role of the machine, or `credential_process` in a profile of ~/.aws/config
agent.json:9:24: flows[0].kinesisStream: "a b" is no name of a stream; it has 1 to 128 letters, digits, `_`, `.` or `-`
agent.json:9:46: flows[0].filePattern: "/v/" names a folder; name the files in it, like /var/log/app/app.log*
agent.json:10:22: flows[1].filePattern: "relative.log" is not an absolute path; begin it with `/`
agent.json:10:55: flows[1].kinesisStream: is a list or an object; write text
agent.json:11:22: flows[2].filePattern: "/v/[" holds a `[` without its `]`; close it
agent.json:11:75: flows[2].maxBufferSizeBytes: 4194305 is out of range; it must be 1 to 4194304
agent.json:12:5: flows[3].kinesisStream: is missing; write where the records go: `kinesisStream` or `deliveryStream`
agent.json:13:5: flows[4].filePattern: is missing; write the files to follow, like /var/log/app.log*
"#);
}

#[test]
fn what_the_java_agent_refuses_at_its_start_is_refused() {
    let cases = [
        "\"maxBufferAgeMillis\": 999",
        "\"maxBufferAgeMillis\": 900001",
        "\"maxBufferAgeMillis\": 5000.5",
        "\"maxBufferAgeMillis\": \"5s\"",
        "\"maxBufferAgeMillis\": true",
        "\"maxBufferSizeRecords\": 501",
        "\"maxBufferSizeRecords\": null",
        "\"maxBufferSizeBytes\": 5242881",
        "\"waitOnEmptyPublishQueueMillis\": 0",
        "\"waitOnFullPublishQueueMillis\": 999",
        "\"initialPosition\": \"start_of_file\"",
        "\"partitionKeyOption\": \"random\"",
        "\"partitionKeyOption\": \"HASH\"",
        "\"truncatedRecordTerminator\": null",
        "\"retryInitialBackoffMillis\": -1",
        "\"multiLineStartPattern\": \"[\"",
        "\"aggregatedRecordSizeBytes\": 1024001",
        "\"skipHeaderLines\": \"two\"",
        "\"log.emitInternalMetrics\": \"on\"",
    ];
    let said: String = cases.iter().fold(String::new(), |mut said, case| {
        let _ = writeln!(said, "{}", bad(&flow(case)));
        said
    });
    insta::assert_snapshot!(said, @r#"
agent.json:2:23: flows[0].maxBufferAgeMillis: 999 is out of range; it must be 1000 to 900000
agent.json:2:23: flows[0].maxBufferAgeMillis: 900001 is out of range; it must be 1000 to 900000
agent.json:2:23: flows[0].maxBufferAgeMillis: a number with a fraction or an exponent is not whole; write digits alone
agent.json:2:23: flows[0].maxBufferAgeMillis: "5s" is no whole number of 64 bits; write digits alone
agent.json:2:23: flows[0].maxBufferAgeMillis: is no number; write digits
agent.json:2:25: flows[0].maxBufferSizeRecords: 501 is out of range; it must be 1 to 500
agent.json:2:25: flows[0].maxBufferSizeRecords: is null; write a number, or remove the key
agent.json:2:23: flows[0].maxBufferSizeBytes: 5242881 is out of range; it must be 1 to 5242880
agent.json:2:34: flows[0].waitOnEmptyPublishQueueMillis: 0 is out of range; it must be 1000 to 900000
agent.json:2:33: flows[0].waitOnFullPublishQueueMillis: 999 is out of range; it must be 1000 to 900000
agent.json:2:20: flows[0].initialPosition: "start_of_file" is not known; write START_OF_FILE or END_OF_FILE
agent.json:2:23: flows[0].partitionKeyOption: "random" is not known; write RANDOM or DETERMINISTIC
agent.json:2:23: flows[0].partitionKeyOption: "HASH" is not known; write RANDOM or DETERMINISTIC
agent.json:2:30: flows[0].truncatedRecordTerminator: is null; write text, "" for none, or remove the key
agent.json:2:30: flows[0].retryInitialBackoffMillis: -1 is out of range; it must be at least 0
agent.json:2:26: flows[0].multiLineStartPattern: is no valid Java pattern: a class without its `]` near character 2
agent.json:2:30: flows[0].aggregatedRecordSizeBytes: 1024001 is out of range; it must be 0 to 1024000
agent.json:2:20: flows[0].skipHeaderLines: "two" is no whole number of 64 bits; write digits alone
agent.json:2:28: flows[0].log.emitInternalMetrics: "on" is neither true nor false; write one of them
"#);
}

#[test]
fn what_the_java_agent_accepts_is_accepted() {
    for case in [
        "\"maxBufferAgeMillis\": \"5000\"",
        "\"maxBufferAgeMillis\": \"0x1388\"",
        "\"truncatedRecordTerminator\": \"\"",
        "\"skipHeaderLines\": -1",
        "\"skipHeaderLines\": \"2\"",
        "\"publishQueueCapacity\": 0",
        "\"minTimeBetweenFilePollsMillis\": 0",
        "\"dataProcessingOptions\": null",
        "\"multiLineStartPattern\": null",
        "\"multiLineStartPattern\": \"\"",
        "\"fileFooterPattern\": \"\"",
        "\"initialPosition\": null",
        "\"log.emitInternalMetrics\": \"YES\"",
        "\"retryMaxBackoffMillis\": 1",
        "\"maxTimeBetweenFileTrackerRefreshMillis\": 1000",
    ] {
        assert_eq!(warnings(&flow(case)), "", "{case}");
    }
    for case in
        ["\"maxConnections\": 10,", "\"userAgent\": \"x\",", "\"useHttpGzip\": 0,", "\"checkpointFile\": \"/x\","]
    {
        assert_eq!(warnings(&top(case)), "", "{case}");
    }
}

#[test]
fn what_it_ignores_is_a_warning() {
    insta::assert_snapshot!(warnings(r#"{
  "log.level": "DEBUG",
  "pollPeriodMillis": null,
  "maxBufferAgeMillis": 5000,
  "cloudwatch.emitMetric": true,
  "somethingElse": {},
  "shutdownTimeoutMillis": null,
  "awsAccessKeyId": "AKIA",
  "flows": [
    { "filePattern": "/v/a", "kinesisStream": "s", "deliveryStream": "d", "partitionKeyOption": "DETERMINISTIC" },
    { "filePattern": "/v/b", "kinesisStream": "s", "kinesisStream": "t", "aggregatedRecordSizeBytes": 1000,
      "dataProcessingOptions": { "optionName": "SINGLELINE" }, "filePatern": "x", "kinesis.endpoint": "y" },
    { "filePattern": "/v/c", "deliveryStream": "d", "aggregatedRecordSizeBytes": 1000, "multiLineStartPattern": "x" }
  ]
}
trailing"#), @r#"
agent.json:15:2: what follows the configuration is ignored, as in the Java agent
agent.json:2:3: log.level: is read nowhere, by the Java agent neither; remove it
agent.json:3:3: pollPeriodMillis: is read nowhere, by the Java agent neither; remove it
agent.json:4:3: maxBufferAgeMillis: has no effect here, in the Java agent neither; it belongs to a flow
agent.json:5:3: cloudwatch.emitMetric: is unknown and ignored, as in the Java agent; did you mean `cloudwatch.emitMetrics`?
agent.json:6:3: somethingElse: is unknown and ignored, as in the Java agent
agent.json:7:28: shutdownTimeoutMillis: is null, at which the Java agent stops; it is taken as not written, so remove the key
agent.json:8:21: awsAccessKeyId: has no effect without `awsSecretAccessKey`, in the Java agent neither
agent.json:10:47: flows[0].kinesisStream: has no effect beside `deliveryStream`, which counts, as in the Java agent; remove one of the two
agent.json:10:97: flows[0].partitionKeyOption: has no effect on a delivery stream, in the Java agent neither
agent.json:11:30: flows[1].kinesisStream: is written more than once; the last one counts
agent.json:12:64: flows[1].filePatern: is unknown and ignored, as in the Java agent; did you mean `filePattern`?
agent.json:12:83: flows[1].kinesis.endpoint: has no effect here, in the Java agent neither; it belongs to the top level
agent.json:12:32: flows[1].dataProcessingOptions: is no list, so it is ignored, as in the Java agent; write `[ { "optionName": ... } ]`
agent.json:11:103: flows[1].aggregatedRecordSizeBytes: has no effect, in the Java agent neither: records are joined for Firehose only
agent.json:13:82: flows[2].aggregatedRecordSizeBytes: has no effect, in the Java agent neither: records of several lines are not joined
"#);
}

#[test]
fn a_secret_is_warned_of_and_never_shown() {
    let config = good(&top("\"awsAccessKeyId\": \"AKIA\", \"awsSecretAccessKey\": \"hush-hush\","));
    insta::assert_snapshot!(config.warnings.join("\n"), @"agent.json:2:49: awsSecretAccessKey: is written in the file, where whoever reads the file reads it; leave it to the SDK's chain (environment, profile, role)");
    assert!(!format!("{config:?}").contains("hush-hush"));
    let Destination::Kinesis(kinesis) = &config.flows[0].destination else { panic!("a stream") };
    assert_eq!(kinesis.aws.static_keys.as_ref().map(|keys| &*keys.secret_access_key), Some("hush-hush"));
}

#[test]
fn two_flows_with_one_id_are_a_mistake() {
    let one = "{ \"filePattern\": \"/v//a\", \"kinesisStream\": \"s\" }";
    let other = one.replace("//", "/");
    insta::assert_snapshot!(bad(&format!("{{ \"flows\": [\n{one},\n{other} ] }}")), @"agent.json:3:1: flows[1]: another flow has the same stream and file pattern; remove one of the two");
}

#[test]
fn a_flow_has_the_defaults_of_both_agents() {
    let flow = options(&flow("\"x\": 1"));
    assert_eq!((&*flow.name, flow.source.start_at), ("kinesis:s:/v/a.log*", None));
    assert_eq!(flow.limits.batch_age, Duration::from_secs(1));
    assert_eq!((flow.limits.batch_records, flow.limits.batch_bytes), (500, 5 << 20));
    assert_eq!((flow.framing.max_record, flow.framing.oversize), (5 << 20, Oversize::Truncate));
    assert!(flow.framing.multiline.is_none());
    let Destination::Kinesis(kinesis) = &flow.destination else { panic!("a stream") };
    assert_eq!((&*kinesis.stream, kinesis.partition_key, kinesis.max_in_flight), ("s", PartitionKey::Random, 8));
    assert_eq!((kinesis.aws.region.clone(), kinesis.aws.region_otherwise.clone()), (None, None));
    let matches = |path: &str| flow.source.matches(Path::new(path));
    assert!(matches("/v/a.log") && matches("/v/a.log.1") && !matches("/v/b.log"));
    for archive in ["/v/a.log.1.gz", "/v/a.log.GZ", "/v/a.log.bz2", "/v/a.log.Zip", "/v/a.log.xz"] {
        assert!(!matches(archive), "{archive}");
    }
}

#[test]
fn a_flow_says_what_it_wants() {
    let flow = options(&flow(
        "\"initialPosition\": \"START_OF_FILE\", \"maxBufferAgeMillis\": \"5000\", \"maxBufferSizeRecords\": 7, \
         \"maxBufferSizeBytes\": 100, \"minTimeBetweenFilePollsMillis\": 1, \"skipHeaderLines\": \"2\", \
         \"multiLineStartPattern\": \"[0-9]\", \"partitionKeyOption\": \"DETERMINISTIC\"",
    ));
    assert_eq!(flow.source.start_at, Some(StartAt::Beginning));
    assert_eq!(flow.source.poll_interval, Duration::from_millis(10));
    assert_eq!(flow.limits.batch_age, Duration::from_secs(5));
    assert_eq!((flow.limits.batch_records, flow.limits.batch_bytes), (7, 100));
    assert_eq!(flow.framing.skip_header_lines, 2);
    let start = flow.framing.multiline.expect("records of several lines").start;
    let Start::JavaLookingAt(start) = start else { panic!("as the Java agent does") };
    assert_eq!([&b"1 a\n"[..], b"a 1\n"].map(|line| start.is_match(line)), [Ok(true), Ok(false)]);
    let Destination::Kinesis(kinesis) = &flow.destination else { panic!("a stream") };
    assert_eq!(kinesis.partition_key, PartitionKey::Chosen { max_bytes: 32 });
}

#[test]
fn firehose_has_its_own_limits_and_options() {
    let flow = options(&firehose(""));
    assert_eq!((&*flow.name, flow.limits.batch_bytes), ("fh:d:/v/a.log*", 4 << 20));
    let plain = firehose_of(&firehose(""));
    assert!(plain.add_newline && plain.aggregate.is_none());
    assert_eq!(plain.aws.region_otherwise.as_deref(), Some("us-east-1"));
    assert!(firehose_of(&firehose(", \"aggregatedRecordSizeBytes\": 5000")).aggregate.is_some());
    assert!(firehose_of(&firehose(", \"aggregatedRecordSizeBytes\": 0")).aggregate.is_none());
    assert!(!firehose_of(&firehose(", \"truncatedRecordTerminator\": \"...\"")).add_newline);
}

#[test]
fn endpoints_get_a_scheme_and_name_the_region_that_signs() {
    let reach = |keys: &str| {
        let aws = kinesis_of(&top(keys)).aws;
        [aws.endpoint_url, aws.region, aws.region_otherwise].map(Option::unwrap_or_default)
    };
    assert_eq!(reach("\"kinesis.endpoint\": \"\","), ["", "", ""]);
    assert_eq!(
        reach("\"kinesis.endpoint\": \"kinesis.eu-west-1.amazonaws.com\","),
        ["https://kinesis.eu-west-1.amazonaws.com", "eu-west-1", "us-east-1"]
    );
    assert_eq!(
        reach("\"kinesis.endpoint\": \"http://127.0.0.1:4567\", \"kinesis.region\": \"eu-west-3\","),
        ["http://127.0.0.1:4567", "eu-west-3", "us-east-1"]
    );
    assert_eq!(reach("\"kinesis.endpoint\": \"kinesis.example.com:443\",")[1..], ["", "us-east-1"]);
    assert_eq!(reach("\"kinesis.region\": \"eu-west-2\","), ["", "eu-west-2", ""]);
}

#[test]
fn metrics_are_on_unless_they_are_switched_off() {
    let metrics = |keys: &str| good(&top(keys)).metrics;
    let usual = metrics("").expect("they are on");
    assert_eq!((&*usual.namespace, usual.interval), ("AWSKinesisAgent", Duration::from_secs(30)));
    assert_eq!(usual.dimensions, []);
    assert_eq!(usual.aws.region_otherwise.as_deref(), Some("us-east-1"));
    assert_eq!(metrics("\"cloudwatch.emitMetrics\": \"no\","), None);
    let own = metrics(
        "\"cloudwatch.namespace\": \"Mine\", \"cloudwatch.tagInstance\": true, \"cloudwatch.metricsBufferTimeMillis\": 5, \
         \"cloudwatch.endpoint\": \"monitoring.eu-west-1.amazonaws.com\",",
    );
    let own = own.expect("they are on");
    assert_eq!((&*own.namespace, own.interval), ("Mine", Duration::from_secs(1)));
    assert_eq!(own.dimensions[0].0, "Instance");
    assert_eq!(own.aws.region.as_deref(), Some("eu-west-1"));
}

#[test]
fn the_state_dir_is_ours_to_name() {
    assert_eq!(good(&top("")).state_dir, Path::new("/var/lib/headwater"));
    let set = |name: &str| (name == "HEADWATER_STATE_DIR").then(|| "/env".to_owned());
    let state_dir = |keys: &str| parse_text("agent.json", &top(keys), &set).expect("a good file").state_dir;
    assert_eq!(state_dir(""), Path::new("/env"));
    assert_eq!(state_dir("\"headwater.stateDir\": \"/own\","), Path::new("/own"));
    let relative = |_: &str| Some("state".to_owned());
    let problems = parse_text("agent.json", &top(""), &relative).unwrap_err().to_string();
    assert_eq!(problems, "agent.json: HEADWATER_STATE_DIR is not an absolute path; begin it with `/`");
}

#[test]
fn the_time_to_stop_is_obeyed_within_reason() {
    let time = |keys: &str| good(&top(keys)).shutdown_timeout;
    assert_eq!(time(""), Duration::from_secs(30));
    assert_eq!(time("\"shutdownTimeoutMillis\": 10000,"), Duration::from_secs(10));
    assert_eq!(time("\"shutdownTimeoutMillis\": -1,"), Duration::ZERO);
    assert_eq!(time("\"shutdownTimeoutMillis\": 9223372036854775807,"), Duration::from_hours(1));
}

#[test]
fn agent_d_adds_flows_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("agent.d/below")).expect("a folder");
    fs::write(path("agent.json"), "{ \"kinesis.region\": \"eu-west-1\" }").expect("a file");
    fs::write(path("agent.d/b"), flow("\"maxBufferAgeMillis\": 1000, \"cloudwatch.endpoint\": \"x\"")).expect("a file");
    fs::write(path("agent.d/.a.json.swp"), "b0VIM").expect("a file");
    fs::write(path("agent.d/c.bak"), "{ \"kinesis.region\": \"x\" }").expect("a file");
    fs::write(path("agent.d/d"), b"\xff").expect("a file");
    let (agent, config) = load_java(&path("agent.json"), &env).expect("a good configuration");
    assert_eq!((agent.flows.len(), config.flows.len()), (1, 1));
    let Destination::Kinesis(kinesis) = &config.flows[0].destination else { panic!("a stream") };
    assert_eq!(kinesis.aws.region.as_deref(), Some("eu-west-1"));
    let said = config.warnings.join("\n").replace(&folder.path().display().to_string(), "@");
    insta::assert_snapshot!(said, @r"
@/agent.d/.a.json.swp:1:1: is not JSON: expected a value here; the file is left out, as in the Java agent
@/agent.d/b:2:29: flows[0].cloudwatch.endpoint: has no effect here, in the Java agent neither; it belongs to the top level
@/agent.d/c.bak:1:3: kinesis.region: has no effect in agent.d, where only `flows` is read
@/agent.d/d: is not UTF-8 text: line 1 holds a byte that is none; save it as UTF-8; the file is left out, as in the Java agent
");

    fs::write(path("agent.d/e"), flow("\"maxBufferAgeMillis\": 1")).expect("a file");
    let problems = load(&path("agent.json"), &env).expect_err("the same flow again").to_string();
    let problems = problems.replace(&folder.path().display().to_string(), "@");
    insta::assert_snapshot!(problems, @r"
@/agent.d/e:1:14: flows[0]: another flow has the same stream and file pattern; remove one of the two
@/agent.d/e:2:23: flows[0].maxBufferAgeMillis: 1 is out of range; it must be 1000 to 900000
");
}

#[test]
fn the_example_is_accepted() {
    let text = include_str!("../../../config-examples/agent.json");
    assert_eq!(warnings(text), "");
    let names: Vec<String> = good(text).flows.into_iter().map(|flow| flow.name).collect();
    assert_eq!(names, ["kinesis:app-logs:/var/log/app/app.log*", "fh:orders:/var/log/app/orders.csv*"]);
}

/// The YAML of a file, without its first comment; our own reader must accept it, and mean the same flows.
fn yaml(text: &str) -> String {
    let (agent, found) = super::main("agent.json".into(), text);
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let yaml = super::yaml(&agent, "agent.json");
    let ours = parse_text("headwater.yaml", &yaml, &env).unwrap_or_else(|wrong| panic!("{wrong}\n\n{yaml}"));
    assert_eq!(ours.warnings, [""; 0], "{yaml}");
    assert_eq!(ours.flows.len(), found.options.len());
    let sent = |metrics: Option<&cloudwatch::Options>| {
        metrics.map(|m| (m.namespace.clone(), m.interval, m.dimensions.clone(), m.aws.endpoint_url.clone()))
    };
    assert_eq!(sent(ours.metrics.as_ref()), sent(super::metrics(&agent).as_ref()));
    for (ours, java) in ours.flows.iter().zip(&found.options) {
        assert_eq!(ours.name, java.name);
        assert_eq!(ours.source.paths[0].text(), java.source.paths[0].text());
        let excludes =
            |options: &Options| options.source.exclude.iter().map(|p| p.text().to_owned()).collect::<Vec<_>>();
        assert_eq!(excludes(ours), excludes(java));
        assert_eq!(ours.source.poll_interval, java.source.poll_interval);
        assert_eq!(ours.framing.skip_header_lines, java.framing.skip_header_lines);
        assert_eq!(ours.framing.multiline.is_some(), java.framing.multiline.is_some());
        assert_eq!(ours.framing.footer.is_some(), java.framing.footer.is_some());
        assert_eq!(ours.framing.terminator, java.framing.terminator);
        assert_eq!(ours.limits, java.limits, "{yaml}");
    }
    yaml.split_once("state_dir").map_or_else(|| yaml.clone(), |(_, rest)| format!("state_dir{rest}"))
}

/// An agent.json that uses much of what there is.
const MUCH_OF_IT: &str = r#"{
  "headwater.stateDir": "/data/headwater",
  "shutdownTimeoutMillis": 10000,
  "maxSendingThreads": 24,
  "assumeRoleARN": "arn:aws:iam::111122223333:role/logs",
  "assumeRoleExternalId": "x",
  "sts.endpoint": "sts.eu-west-1.amazonaws.com",
  "awsAccessKeyId": "AKIA", "awsSecretAccessKey": "hush-hush",
  "kinesis.endpoint": "kinesis.eu-west-1.amazonaws.com",
  "flows": [
    { "filePattern": "/var/log/it's ${a} [x]/app.log*", "kinesisStream": "web-logs", "initialPosition": "START_OF_FILE",
      "maxBufferAgeMillis": 5000, "maxBufferSizeRecords": 100, "maxBufferSizeBytes": 1048576, "skipHeaderLines": 1,
      "partitionKeyOption": "DETERMINISTIC", "multiLineStartPattern": "^\\[", "fileFooterPattern": "-- end --", "minTimeBetweenFilePollsMillis": 500,
      "dataProcessingOptions": [ { "optionName": "SINGLELINE" } ] },
    { "filePattern": "/var/log/httpd/access_log", "deliveryStream": "access", "aggregatedRecordSizeBytes": 5000,
      "dataProcessingOptions": [ { "optionName": "LOGTOJSON", "logFormat": "COMBINEDAPACHELOG" } ] },
    { "filePattern": "/var/log/x.csv", "deliveryStream": "csv", "truncatedRecordTerminator": "...\n",
      "dataProcessingOptions": [ { "optionName": "CSVTOJSON", "customFieldNames": [ "a", "b" ], "delimiter": "\\|" },
                                 { "optionName": "ADDMETADATA", "metadata": { "k": [ 1, "${x}" ] }, "timestamp": "true" } ] }
  ]
}"#;

#[test]
fn the_yaml_says_the_same_and_what_is_different() {
    insta::assert_snapshot!(yaml(MUCH_OF_IT), @r#"
state_dir: /data/headwater
shutdown_timeout: 10000ms
# awsAccessKeyId and awsSecretAccessKey are not repeated here: put them into the environment (AWS_ACCESS_KEY_ID,
# AWS_SECRET_ACCESS_KEY) or a profile, or better, give the machine a role.
aws:
  role_arn: 'arn:aws:iam::111122223333:role/logs'
  external_id: x
  session_name: AWSKinesisAgent
  sts_endpoint_url: 'https://sts.eu-west-1.amazonaws.com'
metrics:
  cloudwatch:
    namespace: AWSKinesisAgent
    interval: 30000ms
    # The Java agent used this one whatever the machine's region is; without it, the region comes from AWS_REGION, the
    # profile or the machine.
    region: us-east-1
flows:
  - name: 'kinesis:web-logs:/var/log/it''s $${a} [x]/app.log*'
    source:
      # Every matching file is followed, not only the newest one. `**` in place of a folder matches any folders.
      paths: '/var/log/it''s $\{a\} \[x\]/app.log*'
      # Compressed files are not read as new ones; the rest of a followed file is read from them all the same.
      exclude: ["*.[gG][zZ]", "*.[bB][zZ]2", "*.[zZ][iI][pP]", "*.xz", "*.zst", "*.lz4", "*.Z"]
      start_at: beginning
      skip_header_lines: 1
      # A record waits for the line that ends it, at most `timeout`: a write in two steps does not cut it.
      multiline: { start: '^\[', timeout: 2s, max_lines: 100000 }
      footer: '-- end --'
      # minTimeBetweenFilePollsMillis; changes are announced by the system, so this is for shares only.
      poll_interval: 500ms
    process:
      - single_line: { join: '', trim: true }
      - emit: raw
    destination:
      kinesis:
        stream: web-logs
        region: eu-west-1
        endpoint_url: 'https://kinesis.eu-west-1.amazonaws.com'
        # DETERMINISTIC: the MD5 of the record, not of everything that was read along with it.
        partition_key: record_hash
        # maxSendingThreads; here it is requests under way of this flow alone.
        max_in_flight: 24
    batch: { max_records: 100, max_bytes: 1048576B, max_age: 5000ms }
  - name: 'fh:access:/var/log/httpd/access_log'
    source:
      # Every matching file is followed, not only the newest one. `**` in place of a folder matches any folders.
      paths: /var/log/httpd/access_log
      # Compressed files are not read as new ones; the rest of a followed file is read from them all the same.
      exclude: ["*.[gG][zZ]", "*.[bB][zZ]2", "*.[zZ][iI][pP]", "*.xz", "*.zst", "*.lz4", "*.Z"]
      start_at: end
    process:
      # Unlike COMBINEDAPACHELOG: also reads lines that it skipped, and `\"` in a quoted field is a quote.
      # on_mismatch: drop, as there; `keep_raw` and `dead_letter` lose nothing.
      - parse: { combined: {}, on_mismatch: drop, null_if: '-' }
      - rename: { referrer: referer }
      - emit: json
    destination:
      firehose:
        stream: access
        # The Java agent used this one whatever the machine's region is; without it, the region comes from AWS_REGION,
        # the profile or the machine.
        region: us-east-1
        # Records are joined up to this size, and wait for each other no longer than batch.max_age.
        aggregate: 5000B
        # maxSendingThreads; here it is requests under way of this flow alone.
        max_in_flight: 24
    # maxBufferAgeMillis was not set, which meant up to 60 s; here a batch waits 1 s by default.
  - name: 'fh:csv:/var/log/x.csv'
    source:
      # Every matching file is followed, not only the newest one. `**` in place of a folder matches any folders.
      paths: /var/log/x.csv
      # Compressed files are not read as new ones; the rest of a followed file is read from them all the same.
      exclude: ["*.[gG][zZ]", "*.[bB][zZ]2", "*.[zZ][iI][pP]", "*.xz", "*.zst", "*.lz4", "*.Z"]
      start_at: end
      truncated_record_terminator: "...\n"
    process:
      # Unlike CSVTOJSON: a cell in quotes may hold the delimiter, and the quotes are taken off (RFC 4180).
      - parse: { csv: { fields: [a, b], delimiter: '|' } }
      # What follows read the JSON text that was made so far; here it adds to the fields.
      # Unlike ADDMETADATA, `data` comes first, and fields of a record that was parsed are not put into it.
      - add: { ts: "${now}", metadata: {"k":[1,"$${x}"]} }
      - emit: json
    destination:
      firehose:
        stream: csv
        # The Java agent used this one whatever the machine's region is; without it, the region comes from AWS_REGION,
        # the profile or the machine.
        region: us-east-1
        # maxSendingThreads; here it is requests under way of this flow alone.
        max_in_flight: 24
    # maxBufferAgeMillis was not set, which meant up to 60 s; here a batch waits 1 s by default.
"#);
}

#[test]
fn the_yaml_of_every_option_is_read_by_our_own_reader() {
    for option in [
        r#"{ "optionName": "SINGLELINE", "parseOptions": [ "NO_TRIM", "ESCAPE_NEW_LINE" ] }"#,
        r#"{ "optionName": "CSVTOJSON", "customFieldNames": [ "a", "b", "a", "" ] }"#,
        r#"{ "optionName": "CSVTOJSON", "customFieldNames": [ "a" ], "delimiter": "\t" }"#,
        r#"{ "optionName": "CSVTOJSON", "customFieldNames": [ "a" ], "delimiter": "\\t" }"#,
        r#"{ "optionName": "CSVTOJSON", "customFieldNames": [ "a" ], "delimiter": "'" }"#,
        r#"{ "optionName": "CSVTOJSON", "customFieldNames": [ "a-b", "c" ], "delimiter": "\\s+", "jsonFormat": "PRETTYPRINT" }"#,
        r#"{ "optionName": "CSVTOJSON", "customFieldNames": [ "a" ], "delimiter": "(?<=x)" }"#,
        r#"{ "optionName": "CSVTOJSON", "customFieldNames": [ "a" ], "delimiter": "" }"#,
        r#"{ "optionName": "LOGTOJSON", "logFormat": "COMMONAPACHELOG" }"#,
        r#"{ "optionName": "LOGTOJSON", "logFormat": "COMMONAPACHELOG", "customFieldNames": [ "1", "2", "3", "4", "5", "6", "7" ] }"#,
        r#"{ "optionName": "LOGTOJSON", "logFormat": "APACHEERRORLOG" }"#,
        r#"{ "optionName": "LOGTOJSON", "logFormat": "SYSLOG" }"#,
        r#"{ "optionName": "LOGTOJSON", "logFormat": "RFC3339SYSLOG" }"#,
        r#"{ "optionName": "LOGTOJSON", "logFormat": "SYSLOG", "matchPattern": "^(\\S+) '(\\d+)'$", "customFieldNames": [ "k", "v v" ] }"#,
        r#"{ "optionName": "LOGTOJSON", "logFormat": "SYSLOG", "matchPattern": "(?<!x)(.)(\\1)", "customFieldNames": [ "k", "v" ] }"#,
        r#"{ "optionName": "ADDMETADATA", "metadata": { "a": { "b": [ null, true, 1.5, "x: y # z" ] } }, "timestamp": true }"#,
        r#"{ "optionName": "ADDMETADATA" }"#,
        r#"{ "optionName": "ADDEC2METADATA", "logFormat": "SYSLOG" }"#,
        r#"{ "optionName": "ADDBRACKETS" }"#,
    ] {
        for chain in [option.to_owned(), format!("{option}, {{ \"optionName\": \"SINGLELINE\" }}")] {
            yaml(&flow(&format!("\"maxBufferAgeMillis\": 1000, \"dataProcessingOptions\": [ {chain} ]")));
        }
    }
}
