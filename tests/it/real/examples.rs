//! Every file of `config-examples/`, run as it stands but for its folders: what its comments promise comes out.

use std::{collections::BTreeMap, fs, path::Path};

use crate::support::{
    SOON,
    agent::{Agent, command, output},
    expect,
    faults::Kinesis,
    site::Site,
};

/// An example: a log with its text, and what the stream then holds (`@` stands for the logs' folder).
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const CASES: [Case; 11] = [
    (
        "agent.json",
        &[("app/app.log", "one\n"), ("app/orders.csv", "7,tea,1.50\n")],
        &["one\n", "{\"id\":\"7\",\"item\":\"tea\",\"price\":\"1.50\"}\n"],
    ),
    (
        "csv-output.yaml",
        &[("sensors/a.txt", "time sensor value\n---- ------ -----\n10:00 t1 20.5\nbroken\n10:01 t1 -3\n")],
        &["10:00;unknown;t1;20.5\n", "10:01;unknown;t1;-3\n"],
    ),
    (
        "filter-and-redact.yaml",
        &[
            (
                "shop/orders.log",
                "{\"level\":\"DEBUG\"}\n\
                 {\"level\":\"INFO\",\"msg\":\"ann@example.org paid 4111111111111111\",\"password\":\"x\",\"ms\":12}\n",
            ),
            ("shop/web.log", "GET /health\nGET /?token=abc&x=1\n"),
        ],
        &[
            "{\"level\":\"INFO\",\"message\":\"***@example.org paid ************1111\",\"ms\":12,\"app\":{\"name\":\"shop\",\"tier\":1}}\n",
            "GET /?token=***&x=1\n",
        ],
    ),
    (
        "csv-to-json.yaml",
        &[("orders/a.csv", "ordered,item,quantity,price\n2026-11-20 10:00:00,\"tea, green\",2,1.50\n1,2,3,4,5\n")],
        &[concat!(
            r#"{"ordered":"2026-11-20T10:00:00+01:00","item":"tea, green","quantity":2,"price":1.50,"file":"a.csv"}"#,
            "\n"
        )],
    ),
    ("exactly-once.yaml", &[("audit/audit.log", "type=LOGIN pid=1\n")], &["type=LOGIN pid=1\n"]),
    (
        "java-multiline.yaml",
        &[("billing/a.log", "2026-11-20 10:00:00,1 ERROR boom\n\tat x.Y\n2026-11-20 10:00:01,2 INFO fine\n")],
        &["boom\\n\\tat x.Y", "\"level\":\"INFO\",\"message\":\"fine\",\"service\":\"billing\""],
    ),
    (
        "json-app.yaml",
        &[("app/events.log", "{\"n\":1.10}\nnot json\n"), ("app/audit.log", "who did what\n")],
        &["{\"n\":1.10,\"environment\":\"production\",\"host\":", "who did what\n"],
    ),
    (
        "nginx-to-firehose.yaml",
        &[(
            "nginx/access.log",
            "::1 - - [20/Nov/2026:10:00:00 +0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"curl\"\n\
             ::1 - - [20/Nov/2026:10:00:00 +0000] \"GET /b HTTP/1.1\" 404 0 \"-\" \"curl\"\n",
        )],
        &["access.log\"}\n{\"host\":\"::1\",\"ident\""],
    ),
    (
        "nginx-to-kinesis.yaml",
        &[("nginx/site/access.log", "::1 - - [20/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"curl\"\n")],
        &["\"request\":\"GET / HTTP/1.1\",\"response\":\"200\",\"bytes\":\"5\",\"referrer\":\"-\",\"agent\":\"curl\""],
    ),
    (
        "syslog.yaml",
        &[
            ("syslog", "Oct 11 22:14:15 web-1 su[7]: 'su root' failed\nOct 11 22:14:16 web-1 CRON[8]: (root) CMD\n"),
            ("auth.log", "Oct 11 22:14:17 web-1 sshd[9]: hello\n"),
        ],
        &[
            "-10-11T22:14:15Z\",\"hostname\":\"web-1\",\"program\":\"su\",\"processid\":\"7\",\"message\":\"'su root' failed\"}\n",
            "-10-11T22:14:17Z\",\"hostname\":\"web-1\",\"program\":\"sshd\",\"processid\":\"9\",\"message\":\"hello\"}\n",
        ],
    ),
    ("quickstart-stdout.yaml", &[("app.log", "one\ntwo\n")], &["one\n", "two\n"]),
];

