//! The Java agent's own configuration, run as it stands: the same records arrive, without what that one loses or repeats.

use std::{fmt::Write as _, fs};

use crate::support::{
    SOON,
    agent::{Agent, bare, binary, command, output},
    expect,
    faults::Kinesis,
    ledger::Ledger,
    site::Site,
    tally::assert_exactly,
    writer::append,
};

/// Writes `agent.json` with these keys at the top level, and one flow for each of these; `@` stands for the logs' folder.
fn configure(site: &Site, top: &str, flows: &[&str]) {
    let mut text =
        format!("{{ // as the Java agent reads it\n\"cloudwatch.emitMetrics\": false, {top}\n\"flows\": [\n");
    for (at, flow) in flows.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = writeln!(text, "{comma} {{ {flow}, \"initialPosition\": \"START_OF_FILE\" }}");
    }
    let _ = write!(text, "], \"headwater.stateDir\": \"{}\" }}", site.state_dir().display());
    site.configure_raw(&text.replace('@', site.log("").display().to_string().trim_end_matches('/')));
}

/// The keys that lead to the stream.
fn endpoint(kinesis: &Kinesis) -> String {
    let url = kinesis.url();
    format!("\"kinesis.endpoint\": \"{url}\", \"kinesis.region\": \"eu-west-1\", \"firehose.endpoint\": \"{url}\",")
}

/// What comes of these bytes in `app.log` with these keys in a flow.
#[track_caller]
fn check(keys: &str, input: &str, wanted: &[&str]) {
    for stream in ["kinesisStream", "deliveryStream"] {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        let flow = format!("\"filePattern\": \"@/app.log*\", \"{stream}\": \"logs\", {keys}");
        configure(&site, &endpoint(&kinesis), &[&flow]);
        append(&site.log("app.log"), input);
        Agent::once(&site, SOON);
        assert_exactly(&kinesis.see(Ledger::data), wanted);
        kinesis.see(|l| assert!(l.violations.is_empty(), "{:?}", l.violations));
    }
}

#[test]
fn records_are_sent_as_they_are() {
    check("\"maxBufferAgeMillis\": \"1000\"", "a\r\n\n{\"x\": 1}\n", &["a\r\n", "\n", "{\"x\": 1}\n"]);
}

#[test]
fn records_are_converted_and_what_does_not_match_is_left_out() {
    check(
        r#""dataProcessingOptions": [ { "optionName": "CSVTOJSON", "customFieldNames": [ "a", "b" ] } ]"#,
        "1,2\nx\n",
        &["{\"a\":\"1\",\"b\":\"2\"}\n", "{\"a\":\"x\",\"b\":null}\n"],
    );
    check(
        r#""dataProcessingOptions": [ { "optionName": "LOGTOJSON", "logFormat": "COMMONAPACHELOG" } ]"#,
        "1.2.3.4 - - [07/Mar/2004:16:10:02 -0800] \"GET / HTTP/1.1\" 200 5\nnone\n",
        &["{\"host\":\"1.2.3.4\",\"ident\":null,\"authuser\":null,\"datetime\":\"07/Mar/2004:16:10:02 -0800\",\
           \"request\":\"GET / HTTP/1.1\",\"response\":\"200\",\"bytes\":\"5\"}\n"],
    );
    check(r#""dataProcessingOptions": [ { "optionName": "ADDBRACKETS" } ]"#, "a\nb\n", &["{a\n}", "{b\n}"]);
}

#[test]
fn header_lines_are_left_out_of_every_file_and_lines_are_joined_to_records() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let flow = r#""filePattern": "@/app.log*", "kinesisStream": "logs", "skipHeaderLines": "1", "multiLineStartPattern": "\\[",
        "dataProcessingOptions": [ { "optionName": "SINGLELINE" } ]"#;
    configure(&site, &endpoint(&kinesis), &[flow]);
    append(&site.log("app.log"), "header\n[1] a\n  b\n[2] c\n");
    append(&site.log("app.log.1"), "header\nx [0]\n  y\n");
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &["[1] ab\n", "[2] c\n", "x [0]y\n"]);
}

#[test]
fn a_footer_ends_what_was_read_so_far_and_what_is_appended_later_is_read() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let flow = "\"filePattern\": \"@/app.log\", \"kinesisStream\": \"logs\", \"fileFooterPattern\": \"E.F\"";
    configure(&site, &endpoint(&kinesis), &[flow]);
    append(&site.log("app.log"), "a\nb\n  EOF\t\nc\n");
    Agent::once(&site, SOON);
    append(&site.log("app.log"), "d\n");
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &["a\n", "b\n", "d\n"]);
}

