//! Exactly once: whatever the stream does to answers, and however often the agent is killed, a consumer reads each line
//! once. Counted by reading every shard, closed ones too, as a consumer would.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use crate::support::{
    SOON,
    agent::{Agent, command, output, unprivileged},
    expect,
    faults::{Fault, Kinesis},
    kpl, long, pause,
    reading::Read,
    site::{Site, Yaml},
    tally::assert_all_once,
    writer::{Load, Pace, Rotation, Writer},
};

const EXACTLY_ONCE: &str = "delivery: { exactly_once: { settle_wait: 1s } }";

/// How records are sent: each alone or joined, with random keys or chosen ones.
const SHAPES: [&str; 4] =
    ["", "aggregate: true", KEYED, "aggregate: { max_bytes: 10KiB }, partition_key: { field: last }"];
const KEYED: &str = "partition_key: { field: last }";

/// Every file under `logs/` called `app.log*`, sent in one of the shapes.
fn yaml(kinesis: &Kinesis, shape: &str) -> Yaml {
    let yaml = Yaml::new("app.log*", &kinesis.url()).destination(&format!("kinesis: {{ stream: logs, {shape} }}"));
    let keyed = r"parse: { regex: '^\w+ \d{8}(?P<last>\d\d)' }";
    let yaml = if shape.contains("field") { yaml.step(keyed).step("emit: raw") } else { yaml };
    yaml.flow(EXACTLY_ONCE)
}

/// What a consumer reads from the stream.
fn consumed(kinesis: &Kinesis) -> Vec<Vec<u8>> {
    kinesis.see(|l| {
        assert!(l.violations.is_empty(), "{:?}", l.violations);
        l.consumed().into_iter().flat_map(|record| kpl::opened(&record.data)).collect()
    })
}

/// Delivers 20 000 lines in each shape while request `n` meets `plan(n)`: each arrives once.
#[track_caller]
fn check(plan: impl Fn(u64) -> Fault + Clone + Send + 'static) {
    for shape in SHAPES {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        site.configure(&yaml(&kinesis, shape).batch("{ max_age: 50ms, max_records: 250, max_bytes: 100KiB }"));
        Writer::new(&site.log("app.log"), "e").lines(20_000);
        kinesis.plan(plan.clone());
        Agent::once(&site, SOON * 2);
        assert_all_once(&consumed(&kinesis), "e", 20_000, 0);
    }
}

/// `fault` for each seventh request, and for the first.
fn now_and_then(fault: Fault) -> impl Fn(u64) -> Fault + Clone + Send + 'static {
    move |n| if n % 7 == 0 { fault.clone() } else { Fault::Pass }
}

#[test]
fn answers_500_after_all_was_taken_repeat_nothing() {
    check(now_and_then(Fault::TakeButAnswer(500)));
}

#[test]
fn answers_503_after_all_was_taken_repeat_nothing() {
    check(now_and_then(Fault::TakeButAnswer(503)));
}

#[test]
fn answers_500_before_anything_was_taken_lose_nothing() {
    check(now_and_then(Fault::INTERNAL_FAILURE));
}

#[test]
fn connections_closed_after_all_was_taken_repeat_nothing() {
    check(now_and_then(Fault::TakeButHangUp));
}

#[test]
fn connections_closed_before_all_is_taken_repeat_nothing() {
    check(now_and_then(Fault::TakeLate(Duration::from_millis(700))));
}

#[test]
fn answers_that_end_in_the_middle_repeat_nothing() {
    check(now_and_then(Fault::TakeButTruncate));
}

#[test]
fn records_that_fail_inside_a_request_are_looked_for_and_sent_again() {
    check(now_and_then(Fault::FailRecord(7)));
}

