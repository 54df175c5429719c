//! Who may deliver, and where to: keys, roles, those who give temporary credentials, regions and endpoints.

use std::{fs, process::Command, time::Duration};

use crate::support::{
    SOON,
    agent::{Agent, command},
    expect,
    faults::Kinesis,
    givers::Givers,
    ledger::lines,
    moto::{Moto, OWN},
    proxy::Proxy,
    site::{Site, Yaml},
    tally::assert_all_once,
    writer::Writer,
};

const OTHER: &str = "222222222222";
const TO_FIREHOSE: &str = "firehose: { stream: logs, aggregate: true }";

/// The agent without the keys that tests usually give it.
fn without_keys(site: &Site, arguments: &[&str]) -> Command {
    let mut command = command(site, arguments);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    command
}

fn write_profile(site: &Site, key: &str, secret: &str) {
    let folder = site.path("home/.aws");
    fs::create_dir_all(&folder).expect("a folder in a new home");
    let text = format!("[logs]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    fs::write(folder.join("credentials"), text).expect("the profile can be written");
}

#[test]
fn good_keys_sign_what_a_service_that_checks_signatures_takes() {
    let Some(mut moto) = Moto::start("access::good_keys_sign_what_a_service_that_checks_signatures_takes") else {
        return;
    };
    moto.firehose("logs", OWN);
    let (key, secret) = moto.user("logs", "firehose:PutRecordBatch");
    moto.check_signatures();
    let site = Site::new();
    site.configure(&Yaml::new("app.log", &moto.url()).destination(TO_FIREHOSE));
    Writer::new(&site.log("app.log"), "k").lines(1000);
    let mut once = command(&site, &["run", "--once"]);
    once.env("AWS_ACCESS_KEY_ID", key).env("AWS_SECRET_ACCESS_KEY", secret);
    assert!(Agent::start(&site, once).wait(SOON).success());
    assert_all_once(&lines(&moto.objects("logs", OWN)), "k", 1000, 0);
}

#[test]
fn a_wrong_secret_holds_everything_until_the_profile_is_mended() {
    let Some(mut moto) = Moto::start("access::a_wrong_secret_holds_everything_until_the_profile_is_mended") else {
        return;
    };
    moto.firehose("logs", OWN);
    let (key, secret) = moto.user("logs", "firehose:*");
    moto.check_signatures();
    let site = Site::new();
    write_profile(&site, &key, "not-the-secret");
    site.configure(&Yaml::new("app.log", &moto.url()).destination(TO_FIREHOSE).aws("profile: logs"));
    Writer::new(&site.log("app.log"), "w").lines(1000);
    let mut agent = Agent::start(&site, without_keys(&site, &["run"]));
    assert!(agent.says(&["check the secret key"], SOON), "{}", agent.log());
    assert!(!agent.log().contains("not-the-secret") && agent.alive());
    assert!(moto.objects("logs", OWN).is_empty());
    write_profile(&site, &key, &secret);
    expect("every line", SOON * 3, || lines(&moto.objects("logs", OWN)).len() >= 1000);
    agent.stop();
    assert_all_once(&lines(&moto.objects("logs", OWN)), "w", 1000, 0);
    assert!(site.dead_letters().is_empty(), "nothing of this is the records' fault");
}

#[test]
fn a_missing_permission_is_named() {
    let Some(mut moto) = Moto::start("access::a_missing_permission_is_named") else { return };
    moto.firehose("logs", OWN);
    let (key, secret) = moto.user("logs", "kinesis:*");
    moto.check_signatures();
    let site = Site::new();
    write_profile(&site, &key, &secret);
    let yaml = Yaml::new("app.log", &moto.url()).destination(TO_FIREHOSE).aws("profile: logs");
    site.configure(&yaml.top("shutdown_timeout: 100ms"));
    Writer::new(&site.log("app.log"), "p").lines(10);
    let agent = Agent::start(&site, without_keys(&site, &["run"]));
    assert!(agent.says(&["allow firehose:PutRecordBatch on the stream logs"], SOON), "{}", agent.log());
    agent.stop();
}

#[test]
fn a_role_of_another_account_delivers_into_that_account() {
    let Some(mut moto) = Moto::start("access::a_role_of_another_account_delivers_into_that_account") else { return };
    moto.firehose("logs", OWN);
    moto.firehose("logs-there", OTHER);
    let role = moto.role("logs", "firehose:PutRecordBatch", OTHER);
    let (key, secret) = moto.user("logs", "sts:AssumeRole");
    moto.check_signatures();
    let site = Site::new();
    write_profile(&site, &key, &secret);
    let yaml = Yaml::new("app.log", &moto.url()).destination("firehose: { stream: logs-there, aggregate: true }");
    let yaml = yaml.aws("profile: logs").aws(&format!("sts_endpoint_url: {}", moto.url()));
    site.configure(&yaml.aws(&format!("role_arn: {role}")).aws("external_id: only-us").aws("session_name: web-1"));
    Writer::new(&site.log("app.log"), "r").lines(1000);
    assert!(Agent::start(&site, without_keys(&site, &["run", "--once"])).wait(SOON).success());
    assert_all_once(&lines(&moto.objects("logs-there", OTHER)), "r", 1000, 0);
    assert!(moto.assumed(OTHER).contains(&("web-1".to_owned(), Some("only-us".to_owned()))));
}

#[test]
fn the_credentials_of_a_role_are_kept_and_renewed_before_they_expire() {
    let (site, kinesis, sts) = (Site::new(), Kinesis::start(), Givers::start(Duration::from_secs(14)));
    let yaml = Yaml::new("app.log", &kinesis.url()).aws(&format!("sts_endpoint_url: {}", sts.url()));
    site.configure(&yaml.aws("role_arn: arn:aws:iam::111122223333:role/logs").aws("external_id: a-b"));
    let mut writer = Writer::new(&site.log("app.log"), "t");
    let agent = Agent::run(&site);
    expect("a third set of credentials in use", SOON * 2, || {
        let before = kinesis.count();
        writer.lines(10);
        assert!(crate::support::until(SOON, || kinesis.count() > before), "what is written arrives");
        kinesis.see(|l| l.signed.iter().any(|s| s.key == "GIFT2"))
    });
    agent.stop();
    let gifts = sts.gifts();
    kinesis.see(|l| {
        assert_all_once(&l.data(), "t", writer.written(), 0);
        for signed in &l.signed {
            let gift = gifts.iter().find(|g| g.key == signed.key).expect("a role's key signs");
            assert!(gift.expires > signed.at + Duration::from_secs(4), "{} was nearly over", signed.key);
        }
        // Not once a request: they are kept for seconds, and a request takes a twentieth of one.
        assert!(gifts.len() * 5 < l.signed.len(), "{} gifts, {} requests", gifts.len(), l.signed.len());
    });
    let form = &gifts[0].form;
    let of = |key: &str| form.get(key).map(String::as_str);
    assert_eq!(of("Action"), Some("AssumeRole"));
    assert_eq!(of("RoleArn"), Some("arn:aws:iam::111122223333:role/logs"));
    assert_eq!((of("ExternalId"), of("RoleSessionName")), (Some("a-b"), Some("headwater")));
}

/// Runs `--once` with what `prepare` sets and no keys: what these givers give is what signs.
#[track_caller]
fn check_given(prepare: impl FnOnce(&Site, &Givers, &mut Command)) -> Givers {
    let (site, kinesis, givers) = (Site::new(), Kinesis::start(), Givers::start(Duration::from_hours(1)));
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    Writer::new(&site.log("app.log"), "g").lines(1000);
    let mut once = without_keys(&site, &["run", "--once"]);
    prepare(&site, &givers, &mut once);
    assert!(Agent::start(&site, once).wait(SOON).success());
    kinesis.see(|l| {
        assert_all_once(&l.data(), "g", 1000, 0);
        assert!(l.signed.iter().all(|s| s.key == "GIFT0"), "{:?}", l.signed);
    });
    givers
}

#[test]
fn a_web_identity_token_gives_credentials() {
    let givers = check_given(|site, givers, once| {
        fs::write(site.path("token"), "a.web.token").expect("the token");
        once.env("AWS_WEB_IDENTITY_TOKEN_FILE", site.path("token"))
            .env("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/pod")
            .env("AWS_ENDPOINT_URL_STS", givers.url());
    });
    let form = &givers.gifts()[0].form;
    assert_eq!(form["Action"], "AssumeRoleWithWebIdentity");
    assert_eq!(form["WebIdentityToken"], "a.web.token");
}

#[test]
fn a_container_gives_credentials() {
    check_given(|_, givers, once| {
        once.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/container", givers.url()));
    });
}

#[test]
fn an_instance_gives_credentials_for_a_token_of_version_2() {
    check_given(|_, givers, once| {
        once.env_remove("AWS_EC2_METADATA_DISABLED").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", givers.url());
    });
}

#[test]
fn a_profile_gives_credentials_through_a_role_or_a_process() {
    let process = |site: &Site| {
        let script = site.path("give");
        let text = "#!/bin/sh\necho '{\"Version\":1,\"AccessKeyId\":\"GIFT0\",\"SecretAccessKey\":\"s\"}'\n";
        fs::write(&script, text).expect("a script");
        format!("[default]\ncredential_process = sh {}\n", script.display())
    };
    let role = |_: &Site| {
        "[default]\nrole_arn = arn:aws:iam::111122223333:role/logs\nsource_profile = base\n\n\
         [profile base]\naws_access_key_id = AKID\naws_secret_access_key = s\n"
            .to_owned()
    };
    let kinds: [&dyn Fn(&Site) -> String; 2] = [&process, &role];
    for kind in kinds {
        check_given(|site, givers, once| {
            fs::create_dir_all(site.path("home/.aws")).expect("a folder in a new home");
            fs::write(site.path("home/.aws/config"), kind(site)).expect("the profile");
            once.env("AWS_ENDPOINT_URL_STS", givers.url());
        });
    }
}

#[test]
fn the_region_that_signs_is_the_arns_or_else_the_configurations_whatever_the_endpoint() {
    let arn = "kinesis: { stream: 'arn:aws:kinesis:ap-south-1:111122223333:stream/logs' }";
    for (destination, region) in [("kinesis: { stream: logs }", "eu-west-1"), (arn, "ap-south-1")] {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        site.configure(&Yaml::new("app.log", &kinesis.url()).destination(destination));
        Writer::new(&site.log("app.log"), "s").lines(10);
        let mut once = command(&site, &["run", "--once"]);
        // What the configuration says wins over the environment.
        once.env("AWS_REGION", "us-west-2").env("AWS_ENDPOINT_URL_KINESIS", "http://127.0.0.1:1");
        assert!(Agent::start(&site, once).wait(SOON).success());
        kinesis.see(|l| assert!(l.signed.iter().all(|s| s.region == region) && l.accepted.len() == 10));
    }
}

/// The host that is connected to, learnt from a proxy that leads nowhere.
#[track_caller]
fn host_of(destination: &str, aws: &str) -> String {
    let (site, nowhere) = (Site::new(), Kinesis::start());
    let proxy = Proxy::start(nowhere.address());
    let config = format!(
        "state_dir: {}\nshutdown_timeout: 100ms\naws: {{ region: us-east-1, {aws} }}\nflows:\n  - name: test\n    \
         source: {{ paths: {}, start_at: beginning }}\n    destination: {{ {destination} }}\n    batch: {{ max_age: 0 }}\n",
        site.state_dir().display(),
        site.log("app.log").display()
    );
    site.configure_raw(&config);
    Writer::new(&site.log("app.log"), "h").lines(1);
    let mut run = command(&site, &["run"]);
    run.env("HTTPS_PROXY", proxy.url());
    let agent = Agent::start(&site, run);
    expect("a connection", SOON, || !proxy.asked().is_empty());
    agent.stop();
    proxy.asked().remove(0)
}

#[test]
fn fips_dual_stack_and_an_arn_choose_their_endpoints() {
    let arn = "kinesis: { stream: 'arn:aws:kinesis:eu-west-1:111122223333:stream/logs' }";
    let role = "role_arn: 'arn:aws:iam::111122223333:role/x'";
    for (destination, aws, host) in [
        ("kinesis: { stream: a }", "", "kinesis.us-east-1.amazonaws.com"),
        ("kinesis: { stream: a }", "fips: true", "kinesis-fips.us-east-1.amazonaws.com"),
        ("kinesis: { stream: a, dual_stack: true }", "", "kinesis.us-east-1.api.aws"),
        (arn, "", "111122223333.data-kinesis.eu-west-1.amazonaws.com"),
        ("firehose: { stream: a }", "", "firehose.us-east-1.amazonaws.com"),
        ("firehose: { stream: a, fips: true }", "dual_stack: true", "firehose-fips.us-east-1.api.aws"),
        ("firehose: { stream: a }", role, "sts.us-east-1.amazonaws.com"),
        ("firehose: { stream: a, fips: true }", role, "sts-fips.us-east-1.amazonaws.com"),
    ] {
        assert_eq!(host_of(destination, aws), format!("{host}:443"), "{destination} {aws}");
    }
}

#[test]
fn a_role_that_may_not_be_assumed_is_named_with_the_reason() {
    let (site, kinesis, sts) = (Site::new(), Kinesis::start(), Givers::refusing());
    let yaml = Yaml::new("app.log", &kinesis.url()).aws(&format!("sts_endpoint_url: {}", sts.url()));
    let yaml = yaml.aws("role_arn: arn:aws:iam::111122223333:role/logs").top("shutdown_timeout: 100ms");
    site.configure(&yaml);
    Writer::new(&site.log("app.log"), "n").lines(10);
    let agent = Agent::run(&site);
    for words in ["let this host's identity assume arn:aws:iam::111122223333:role/logs", "not authorized to perform"] {
        assert!(agent.says(&[words], SOON), "{}", agent.log());
    }
    agent.stop();
    assert_eq!(kinesis.count(), 0);
}