#[test]
fn a_record_that_is_too_long_ends_with_the_terminator_and_divides_no_character() {
    let long = format!("{}\n", "é".repeat(700_000));
    for stream in ["kinesisStream", "deliveryStream"] {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        let flow = format!(
            "\"filePattern\": \"@/app.log\", \"{stream}\": \"logs\", \"truncatedRecordTerminator\": \"<T>\\n\""
        );
        configure(&site, &endpoint(&kinesis), &[&flow]);
        append(&site.log("app.log"), format!("{long}next\n"));
        Agent::once(&site, SOON);
        kinesis.see(|l| {
            assert!(l.violations.is_empty(), "{:?}", l.violations);
            let data = l.data();
            let cut = data.iter().find(|record| record.len() > 5).expect("the long record");
            let text = std::str::from_utf8(cut).expect("whole characters");
            let kept = text.strip_suffix("<T>\n").expect("the terminator");
            assert!(long.starts_with(kept) && cut.len() > 1_000_000, "{} bytes", cut.len());
            assert!(data.contains(&b"next\n".to_vec()) && data.len() == 2);
        });
    }
}

#[test]
fn every_file_that_matches_is_followed_at_once() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    configure(&site, &endpoint(&kinesis), &["\"filePattern\": \"@/*.log\", \"kinesisStream\": \"logs\""]);
    let mut wanted = Vec::new();
    let mut write = |round: usize| {
        for name in ["a", "b", "c"] {
            wanted.push(format!("{name} {round}\n"));
            append(&site.log(&format!("{name}.log")), wanted.last().expect("just pushed"));
        }
        wanted.clone()
    };
    write(0);
    fs::create_dir(site.log("folder.log")).expect("a folder that matches");
    append(&site.log("old.log.gz"), "no line of ours\n");
    let agent = Agent::run(&site);
    for round in 1..4 {
        let wanted = write(round);
        expect("every line", SOON, || kinesis.count() >= wanted.len());
    }
    agent.stop();
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &wanted);
}

#[test]
fn two_flows_deliver_the_same_file_to_two_destinations() {
    let (site, kinesis, firehose) = (Site::new(), Kinesis::start(), Kinesis::start());
    let keys = format!(
        "\"kinesis.endpoint\": \"{}\", \"kinesis.region\": \"eu-west-1\", \"firehose.endpoint\": \"{}\",",
        kinesis.url(),
        firehose.url()
    );
    let flows = [
        "\"filePattern\": \"@/app.log\", \"kinesisStream\": \"logs\"",
        "\"filePattern\": \"@/app.log\", \"deliveryStream\": \"logs\", \"aggregatedRecordSizeBytes\": 6",
    ];
    configure(&site, &keys, &flows);
    append(&site.log("app.log"), "aa\nbb\ncc\ndddddddd\ne\n");
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &["aa\n", "bb\n", "cc\n", "dddddddd\n", "e\n"]);
    assert_exactly(&firehose.see(Ledger::data), &["aa\nbb\n", "cc\n", "dddddddd\n", "e\n"]);
}

#[test]
fn a_deterministic_key_is_the_hash_of_the_record() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let flow = "\"filePattern\": \"@/app.log\", \"kinesisStream\": \"logs\", \"partitionKeyOption\": \"DETERMINISTIC\"";
    configure(&site, &endpoint(&kinesis), &[flow]);
    append(&site.log("app.log"), "same\nother\nsame\n");
    Agent::once(&site, SOON);
    kinesis.see(|l| {
        let keys = |data: &str| {
            let of = l.accepted.iter().filter(|a| a.data == data.as_bytes());
            of.map(|a| a.partition_key.clone()).collect::<Vec<_>>()
        };
        assert_eq!(keys("same\n"), ["847676261680bff61c72961c8198abc0"; 2]);
        assert_ne!(keys("other\n")[0], keys("same\n")[0]);
    });
}

