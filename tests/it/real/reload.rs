//! SIGHUP: a new configuration for a running agent.

use std::{fmt::Write as _, fs, time::Duration};

use rustix::process::Signal;

use crate::support::{
    SOON,
    agent::{Agent, command},
    expect,
    faults::{Fault, Kinesis},
    notify::Notifications,
    site::Site,
    tally::assert_all_once,
    writer::{Load, Pace, Rotation, Writer},
};

/// One flow of a configuration: `NAME` follows `logs/NAME.log*`.
struct Flow<'a> {
    name: &'a str,
    kinesis: &'a Kinesis,
    /// Lines of its own.
    more: String,
}

impl<'a> Flow<'a> {
    fn new(name: &'a str, kinesis: &'a Kinesis) -> Self {
        Self { name, kinesis, more: String::new() }
    }

    fn with(mut self, line: &str) -> Self {
        let _ = writeln!(self.more, "    {line}");
        self
    }
}

fn configure(site: &Site, top: &str, flows: &[Flow<'_>]) {
    let mut text = format!("state_dir: {}\naws: {{ region: eu-west-1 }}\n{top}\nflows:\n", site.state_dir().display());
    for Flow { name, kinesis, more } in flows {
        let (paths, url) = (site.log(&format!("{name}.log*")), kinesis.url());
        let _ = write!(
            text,
            "  - name: {name}\n    source: {{ paths: \"{}\", start_at: beginning, poll_interval: 50ms }}\n    \
             destination: {{ kinesis: {{ stream: logs, endpoint_url: \"{url}\" }} }}\n{more}",
            paths.display()
        );
    }
    if flows.is_empty() {
        text.push_str("  []\n");
    }
    site.configure_raw(&text);
}

/// A running agent, and what it tells its service manager.
struct Service {
    agent: Agent,
    heard: Notifications,
}

impl Service {
    fn start(site: &Site) -> Self {
        let mut heard = Notifications::listen(&site.path("notify"));
        let mut command = command(site, &["run"]);
        command.env("NOTIFY_SOCKET", heard.path());
        let agent = Agent::start(site, command);
        heard.expect("READY=1", 1);
        Self { agent, heard }
    }

    /// A reload, waited for to its end.
    #[track_caller]
    fn reload(&mut self) {
        let ready = self.heard.seen().iter().filter(|m| *m == "READY=1").count();
        self.agent.signal(Signal::HUP);
        self.heard.expect("READY=1", ready + 1);
    }

    fn last_status(&mut self) -> String {
        let mut seen = self.heard.seen().iter().rev();
        seen.find(|m| m.starts_with("STATUS=")).cloned().unwrap_or_default()
    }
}

/// A busy log of a flow.
fn load(site: &Site, name: &str) -> Load {
    let pace = Pace { burst: 5, every: Duration::from_millis(5), rotate_after: 40, rotation: Rotation::Rename };
    Load::start(Writer::new(&site.log(&format!("{name}.log")), name), pace)
}

/// Ends it, and fails unless each of its lines came once.
#[track_caller]
fn check(kinesis: &Kinesis, name: &str, writer: &Writer) {
    expect(&format!("every line of {name}"), SOON, || kinesis.count() as u64 >= writer.written());
    kinesis.see(|l| assert_all_once(&l.data(), name, writer.written(), 0));
}

#[test]
fn a_hundred_reloads_under_load_lose_and_repeat_nothing() {
    let site = Site::new();
    let names = ["kept", "changed", "guest"];
    let streams = names.map(|_| Kinesis::start());
    let [kept, changed, guest] = &streams;
    let flows = |round: u32| {
        let age = format!("batch: {{ max_age: {}ms }}", 20 + round % 7);
        let mut flows =
            vec![Flow::new("kept", kept).with("batch: { max_age: 20ms }"), Flow::new("changed", changed).with(&age)];
        if round.is_multiple_of(2) {
            flows.push(Flow::new("guest", guest).with("batch: { max_age: 20ms }"));
        }
        // Where a flow is written, and what is said beside it, is no change of it.
        if round.is_multiple_of(3) {
            flows.swap(0, 1);
        }
        flows
    };
    configure(&site, "", &flows(0));
    let loads = names.map(|name| load(&site, name));
    let mut rounds = 0;
    let mut service = Service::start(&site);
    let thread_of_kept = |service: &Service| service.agent.threads().remove("flow-kept").expect("it has a thread");
    let thread = thread_of_kept(&service);
    for round in 1.. {
        configure(&site, &format!("# round {round}"), &flows(round));
        service.reload();
        let wanted = if round.is_multiple_of(2) { 3 } else { 2 };
        // A thread takes its name itself.
        let running = || service.agent.threads().into_keys().filter(|name| name.starts_with("flow-")).count();
        expect(&format!("{wanted} flows in round {round}"), SOON, || running() == wanted);
        // An even one, in which all flows run, and when enough has happened.
        if round >= 100 && round.is_multiple_of(2) && kept.count() > 2_000 {
            rounds = round as usize;
            break;
        }
    }
    assert_eq!(thread_of_kept(&service), thread, "what did not change was not touched");
    let log = service.agent.log();
    assert_eq!(log.matches("flow started flow=\"kept\"").count(), 1);
    assert_eq!(log.matches("flow started flow=\"changed\"").count(), rounds + 1);
    let writers = loads.map(Load::stop);
    for ((name, writer), stream) in names.iter().zip(&writers).zip(&streams) {
        assert!(writer.written() > 1_000 && writer.rotations() > 2, "too little happened: {}", writer.written());
        check(stream, name, writer);
    }
    service.agent.stop();
}

#[test]
fn the_service_manager_hears_when_a_reload_begins_and_ends() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    configure(&site, "", &[Flow::new("a", &kinesis)]);
    let mut service = Service::start(&site);
    service.reload();
    let seen = service.heard.seen();
    let at = |start: &str| seen.iter().position(|m| m.starts_with(start));
    let (reloading, time) = (at("RELOADING=1").expect("told"), at("MONOTONIC_USEC=").expect("told"));
    assert_eq!(time, reloading + 1, "in one message: {seen:?}");
    let ready = seen.iter().rposition(|m| m == "READY=1").expect("told");
    assert!(at("READY=1") < Some(reloading) && time < ready, "{seen:?}");
    service.agent.stop();
}

