//! What the agent knows of the EC2 instance it runs on, and what it does where it runs on none.

use std::time::{Duration, Instant};

use crate::support::{
    SOON,
    agent::{Agent, command},
    cloudwatch::{CloudWatch, Mood},
    expect,
    faults::Kinesis,
    imds::Imds,
    site::{Site, Yaml},
    writer::Writer,
};

/// Runs the agent where `imds` is the metadata service: how long until it read a first line, the values of the
/// dimension that names the instance, and the log.
fn run(imds: &Imds) -> (Duration, Vec<String>, String) {
    let (site, kinesis, cloudwatch) = (Site::new(), Kinesis::start(), CloudWatch::start(Mood::Takes));
    let dimensions = r#"dimensions: { Instance: "${ec2.instance_id}" }"#;
    let metrics = format!("metrics: {{ cloudwatch: {{ endpoint_url: \"{}\", {dimensions} }} }}", cloudwatch.url());
    site.configure(&Yaml::new("app.log", &kinesis.url()).top(&metrics));
    Writer::new(&site.log("app.log"), "e").lines(100);
    let mut command = command(&site, &["run"]);
    imds.serve(&mut command);
    let started = Instant::now();
    let agent = Agent::start(&site, command);
    expect("the lines", SOON, || kinesis.count() >= 100);
    let took = started.elapsed();
    let log = site.path("agent.log");
    agent.stop();
    (took, cloudwatch.dimension("Instance"), std::fs::read_to_string(log).expect("the log is text"))
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[test]
fn an_instance_is_known_by_its_id_from_version_2_of_the_metadata_service() {
    let (_, instance, log) = run(&Imds::start("i-0123456789abcdef0"));
    assert_eq!(instance, ["i-0123456789abcdef0"]);
    assert!(log.contains("INFO EC2 metadata read"), "{log}");
}

#[test]
fn outside_ec2_the_start_is_not_held_up_and_the_host_takes_the_place_of_the_instance() {
    let (_, instance, log) = run(&Imds::absent());
    assert_eq!(instance, [host()]);
    assert_eq!(log.matches("no EC2 metadata").count(), 1, "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

#[test]
fn a_metadata_service_that_never_answers_holds_up_the_start_for_a_second_at_most() {
    let (took, instance, _) = run(&Imds::silent());
    assert_eq!(instance, [host()]);
    // A second of it is the wait; the rest is for a busy machine.
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// The first record that a flow delivers where `imds` is the metadata service.
fn first_record(site: &Site, kinesis: &Kinesis, imds: &Imds) -> String {
    Writer::new(&site.log("app.log"), "e").lines(1);
    let mut once = command(site, &["run", "--once"]);
    imds.serve(&mut once);
    let mut agent = Agent::start(site, once);
    expect("the agent to end", SOON, || !agent.alive());
    kinesis.see(|ledger| String::from_utf8_lossy(&ledger.data()[0]).into_owned())
}

#[test]
fn a_record_says_which_instance_it_comes_from_and_null_outside() {
    let step = r#"add: { id: "${ec2.instance_id}", where: "in ${ec2.region}" }"#;
    for (imds, id) in
        [(Imds::start("i-0123456789abcdef0"), "\"id\":\"i-0123456789abcdef0\""), (Imds::absent(), "\"id\":null")]
    {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        site.configure(&Yaml::new("app.log", &kinesis.url()).step(step));
        let record = first_record(&site, &kinesis, &imds);
        assert!(record.contains(id) && record.contains("\"where\":\"in "), "{record}");
    }
}

#[test]
fn the_java_agents_converter_adds_the_instance_to_a_json_record() {
    let (site, kinesis, imds) = (Site::new(), Kinesis::start(), Imds::start("i-0123456789abcdef0"));
    let json = format!(
        r#"{{ "headwater.stateDir": "{}", "kinesis.endpoint": "{}", "kinesis.region": "eu-west-1", "cloudwatch.emitMetrics": false,
             "flows": [ {{ "filePattern": "{}", "kinesisStream": "s", "initialPosition": "START_OF_FILE",
               "dataProcessingOptions": [ {{ "optionName": "CSVTOJSON", "customFieldNames": ["line"] }},
                                          {{ "optionName": "ADDEC2METADATA", "logFormat": "SYSLOG" }} ] }} ] }}"#,
        site.state_dir().display(),
        kinesis.url(),
        site.log("app.log").display()
    );
    site.configure_raw(&json);
    let record = first_record(&site, &kinesis, &imds);
    assert!(record.contains("\"instanceId\":\"i-0123456789abcdef0\"") && record.starts_with("{\"line\":"), "{record}");
}