/// What happens at random while the agent is killed: of 4 % of the requests the answer is dropped or says 500 although
/// they are taken, and 3.5 % go wrong otherwise.
fn trouble(seed: u64) -> impl FnMut(u64) -> Fault + Send + 'static {
    let mut random = fastrand::Rng::with_seed(seed);
    move |_| match random.u32(..1000) {
        0..25 => Fault::TakeButHangUp,
        25..40 => Fault::TakeButAnswer(500),
        40..50 => Fault::TakeLate(Duration::from_millis(random.u64(..700))),
        50..55 => Fault::INTERNAL_FAILURE,
        55..65 => Fault::FailRecord(3),
        65..75 => Fault::ThrottleEach(5),
        _ => Fault::Slow(Duration::from_millis(10)),
    }
}

/// SIGKILL every few seconds under 3 000 lines a second, with rotation, trouble and shards that split and merge.
/// With `HEADWATER_TEST_LONG=1` two hundred times.
#[track_caller]
fn check_kills(shape: &str, rotation: Rotation, seed: u64) {
    check_kills_and(shape, rotation, seed, |_, _, _| ());
}

/// The same, with something before each start.
#[track_caller]
fn check_kills_and(shape: &str, rotation: Rotation, seed: u64, before: impl Fn(u64, &Site, &Kinesis)) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, shape));
    kinesis.plan(trouble(seed));
    let mut random = fastrand::Rng::with_seed(seed);
    let pace = Pace { burst: 30, every: Duration::from_millis(10), rotate_after: 250, rotation };
    let load = Load::start(Writer::new(&site.log("app.log"), "k"), pace);
    let (kills, mut children, mut halves) = (if long() { 200 } else { 6 }, vec![0, 1, 2, 3], None);
    for round in 0..kills {
        before(round, &site, &kinesis);
        let agent = Agent::run(&site);
        if round % 5 == 2 && children.len() < 40 {
            let shard = children.swap_remove(random.usize(..children.len()));
            pause(Duration::from_millis(random.u64(..1500)));
            children.extend(halves.take().into_iter().flatten());
            halves = Some(kinesis.split(shard));
        } else if round % 5 == 4
            && let Some([left, right]) = halves.take()
        {
            pause(Duration::from_millis(random.u64(..1500)));
            children.push(kinesis.merge(left, right));
        }
        pause(Duration::from_millis(random.u64(200..3_000)));
        agent.kill();
    }
    let writer = load.stop();
    kinesis.set(Fault::Pass);
    Agent::once(&site, SOON * 4);
    let consumed = consumed(&kinesis);
    assert_all_once(&consumed, "k", writer.written(), 0);
    let log = fs::read_to_string(site.path("agent.log")).expect("the log is text");
    let doubts = |words: &str| log.matches(words).count();
    let (started, lost) =
        (doubts("looking in the stream for what it may"), doubts("delivered, looking for it in the stream"));
    assert!(started > 0 && lost > 0, "{started} and {lost} doubts: nothing was tried");
    if long() {
        eprintln!("{kills} kills, {} rotations, {} lines: 0 lost, 0 repeated", writer.rotations(), consumed.len());
    }
}

#[test]
fn kills_under_load_and_rename_rotation_repeat_nothing() {
    check_kills("", Rotation::Rename, 1);
}

#[test]
fn kills_under_load_with_another_configuration_each_time_repeat_nothing() {
    // As after a start of the machine: what is found is compared with the files.
    check_kills_and("", Rotation::Rename, 5, |round, site, kinesis| {
        site.configure(&yaml(kinesis, "").source(&format!("poll_interval: {}ms", 1_000 + round)));
    });
}

#[test]
fn kills_under_load_and_copytruncate_repeat_nothing() {
    check_kills("", Rotation::CopyTruncate, 2);
}

#[test]
fn kills_under_load_with_aggregates_repeat_nothing() {
    check_kills("aggregate: true", Rotation::Rename, 3);
}

#[test]
fn kills_under_load_with_aggregates_by_key_repeat_nothing() {
    check_kills(SHAPES[3], Rotation::Rename, 4);
}