fn examples() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config-examples");
    fs::read_dir(folder)
        .expect("the examples are there")
        .map(|entry| entry.expect("a name").path())
        .map(|path| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("an example is text"))
        })
        .collect()
}

/// The example with its folders inside the site, and without the role that no service here can give.
fn adapted(site: &Site, text: &str) -> String {
    let logs = site.log("").display().to_string();
    let logs = logs.trim_end_matches('/');
    let keep = |line: &&str| !["state_dir:", "role_arn:", "external_id:"].iter().any(|k| line.trim().starts_with(k));
    let text = text.lines().filter(keep).collect::<Vec<_>>().join("\n");
    let text = text.replace("/var/spool", logs).replace("/var/log", logs);
    // What is not YAML gets its state directory from the environment.
    let state_dir =
        if text.starts_with("//") { String::new() } else { format!("state_dir: {}\n", site.state_dir().display()) };
    format!("{state_dir}{text}\n")
}

#[test]
fn every_example_is_run_and_delivers_what_it_says() {
    let mut texts = examples();
    for (name, logs, expected) in CASES {
        let text = texts.remove(name).unwrap_or_else(|| panic!("{name} is gone; take its case out"));
        let (site, kinesis) = (Site::new(), Kinesis::start());
        site.configure_raw(&adapted(&site, &text));
        for (log, content) in logs {
            let path = site.log(log);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for the log");
            fs::write(path, content).expect("the log can be written");
        }
        let mut once = command(&site, &["run", "--once"]);
        once.env("AWS_REGION", "eu-west-1").env("AWS_ENDPOINT_URL", kinesis.url());
        once.env("HEADWATER_STATE_DIR", site.state_dir());
        let mut records: Vec<String> = if name.contains("stdout") {
            let said = String::from_utf8(output(once).stdout).expect("the log was text");
            said.split_inclusive('\n').map(str::to_owned).collect()
        } else {
            let mut agent = Agent::start(&site, once);
            expect("the agent to end", SOON, || !agent.alive());
            kinesis.see(|l| l.data().iter().map(|d| String::from_utf8_lossy(d).into_owned()).collect())
        };
        for part in expected {
            let found = records.iter().position(|r| r.contains(part));
            records.remove(found.unwrap_or_else(|| panic!("{name}: no record holds {part:?} among {records:?}")));
        }
        assert!(records.is_empty(), "{name}: not expected: {records:?}");
    }
    assert!(texts.is_empty(), "examples without a case: {:?}", texts.keys());
}

#[test]
fn the_sql_that_takes_repeats_out_does() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/DEDUPLICATION.md"));
    let text = text.expect("the document is there");
    let blocks: Vec<&str> = text.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [view, fill] = blocks[..] else { panic!("{} pieces of SQL", blocks.len()) };
    let base = rusqlite::Connection::open_in_memory().expect("a data base in memory");
    let run = |sql: &str| base.execute_batch(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    run("CREATE TABLE lines (id TEXT, line TEXT, arrived INT); CREATE TABLE clean (id TEXT, line TEXT);");
    run(view);
    for (round, rows) in ["('a', 'one', 1), ('b', 'two', 2), ('a', 'one', 3)", "('b', 'two', 4), ('c', 'three', 5)"]
        .into_iter()
        .enumerate()
    {
        run(&format!("INSERT INTO lines VALUES {rows}"));
        run(fill);
        let count = |table: &str| {
            base.query_row(&format!("SELECT COUNT(*), COUNT(DISTINCT id) FROM {table}"), [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
        };
        let lines = 2 + i64::try_from(round).expect("few");
        assert_eq!((count("clean"), count("lines_once")), (Ok((lines, lines)), Ok((lines, lines))));
    }
}