#[test]
fn a_bad_configuration_changes_nothing_and_is_told_until_it_is_mended() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    configure(&site, "", &[Flow::new("a", &kinesis)]);
    let mut writer = Writer::new(&site.log("a.log"), "a");
    let mut service = Service::start(&site);
    fs::write(site.config_file(), "flows: [{ nmae: a }]\n").expect("the configuration can be written");
    service.reload();
    let log = service.agent.log();
    assert!(log.contains("headwater.yaml:1:11: flows[0].nmae: unknown key; did you mean `name`?"), "{log}");
    assert!(log.contains("the new configuration is refused, and the old one goes on"), "{log}");
    let refused = |status: &str| status.contains("refused, the old one goes on") && status.contains("flows[0].n");
    assert!(refused(&service.last_status()), "{}", service.last_status());
    writer.lines(100);
    expect("the old flow to go on", SOON, || kinesis.count() == 100);
    configure(&site, "", &[Flow::new("a", &kinesis).with("batch: { max_records: 10 }")]);
    service.reload();
    assert!(!refused(&service.last_status()), "{}", service.last_status());
    writer.lines(100);
    expect("the mended flow", SOON, || kinesis.count() == 200);
    service.agent.stop();
    kinesis.see(|l| assert_all_once(&l.data(), "a", 200, 0));
}

#[test]
fn what_a_reload_cannot_do_is_refused() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    configure(&site, "", &[Flow::new("a", &kinesis)]);
    let mut service = Service::start(&site);
    let text = fs::read_to_string(site.config_file()).expect("it was written above");
    let here = site.state_dir().display().to_string();
    site.configure_raw(&text.replace(&here, "/somewhere/else"));
    service.reload();
    assert!(service.agent.says(&["state_dir: cannot change from"], SOON));
    site.configure_raw(&text.replace("region: eu-west-1", "ca_bundle: /nowhere.pem"));
    service.reload();
    assert!(service.agent.says(&["flow a: "], SOON) && service.agent.log().contains("/nowhere.pem"));
    assert_eq!(service.agent.log().matches("flow started").count(), 1);
    service.agent.stop();
}

#[test]
fn the_last_flow_goes_and_the_service_stays() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    configure(&site, "", &[Flow::new("a", &kinesis)]);
    let mut writer = Writer::new(&site.log("a.log"), "a");
    writer.lines(100);
    let mut service = Service::start(&site);
    configure(&site, "", &[]);
    service.reload();
    assert!(service.last_status().contains("Nothing to do"), "{}", service.last_status());
    writer.lines(100);
    configure(&site, "", &[Flow::new("a", &kinesis)]);
    service.reload();
    check(&kinesis, "a", &writer);
    assert!(service.agent.alive());
    service.agent.stop();
}