/// Lines are taken, the answers never come, and the agent is killed.
#[track_caller]
fn leave_in_doubt(site: &Site, kinesis: &Kinesis, lines: usize) {
    let before = kinesis.count();
    Writer::new(&site.log("app.log"), "s").lines(lines as u64);
    kinesis.set(Fault::Slow(Duration::from_mins(1)));
    let agent = Agent::run(site);
    expect("all lines to be taken", SOON, || kinesis.count() == before + lines);
    agent.kill();
    kinesis.set(Fault::Pass);
}

/// Lines are left in doubt: then `meanwhile`, and a start that has to find them.
#[track_caller]
fn check_start(meanwhile: impl FnOnce(&Site, &Kinesis)) -> Kinesis {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, ""));
    leave_in_doubt(&site, &kinesis, 3_000);
    meanwhile(&site, &kinesis);
    Agent::once(&site, SOON * 3);
    kinesis
}

#[test]
fn what_a_killed_agent_sent_is_found_however_the_stream_is_read() {
    let refused = |at: &'static str, read: Read| {
        move |_: &Site, kinesis: &Kinesis| {
            let mut left = 3;
            kinesis.reading(move |operation, _| {
                if operation == at && left > 0 {
                    left -= 1;
                    return read.clone();
                }
                Read::Pass
            });
        }
    };
    for (at, read) in [
        ("GetRecords", Read::EXPIRED),
        ("GetRecords", Read::THROTTLED),
        ("GetRecords", Read::Empty),
        ("GetRecords", Read::HangUp),
        ("GetShardIterator", Read::THROTTLED),
        ("ListShards", Read::Refuse(500, "InternalFailure", "Internal service failure.")),
    ] {
        let kinesis = check_start(refused(at, read.clone()));
        assert_eq!(kinesis.count(), 3_000, "{at} {read:?}");
        assert_all_once(&consumed(&kinesis), "s", 3_000, 0);
    }
}

#[test]
fn a_service_that_says_of_each_page_that_it_is_the_last_is_read_whole() {
    let (site, kinesis) = (Site::new(), Kinesis::start_with(1));
    site.configure(&yaml(&kinesis, ""));
    // More than a page, right before what is sought.
    kinesis.change(|l| (0..12_000).for_each(|n| l.take_anothers(b"another's".to_vec(), &n.to_string())));
    leave_in_doubt(&site, &kinesis, 3_000);
    kinesis.reading(|_, _| Read::AlwaysAtTip);
    Agent::once(&site, SOON * 3);
    assert_eq!(kinesis.count(), 15_000);
}

#[test]
fn a_stream_that_split_and_merged_meanwhile_is_read_whole() {
    let kinesis = check_start(|_, kinesis| {
        let [left, right] = kinesis.split(1);
        kinesis.split(left);
        kinesis.merge(right, 2);
    });
    assert_all_once(&consumed(&kinesis), "s", 3_000, 0);
}

#[test]
fn a_stream_that_is_given_by_its_arn_is_read_whole() {
    let (site, kinesis) = (Site::new(), Kinesis::start_with(8));
    let destination = "kinesis: { stream: \"arn:aws:kinesis:eu-west-1:111122223333:stream/logs\" }";
    site.configure(&yaml(&kinesis, "").destination(destination));
    leave_in_doubt(&site, &kinesis, 3_000);
    Agent::once(&site, SOON);
    assert_all_once(&consumed(&kinesis), "s", 3_000, 0);
}

#[test]
fn a_new_stream_of_the_same_name_gets_what_the_old_one_took_with_it() {
    let kinesis = check_start(|_, kinesis| kinesis.recreate());
    assert_all_once(&consumed(&kinesis), "s", 3_000, 0);
}

