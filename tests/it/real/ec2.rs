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