#[test]
fn a_flow_whose_destination_refuses_makes_way_at_once_for_one_that_does_not() {
    let (site, wrong, right) = (Site::new(), Kinesis::start(), Kinesis::start());
    wrong.set(Fault::NO_SUCH_STREAM);
    configure(&site, "shutdown_timeout: 10m", &[Flow::new("a", &wrong)]);
    let mut writer = Writer::new(&site.log("a.log"), "a");
    writer.lines(1_000);
    let mut service = Service::start(&site);
    assert!(service.agent.says(&["destination refuses, holding the data"], SOON));
    configure(&site, "shutdown_timeout: 10m", &[Flow::new("a", &right)]);
    service.reload();
    check(&right, "a", &writer);
    assert!(service.agent.log().contains("could not deliver this in time"), "{}", service.agent.log());
    service.agent.stop();
    assert_eq!(wrong.count(), 0);
}

#[test]
fn a_flow_whose_destination_is_down_makes_way_when_its_time_is_over() {
    let (site, wrong, right) = (Site::new(), Kinesis::start(), Kinesis::start());
    wrong.down();
    configure(&site, "", &[Flow::new("a", &wrong)]);
    let mut writer = Writer::new(&site.log("a.log"), "a");
    writer.lines(1_000);
    let mut service = Service::start(&site);
    assert!(service.agent.says(&["not delivered, sending again"], SOON));
    configure(&site, "shutdown_timeout: 300ms", &[Flow::new("a", &right)]);
    service.reload();
    check(&right, "a", &writer);
    service.agent.stop();
}

#[test]
fn exactly_once_holds_although_a_flow_makes_way_in_the_middle_of_a_doubt() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let once = |age: u32| {
        Flow::new("a", &kinesis)
            .with("delivery: { exactly_once: { settle_wait: 1s } }")
            .with(&format!("batch: {{ max_age: {age}ms, max_records: 50 }}"))
    };
    // What arrives only after its flow was given up, and still within the wait of the next.
    kinesis.plan(|n| if n % 5 == 3 { Fault::TakeLate(Duration::from_millis(300)) } else { Fault::Pass });
    configure(&site, "shutdown_timeout: 50ms", &[once(20)]);
    let load = load(&site, "a");
    let mut service = Service::start(&site);
    for round in 1..=10 {
        let before = kinesis.count();
        expect("something to be delivered", SOON, || kinesis.count() > before + 100);
        configure(&site, "shutdown_timeout: 50ms", &[once(20 + round)]);
        service.reload();
    }
    let log = service.agent.log();
    assert!(log.contains("could not deliver this in time"), "no flow was given up: {log}");
    let writer = load.stop();
    kinesis.set(Fault::Pass);
    check(&kinesis, "a", &writer);
    service.agent.stop();
    kinesis.see(|l| assert_all_once(&l.data(), "a", writer.written(), 0));
}

#[test]
fn a_stop_in_the_middle_of_a_reload_is_a_stop() {
    let (site, kinesis, down) = (Site::new(), Kinesis::start(), Kinesis::start());
    down.down();
    configure(&site, "", &[Flow::new("a", &down), Flow::new("b", &kinesis)]);
    Writer::new(&site.log("a.log"), "a").lines(100);
    let mut service = Service::start(&site);
    assert!(service.agent.says(&["not delivered, sending again"], SOON));
    configure(&site, "shutdown_timeout: 3s", &[Flow::new("b", &kinesis)]);
    service.agent.signal(Signal::HUP);
    assert!(service.agent.says(&["the new configuration is in force"], SOON));
    service.agent.signal(Signal::HUP);
    service.agent.signal(Signal::TERM);
    assert!(service.agent.wait(SOON).success());
    assert!(service.agent.log().contains("stopped before everything was delivered"), "{}", service.agent.log());
}

#[test]
fn reloads_that_come_too_fast_end_with_the_last_configuration() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    configure(&site, "", &[Flow::new("a", &kinesis)]);
    let service = Service::start(&site);
    for round in 1..=20 {
        configure(&site, "", &[Flow::new("a", &kinesis).with(&format!("batch: {{ max_records: {round} }}"))]);
        service.agent.signal(Signal::HUP);
    }
    // The last of the burst is the one that counts, although others are under way.
    configure(&site, "", &[]);
    service.agent.signal(Signal::HUP);
    expect("no flow", SOON, || !service.agent.threads().contains_key("flow-a"));
    service.agent.stop();
}