#[test]
fn a_stream_that_is_deleted_and_made_anew_while_it_runs_gets_what_was_in_doubt() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, ""));
    let mut writer = Writer::new(&site.log("app.log"), "n");
    writer.lines(100);
    let agent = Agent::run(&site);
    expect("the first lines", SOON, || kinesis.count() == 100);
    kinesis.reading(|_, _| Read::GONE);
    kinesis.plan(|n| if n == 0 { Fault::TakeButHangUp } else { Fault::NO_SUCH_STREAM });
    writer.lines(1_000);
    expect("lines to be taken", SOON, || kinesis.count() > 100);
    writer.lines(200);
    assert!(agent.says(&["looking for it in the stream", "cannot be read back"], SOON), "{}", agent.log());
    assert!(agent.says(&["destination refuses, holding the data"], SOON), "{}", agent.log());
    kinesis.recreate();
    kinesis.reading(|_, _| Read::Pass);
    kinesis.set(Fault::Pass);
    expect("every line that the old stream did not confirm", SOON * 4, || consumed(&kinesis).len() >= 1_200);
    agent.stop();
    let confirmed = kinesis.see(|l| l.data()[..100].to_vec());
    assert_all_once(&[confirmed, consumed(&kinesis)].concat(), "n", 1_300, 0);
}

#[test]
fn a_state_directory_and_logs_that_moved_to_another_place_repeat_nothing() {
    let kinesis = check_start(|site, _| {
        // Copies have other numbers, as on another host.
        for name in ["logs", "state"] {
            let (old, new) = (site.path(name), site.path("moved"));
            fs::rename(&old, &new).expect("a folder can be renamed");
            let copied = std::process::Command::new("cp").args(["-a"]).args([&new, &old]).status();
            assert!(copied.is_ok_and(|status| status.success()));
            fs::remove_dir_all(&new).expect("the old one can go");
        }
    });
    assert_all_once(&consumed(&kinesis), "s", 3_000, 0);
}

#[test]
fn another_configuration_after_a_kill_loses_nothing() {
    let keyed = |field: &str| format!("partition_key: {{ field: {field} }}");
    for after in [String::new(), keyed("last"), format!("aggregate: true, {}", keyed("first"))] {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        let both = r"parse: { regex: '^\w+ (?P<first>\d{7})\d(?P<last>\d\d)' }";
        let yaml = |shape: &str| {
            let yaml =
                Yaml::new("app.log*", &kinesis.url()).destination(&format!("kinesis: {{ stream: logs, {shape} }}"));
            yaml.step(both).step("emit: raw").flow(EXACTLY_ONCE)
        };
        site.configure(&yaml(&format!("aggregate: true, {}", keyed("last"))));
        Writer::new(&site.log("app.log"), "c").lines(20_000);
        // One shard takes nothing: what is in the stream lies between lines that are not.
        kinesis.set(Fault::ThrottleShard(1));
        let agent = Agent::run(&site);
        let taken = || kinesis.see(|l| l.accepted.iter().map(|a| kpl::opened(&a.data).len()).sum::<usize>());
        expect("the other shards to take theirs", SOON, || taken() > 10_000);
        agent.kill();
        kinesis.set(Fault::Pass);
        site.configure(&yaml(&after));
        Agent::once(&site, SOON);
        assert_all_once(&consumed(&kinesis), "c", 20_000, 20_000);
    }
}

#[test]
fn a_stale_state_directory_repeats_records_with_the_same_ids() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, ""));
    let mut writer = Writer::new(&site.log("app.log"), "b");
    writer.lines(1_000);
    Agent::once(&site, SOON);
    let journal = site.state_dir().join("checkpoints/test.journal");
    let backup = fs::read(&journal).expect("a journal");
    writer.lines(500);
    Agent::once(&site, SOON);
    fs::write(&journal, backup).expect("the backup can be put back");
    Agent::once(&site, SOON);
    kinesis.see(|l| {
        assert_eq!(l.accepted.len(), 2_000, "the last 500 come again: nothing says that they were sent");
        let id = |n: usize| l.accepted[n].partition_key.as_str();
        assert!((1_000..1_500).all(|n| id(n) == id(n + 500)), "with their ids");
    });
}