#[test]
fn the_region_that_signs_is_the_one_that_is_named_or_found_and_else_the_java_agents() {
    let region = |keys: &str, stream: &str, environment: Option<&str>| {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        let keys = format!("\"kinesis.endpoint\": \"{0}\", \"firehose.endpoint\": \"{0}\", {keys}", kinesis.url());
        configure(&site, &keys, &[&format!("\"filePattern\": \"@/app.log\", \"{stream}\": \"logs\"")]);
        append(&site.log("app.log"), "one\n");
        let mut run = command(&site, &["run", "--once"]);
        if let Some(region) = environment {
            run.env("AWS_REGION", region);
        }
        let status = Agent::start(&site, run).wait(SOON);
        assert!(status.success(), "{keys}: {status}");
        kinesis.see(|l| l.signed[0].region.clone())
    };
    let named = "\"kinesis.region\": \"eu-west-1\",";
    assert_eq!(region(named, "kinesisStream", Some("eu-west-2")), "eu-west-1");
    assert_eq!(region(named, "deliveryStream", Some("eu-west-2")), "eu-west-2");
    assert_eq!(region("", "kinesisStream", Some("eu-west-2")), "eu-west-2");
    assert_eq!(region("", "kinesisStream", None), "us-east-1");
    assert_eq!(region(named, "deliveryStream", None), "us-east-1");
}

#[test]
fn agent_d_brings_more_flows_and_a_backup_in_it_stops_nothing() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    configure(&site, &endpoint(&kinesis), &["\"filePattern\": \"@/a.log\", \"kinesisStream\": \"logs\""]);
    fs::create_dir(site.path("agent.d")).expect("a folder");
    let more = format!(
        "{{ \"flows\": [ {{ \"filePattern\": \"{}\", \"kinesisStream\": \"logs\", \"initialPosition\": \"START_OF_FILE\" }} ] }}",
        site.log("b.log").display()
    );
    fs::write(site.path("agent.d/more"), more).expect("a file");
    fs::write(site.path("agent.d/old.json~"), "{ \"flows\": [").expect("a file");
    append(&site.log("a.log"), "a\n");
    append(&site.log("b.log"), "b\n");
    let said = output(command(&site, &["validate"]));
    assert!(said.status.success());
    assert!(String::from_utf8_lossy(&said.stdout).contains("valid, 2 flows"), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("old.json~:1:13: is not JSON"), "{said:?}");
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &["a\n", "b\n"]);
}

#[test]
fn what_the_java_agent_would_not_start_with_ends_with_78_in_its_place() {
    let site = Site::new();
    let refused = [
        "\"maxBufferAgeMillis\": 999",
        "\"dataProcessingOptions\": [ { \"optionName\": \"USINGPLUGGIN\", \"className\": \"com.example.Own\" } ]",
        "\"dataProcessingOptions\": [ { \"optionName\": \"CSVTOJSON\" } ]",
        "\"multiLineStartPattern\": \"(\"",
    ];
    for keys in refused {
        let flow = format!("\"filePattern\": \"@/app.log\", \"kinesisStream\": \"logs\", {keys}");
        configure(&site, "", &[&flow]);
        for arguments in [&["run"][..], &["validate"], &["checkpoints"]] {
            let said = output(command(&site, arguments));
            assert_eq!(said.status.code(), Some(78), "{keys}: {said:?}");
            let place = "headwater.yaml:4:";
            assert!(String::from_utf8_lossy(&said.stderr).contains(place), "{keys}: {said:?}");
        }
    }
}

#[test]
fn the_yaml_that_is_printed_goes_on_where_the_json_stopped() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let flow = "\"filePattern\": \"@/app.log*\", \"kinesisStream\": \"logs\", \"maxBufferAgeMillis\": 1000";
    configure(&site, &endpoint(&kinesis), &[flow]);
    append(&site.log("app.log"), "one\n");
    Agent::once(&site, SOON);
    fs::rename(site.config_file(), site.path("agent.json")).expect("a configuration can be renamed");
    let migrate = |arguments: &[&str]| {
        let mut migrate = bare(&site, binary());
        migrate.arg("migrate").arg("--from").arg(site.path("agent.json")).args(arguments);
        output(migrate)
    };
    let printed = migrate(&[]);
    assert!(printed.status.success(), "{printed:?}");
    let file = site.config_file().display().to_string();
    assert!(migrate(&["--output", &file]).status.success());
    assert_eq!(fs::read(site.config_file()).expect("just written"), printed.stdout);
    let again = migrate(&["--output", &file]);
    assert_eq!(again.status.code(), Some(1), "a configuration was written over: {again:?}");
    append(&site.log("app.log"), "two\n");
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &["one\n", "two\n"]);
}
