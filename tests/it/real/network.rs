//! https with a private authority, and proxies.

use std::net::Ipv4Addr;

use crate::support::{
    SOON,
    agent::{Agent, command},
    expect,
    faults::{Kinesis, free_address},
    proxy::Proxy,
    site::{Site, Yaml},
    tally::assert_all_once,
    tls,
    writer::Writer,
};

/// Resolves nowhere: only a proxy can know it.
const NAME: &str = "kinesis.headwater.invalid";

/// A site with 1000 lines, and a Kinesis behind TLS whose authority is in `ca.pem`.
fn site() -> (Site, Kinesis) {
    let site = Site::new();
    let address: Ipv4Addr = free_address();
    let kinesis = Kinesis::start_tls(tls::server(&site.path("ca.pem"), address, NAME), address);
    Writer::new(&site.log("app.log"), "n").lines(1000);
    (site, kinesis)
}

/// Runs `--once` with these variables set; every line has to arrive.
#[track_caller]
fn check(site: &Site, kinesis: &Kinesis, yaml: &Yaml, variables: &[(&str, &str)]) {
    site.configure(yaml);
    let mut command = command(site, &["run", "--once"]);
    command.envs(variables.iter().copied());
    assert!(Agent::start(site, command).wait(SOON).success());
    kinesis.see(|l| assert_all_once(&l.data(), "n", 1000, 0));
}

#[test]
fn an_https_endpoint_with_a_private_authority_is_trusted_through_ca_bundle() {
    let (site, kinesis) = site();
    let bundle = format!("ca_bundle: {}", site.path("ca.pem").display());
    check(&site, &kinesis, &Yaml::new("app.log", &kinesis.url()).aws(&bundle), &[]);
}

#[test]
fn an_https_endpoint_with_a_private_authority_is_trusted_through_aws_ca_bundle() {
    let (site, kinesis) = site();
    let bundle = site.path("ca.pem").display().to_string();
    check(&site, &kinesis, &Yaml::new("app.log", &kinesis.url()), &[("AWS_CA_BUNDLE", &bundle)]);
}

#[test]
fn an_https_endpoint_of_an_unknown_authority_gets_nothing_and_the_log_says_why() {
    let (site, kinesis) = site();
    site.configure(&Yaml::new("app.log", &kinesis.url()).top("shutdown_timeout: 200ms"));
    let agent = Agent::run(&site);
    assert!(agent.says(&["certificate", "UnknownIssuer"], SOON), "{}", agent.log());
    assert_eq!(kinesis.count(), 0);
    agent.stop();
}

#[test]
fn https_proxy_is_used_for_a_name_that_only_it_knows() {
    let (site, kinesis) = site();
    let proxy = Proxy::start(kinesis.address());
    let bundle = format!("ca_bundle: {}", site.path("ca.pem").display());
    let yaml = Yaml::new("app.log", &format!("https://{NAME}")).aws(&bundle);
    check(&site, &kinesis, &yaml, &[("HTTPS_PROXY", &proxy.url())]);
    assert!(proxy.asked().iter().all(|name| name == &format!("{NAME}:443")), "{:?}", proxy.asked());
    assert!(!proxy.asked().is_empty());
}

#[test]
fn no_proxy_keeps_an_address_out_of_the_proxy() {
    let (site, kinesis) = site();
    let proxy = Proxy::start(kinesis.address());
    let bundle = format!("ca_bundle: {}", site.path("ca.pem").display());
    let (address, url) = (kinesis.address().ip().to_string(), proxy.url());
    let yaml = Yaml::new("app.log", &kinesis.url()).aws(&bundle);
    check(&site, &kinesis, &yaml, &[("HTTPS_PROXY", &url), ("NO_PROXY", &address)]);
    assert_eq!(proxy.asked(), Vec::<String>::new());
}

#[test]
fn a_proxy_that_is_down_loses_nothing() {
    let (site, kinesis) = site();
    let bundle = format!("ca_bundle: {}", site.path("ca.pem").display());
    let yaml = Yaml::new("app.log", &format!("https://{NAME}")).aws(&bundle).top("shutdown_timeout: 200ms");
    site.configure(&yaml);
    let mut run = command(&site, &["run"]);
    run.env("HTTPS_PROXY", "http://127.0.0.1:1");
    let mut agent = Agent::start(&site, run);
    expect("the agent to say so", SOON, || !agent.log().is_empty());
    assert!(agent.alive());
    agent.stop();
    let proxy = Proxy::start(kinesis.address());
    check(&site, &kinesis, &yaml, &[("HTTPS_PROXY", &proxy.url())]);
}