#[test]
fn a_clock_that_was_wrong_when_the_records_were_sent_hides_none_of_them() {
    for offset in [-600, 600] {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        kinesis.set_clock(offset);
        site.configure(&yaml(&kinesis, ""));
        leave_in_doubt(&site, &kinesis, 2_000);
        Agent::once(&site, SOON);
        assert_eq!(kinesis.count(), 2_000, "{offset}");
    }
}

#[test]
fn without_the_permission_to_read_it_does_not_start_and_says_which() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, ""));
    Writer::new(&site.log("app.log"), "p").lines(10);
    let denied = ["ListShards", "GetShardIterator", "GetRecords"].map(|operation| (operation, Read::DENIED, "Access"));
    for (denied, read, words) in denied.into_iter().chain([("GetRecords", Read::KEY_DENIED, "kms:Decrypt")]) {
        kinesis.reading(move |operation, _| if operation == denied { read.clone() } else { Read::Pass });
        let ended = output(command(&site, &["run"]));
        let log = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(78), "{log}");
        assert!(log.contains("kinesis:ListShards, kinesis:GetShardIterator and kinesis:GetRecords"), "{log}");
        assert!(log.contains(words), "{log}");
    }
    assert_eq!(kinesis.count(), 0);
}

#[test]
fn a_stream_that_cannot_be_read_holds_what_may_be_in_it_and_nothing_else() {
    for (read, word) in [(Read::KMS, "KMSDisabled"), (Read::GONE, "ResourceNotFound"), (Read::DENIED, "AccessDenied")] {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        site.configure(&yaml(&kinesis, ""));
        let mut writer = Writer::new(&site.log("app.log"), "h");
        writer.lines(100);
        let mut agent = Agent::run(&site);
        expect("the first lines", SOON, || kinesis.count() == 100);
        kinesis.reading(move |_, _| read.clone());
        kinesis.plan(|n| if n == 0 { Fault::TakeButHangUp } else { Fault::Pass });
        writer.lines(1_000);
        expect("lines to be taken", SOON, || kinesis.count() > 100);
        assert!(agent.says(&[word], SOON), "{word} is not in the log: {}", agent.log());
        writer.lines(200);
        expect("lines behind those in doubt", SOON, || kinesis.count() == 1_300);
        assert!(agent.alive());
        kinesis.reading(|_, _| Read::Pass);
        agent.stop();
        assert_all_once(&consumed(&kinesis), "h", writer.written(), 0);
    }
}

#[test]
fn a_disk_that_takes_no_checkpoint_pauses_delivery_until_it_does() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, ""));
    let in_the_way = site.state_dir().join("checkpoints/test.new");
    fs::create_dir_all(&in_the_way).expect("a folder");
    Writer::new(&site.log("app.log"), "d").lines(500);
    let agent = Agent::run(&site);
    assert!(agent.says(&["nothing more is delivered until it can be written"], SOON), "{}", agent.log());
    assert_eq!(kinesis.count(), 0);
    fs::remove_dir(&in_the_way).expect("it can go");
    expect("every line", SOON, || kinesis.count() == 500);
    agent.stop();
    assert_all_once(&consumed(&kinesis), "d", 500, 0);
}

#[test]
fn a_flow_that_changes_to_exactly_once_and_back_goes_on_where_it_was() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let mut writer = Writer::new(&site.log("app.log"), "w");
    for round in 1..5 {
        let plain = Yaml::new("app.log*", &kinesis.url());
        site.configure(&if round % 2 == 0 { yaml(&kinesis, "") } else { plain });
        writer.lines(300);
        Agent::once(&site, SOON);
    }
    assert_all_once(&consumed(&kinesis), "w", 1_200, 0);
}