#[test]
fn a_file_that_was_deleted_while_it_was_read_is_read_to_its_end_all_the_same() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let slow = |age: u32| Flow::new("a", &kinesis).with(&format!("batch: {{ max_age: {age}ms, max_records: 100 }}"));
    configure(&site, "", &[slow(20).with("buffer: 6MiB")]);
    let mut writer = Writer::new(&site.log("a.log"), "a");
    // Far more than the flow may have read when it is told to make way.
    writer.lines(100_000);
    kinesis.set(Fault::Slow(Duration::from_millis(100)));
    let service = Service::start(&site);
    expect("the first lines", SOON, || kinesis.count() > 500);
    fs::remove_file(site.log("a.log")).expect("a log can be deleted");
    configure(&site, "", &[slow(30).with("buffer: 6MiB")]);
    service.agent.signal(Signal::HUP);
    assert!(service.agent.says(&["the new configuration is in force"], SOON));
    assert!(kinesis.count() < 50_000, "too fast to show anything");
    kinesis.set(Fault::Pass);
    check(&kinesis, "a", &writer);
    expect("the successor", SOON, || service.agent.log().matches("flow started").count() == 2);
    service.agent.stop();
}

#[test]
fn what_deleted_files_still_held_when_their_flow_is_given_up_is_told() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    configure(&site, "", &[Flow::new("a", &kinesis).with("buffer: 5MiB")]);
    Writer::new(&site.log("a.log"), "a").lines(100_000);
    kinesis.set(Fault::NO_SUCH_STREAM);
    let mut service = Service::start(&site);
    assert!(service.agent.says(&["destination refuses, holding the data"], SOON));
    fs::remove_file(site.log("a.log")).expect("a log can be deleted");
    configure(&site, "", &[]);
    service.reload();
    assert!(service.agent.says(&["now they are closed: these bytes are lost"], SOON), "{}", service.agent.log());
    service.agent.stop();
}

#[test]
fn a_flow_whose_destination_takes_records_again_has_all_its_time() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    kinesis.set(Fault::NO_SUCH_STREAM);
    let slow = |age: u32| {
        let batch = format!("batch: {{ max_age: {age}ms, max_records: 100 }}");
        Flow::new("a", &kinesis).with(&batch)
    };
    configure(&site, "", &[slow(20)]);
    let mut writer = Writer::new(&site.log("a.log"), "a");
    writer.lines(1_000);
    let mut service = Service::start(&site);
    assert!(service.agent.says(&["destination refuses, holding the data"], SOON));
    // It takes one request, and then takes longer than the patience with one that refuses.
    let mut first = true;
    kinesis.plan(move |_| if std::mem::take(&mut first) { Fault::Pass } else { Fault::Slow(Duration::from_secs(3)) });
    configure(&site, "", &[slow(30)]);
    service.reload();
    assert!(!service.agent.log().contains("could not deliver this in time"), "{}", service.agent.log());
    kinesis.set(Fault::Pass);
    writer.lines(100);
    check(&kinesis, "a", &writer);
    service.agent.stop();
}

#[test]
fn once_ignores_it() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    kinesis.down();
    configure(&site, "", &[Flow::new("a", &kinesis)]);
    Writer::new(&site.log("a.log"), "a").lines(100);
    let mut agent = Agent::start(&site, command(&site, &["run", "--once"]));
    assert!(agent.says(&["not delivered, sending again"], SOON));
    site.configure_raw("nonsense");
    agent.signal(Signal::HUP);
    assert!(agent.says(&["SIGHUP is received and ignored"], SOON));
    kinesis.up();
    assert!(agent.wait(SOON).success());
    kinesis.see(|l| assert_all_once(&l.data(), "a", 100, 0));
}

#[test]
fn a_deleted_file_of_which_it_is_not_known_what_arrived_is_read_to_its_end_before_its_flow_makes_way() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let flow =
        |wait: u32| Flow::new("a", &kinesis).with(&format!("delivery: {{ exactly_once: {{ settle_wait: {wait}s }} }}"));
    configure(&site, "", &[flow(4)]);
    let mut writer = Writer::new(&site.log("a.log"), "a");
    writer.lines(1_000);
    kinesis.set(Fault::Slow(Duration::from_mins(1)));
    let agent = Agent::run(&site);
    expect("all lines to be taken", SOON, || kinesis.count() == 1_000);
    agent.kill();
    kinesis.set(Fault::Pass);
    writer.lines(1_000);
    let service = Service::start(&site);
    assert!(service.agent.says(&["looking in the stream for what it may"], SOON));
    // Kept open by now, for it may be deleted.
    let is_open = || service.agent.holds(&site.log("a.log"));
    expect("the file to be open", SOON, is_open);
    fs::remove_file(site.log("a.log")).expect("a log can be deleted");
    configure(&site, "", &[flow(5)]);
    service.agent.signal(Signal::HUP);
    assert!(service.agent.says(&["the new configuration is in force"], SOON));
    check(&kinesis, "a", &writer);
    service.agent.stop();
}