/// What it costs to find out what a killed agent sent, into a stream of this many shards that holds others' records too:
/// how long it took from the start, and how many calls.
fn cost(shards: usize, others: usize) -> (Duration, u64) {
    let (site, kinesis) = (Site::new(), Kinesis::start_with(shards));
    site.configure(&yaml(&kinesis, ""));
    leave_in_doubt(&site, &kinesis, 2_000);
    kinesis.change(|l| (0..others).for_each(|n| l.take_anothers(vec![b'o'; 1_000], &n.to_string())));
    let before = kinesis.see(|l| l.reads);
    let start = Instant::now();
    let agent = Agent::run(&site);
    assert!(agent.says(&["found in the stream what the last run sent"], SOON * 2), "{}", agent.log());
    (start.elapsed(), kinesis.see(|l| l.reads) - before)
}

#[test]
fn looking_into_the_stream_takes_its_wait_and_few_calls() {
    for shards in [1, 4, 16] {
        let (took, calls) = cost(shards, 0);
        assert!(took >= Duration::from_secs(1), "{took:?}");
        // A list of three shards a page; of each shard an iterator and two calls a second; and the check at the start.
        let most = shards as u64 * (1 + 2 * (took.as_secs() + 2)) + shards as u64 / 3 + 1 + 3;
        assert!(calls <= most, "{calls} calls for {shards} shards in {took:?}");
    }
    if long() {
        for (shards, others) in [(1, 0), (4, 0), (16, 0), (64, 0), (1, 10_000), (4, 100_000)] {
            let (took, calls) = cost(shards, others);
            eprintln!("| {shards} | {} MB | {:.1} s | {calls} |", others / 1_000, took.as_secs_f64());
        }
    }
}

/// The lines of the checkpoint.
fn journal(site: &Site) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(site.state_dir().join("checkpoints/test.journal")).unwrap_or_default();
    let parse = |line: &str| serde_json::from_str(line.split_once(' ')?.1).ok();
    text.lines().filter_map(parse).collect()
}

/// Generations that the checkpoint says may hold more than is acked.
fn reserved(site: &Site) -> usize {
    let mut open = std::collections::BTreeSet::new();
    for line in journal(site) {
        let generation = |key: &str| line[key]["generation"].as_str().map(str::to_owned);
        open.extend(generation("reserved"));
        if let Some(generation) = generation("released").or_else(|| generation("gone")) {
            open.remove(&generation);
        }
    }
    open.len()
}

#[test]
fn what_was_found_is_given_back_at_once_so_that_another_kill_need_not_look_for_it() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, ""));
    leave_in_doubt(&site, &kinesis, 3_000);
    assert_eq!(reserved(&site), 1);
    let agent = Agent::run(&site);
    assert!(agent.says(&["found in the stream what the last run sent"], SOON));
    // While it runs; an idle file is given back after ten seconds anyway.
    expect("the reservation to be given back", Duration::from_secs(5), || reserved(&site) == 0);
    agent.kill();
    let mut agent = Agent::start(&site, command(&site, &["run", "--once"]));
    assert!(agent.wait(SOON).success());
    let looked = agent.log().matches("looking in the stream for what it may have sent").count();
    assert_eq!(looked, 1, "{}", agent.log());
    kinesis.see(|l| assert_all_once(&l.data(), "s", 3_000, 0));
}

#[test]
fn what_was_found_and_the_calls_that_read_for_it_are_counted() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, "").batch("{ max_age: 50ms, max_records: 250 }"));
    Writer::new(&site.log("app.log"), "f").lines(1_000);
    kinesis.plan(|n| if n < 2 { Fault::TakeButAnswer(500) } else { Fault::Pass });
    let agent = Agent::run(&site);
    expect("all lines to be taken", SOON, || kinesis.count() == 1_000);
    agent.stop();
    let log = fs::read_to_string(site.path("agent.log")).expect("the log is text");
    let sums = log.lines().find(|line| line.contains("flow stopped")).unwrap_or_else(|| panic!("{log}"));
    // At the start each call was tried once, to see whether it may be made.
    let reads = kinesis.see(|l| l.reads) - 3;
    for sum in ["found=500".to_owned(), format!("reads={reads}"), "sent_records=1000".to_owned()] {
        assert!(sums.split(' ').any(|field| field == sum), "no {sum} in {sums}");
    }
}

#[test]
fn another_life_of_a_file_that_begins_with_the_same_long_header_is_read_whole() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, ""));
    let header = "# columns: date time level thread message\n".repeat(50);
    fs::write(site.log("app.log"), &header).expect("a log can be written");
    kinesis.set(Fault::Slow(Duration::from_mins(1)));
    let mut writer = Writer::new(&site.log("app.log"), "a");
    writer.lines(500);
    let agent = Agent::run(&site);
    expect("all lines to be taken", SOON, || kinesis.count() == 550);
    agent.kill();
    kinesis.set(Fault::Pass);
    fs::write(site.log("app.log"), &header).expect("a log can be cut off");
    Writer::new(&site.log("app.log"), "b").lines(2_000);
    Agent::once(&site, SOON);
    let data: Vec<Vec<u8>> = consumed(&kinesis).into_iter().filter(|line| line.starts_with(b"b")).collect();
    assert_all_once(&data, "b", 2_000, 0);
}

#[test]
fn a_file_that_is_left_out_by_now_is_not_waited_for() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, ""));
    leave_in_doubt(&site, &kinesis, 1_000);
    site.configure(&yaml(&kinesis, "").paths("other.log"));
    Agent::once(&site, SOON);
    assert_eq!(kinesis.count(), 1_000);
}

#[test]
fn a_file_in_doubt_that_cannot_be_read_is_not_waited_for_and_said() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let slow = "kinesis: { stream: logs, max_in_flight: 1 }";
    site.configure(&yaml(&kinesis, "").paths("*.log").destination(slow).batch("{ max_age: 50ms }"));
    Writer::new(&site.log("app.log"), "s").lines(10);
    let test = "a_file_in_doubt_that_cannot_be_read_is_not_waited_for_and_said";
    let Some(command) = unprivileged(&site, test, &["run"]) else { return };
    kinesis.set(Fault::Slow(Duration::from_mins(1)));
    let agent = Agent::start(&site, command);
    expect("all lines to be taken", SOON, || kinesis.count() == 10);
    agent.kill();
    // Another is still being read when the one in doubt is tried again after five seconds.
    kinesis.set(Fault::Slow(Duration::from_millis(100)));
    Writer::new(&site.log("other.log"), "o").lines(50_000);
    fs::set_permissions(site.log("app.log"), fs::Permissions::from_mode(0o000)).expect("a mode can be set");
    let mut agent = Agent::start(&site, unprivileged(&site, test, &["run", "--once"]).expect("it could run before"));
    assert_eq!(agent.wait(SOON).code(), Some(1), "{}", agent.log());
    assert_eq!(kinesis.count(), 50_010);
    assert!(agent.log().contains("some files could not be read"), "{}", agent.log());
}

#[test]
fn a_place_where_the_machine_is_another_too_repeats_nothing() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, ""));
    leave_in_doubt(&site, &kinesis, 3_000);
    let mut command = command(&site, &["run", "--once"]);
    command.env("HEADWATER_BOOT_ID", "another machine");
    let mut agent = Agent::start(&site, command);
    assert!(agent.wait(SOON * 2).success());
    assert_all_once(&consumed(&kinesis), "s", 3_000, 0);
}

/// Delivers what is there by now, as after another start of the machine; how it ended.
fn once_after_a_power_cut(site: &Site) -> Option<i32> {
    let mut command = command(site, &["run", "--once"]);
    command.env("HEADWATER_BOOT_ID", "after a power cut");
    let mut agent = Agent::start(site, command);
    agent.wait(SOON).code()
}

#[test]
fn a_rotated_file_in_doubt_that_a_power_cut_made_shorter_than_what_is_acked_is_not_waited_for() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, ""));
    let mut writer = Writer::new(&site.log("app.log"), "r");
    writer.lines(500);
    let mut agent = Agent::run(&site);
    expect("the first lines", SOON, || kinesis.count() == 500);
    fs::rename(site.log("app.log"), site.log("app.log.1")).expect("a log can be renamed");
    fs::write(site.log("app.log"), "").expect("a log");
    let known = || journal(&site).iter().any(|line| line.to_string().contains("app.log.1"));
    expect("the new name to be in the checkpoint", SOON, known);
    kinesis.set(Fault::Slow(Duration::from_mins(1)));
    writer.lines(1_000);
    expect("all lines to be taken", SOON, || kinesis.count() == 1_500);
    assert!(agent.alive());
    agent.kill();
    kinesis.set(Fault::Pass);
    fs::File::options().write(true).open(site.log("app.log.1")).and_then(|file| file.set_len(2_000)).expect("a cut");
    assert_eq!(once_after_a_power_cut(&site), Some(0));
    assert_all_once(&consumed(&kinesis), "r", 1_500, 0);
}

#[test]
fn an_archive_in_doubt_that_is_broken_is_not_waited_for_and_said() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, ""));
    leave_in_doubt(&site, &kinesis, 3_000);
    let gzip = std::process::Command::new("gzip").arg(site.log("app.log")).status();
    assert!(gzip.is_ok_and(|status| status.success()));
    let archive = fs::read(site.log("app.log.gz")).expect("an archive");
    fs::remove_file(site.log("app.log.gz")).expect("it can go");
    fs::write(site.log("app.log.1.gz"), &archive[..archive.len() / 2]).expect("half of it");
    assert_eq!(once_after_a_power_cut(&site), Some(1));
    let log = fs::read_to_string(site.path("agent.log")).expect("the log is text");
    assert!(log.contains("cannot read this file; its place is kept"), "{log}");
    fs::write(site.log("app.log.1.gz"), &archive).expect("all of it");
    assert_eq!(once_after_a_power_cut(&site), Some(0));
    assert_all_once(&consumed(&kinesis), "s", 3_000, 0);
}

#[test]
fn an_iterator_that_expires_in_the_middle_of_a_shard_is_replaced_where_reading_stood() {
    let (site, kinesis) = (Site::new(), Kinesis::start_with(1));
    site.configure(&yaml(&kinesis, ""));
    kinesis.change(|l| (0..12_000).for_each(|n| l.take_anothers(b"another's".to_vec(), &n.to_string())));
    leave_in_doubt(&site, &kinesis, 3_000);
    let mut pages = 0;
    kinesis.reading(move |operation, _| {
        pages += u32::from(operation == "GetRecords");
        // The first is that of the check at the start.
        if operation == "GetRecords" && pages == 4 { Read::EXPIRED } else { Read::Pass }
    });
    Agent::once(&site, SOON * 3);
    assert_eq!(kinesis.count(), 15_000);
}

#[test]
fn which_start_of_the_machine_it_is_the_unit_may_say() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&yaml(&kinesis, ""));
    let epoch = |boot: &str, name: &str| {
        Writer::new(&site.log(name), name).lines(10);
        kinesis.set(Fault::Slow(Duration::from_mins(1)));
        let before = kinesis.count();
        let mut command = command(&site, &["run"]);
        command.env("HEADWATER_BOOT_ID", boot);
        let agent = Agent::start(&site, command);
        expect("the lines to be taken", SOON, || kinesis.count() == before + 10);
        agent.kill();
        kinesis.set(Fault::Pass);
        let last = journal(&site).iter().rev().find_map(|line| line["reserved"]["epoch"].as_u64());
        Agent::once(&site, SOON);
        last.expect("bytes were reserved")
    };
    let (one, same, other) = (epoch("one", "app.log"), epoch("one", "app.log2"), epoch("two", "app.log3"));
    assert!(one == same && one != other, "{one} {same} {other}");
}
