//! A real-looking AWS beside the test: moto (Firehose into S3, IAM, STS) in a Python process of its own, which also sets
//! it up and looks into it. Breaks nothing: for faults there is `faults`. Where moto is missing the tests say so.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use super::skipped;

/// The account whose users the tests make.
pub(crate) const OWN: &str = "123456789012";

/// The running process. Ends when dropped.
pub(crate) struct Moto {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    port: u64,
}

impl Moto {
    /// `None`, and the test says so, where there is no moto. A Python that `HEADWATER_TEST_PYTHON` names has to have it.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let named = env::var_os("HEADWATER_TEST_PYTHON");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/moto_operator.py");
        let python = named.clone().unwrap_or_else(|| "python3".into());
        let child = Command::new(&python)
            .arg("-B")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let port = child.ok().and_then(|mut child| {
            let orders = child.stdin.take().expect("it is piped");
            let mut answers = BufReader::new(child.stdout.take().expect("it is piped"));
            let mut line = String::new();
            let port = answers.read_line(&mut line).ok().and_then(|_| line.trim().parse().ok());
            let mut moto = Self { child, orders, answers, port: 0 };
            moto.port = port?;
            Some(moto)
        });
        if port.is_none() {
            assert!(named.is_none(), "{} has no moto: pip install moto flask flask-cors", python.display());
            skipped(test, "no moto: pip install moto flask flask-cors, and name that Python in HEADWATER_TEST_PYTHON");
        }
        port
    }

    /// What belongs into `endpoint_url`, whatever the service.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A delivery stream into a bucket of the same name.
    pub(crate) fn firehose(&mut self, stream: &str, account: &str) {
        self.order("firehose", &json!({ "stream": stream, "account": account }));
    }

    /// The content of every object of a bucket, in no particular order.
    pub(crate) fn objects(&mut self, bucket: &str, account: &str) -> Vec<Vec<u8>> {
        let objects: Vec<String> = self.ask("objects", &json!({ "bucket": bucket, "account": account }));
        let decode = |text: String| base64_simd::STANDARD.decode_to_vec(text).expect("base64");
        objects.into_iter().map(decode).collect()
    }

    /// A user of the own account: key id and secret.
    pub(crate) fn user(&mut self, name: &str, allow: &str) -> (String, String) {
        self.ask("user", &json!({ "name": name, "allow": allow }))
    }

    /// A role that everybody may assume: its ARN.
    pub(crate) fn role(&mut self, name: &str, allow: &str, account: &str) -> String {
        self.ask("role", &json!({ "name": name, "allow": allow, "account": account }))
    }

    /// Name and external id of each session of an account's roles.
    pub(crate) fn assumed(&mut self, account: &str) -> Vec<(String, Option<String>)> {
        self.ask("assumed", &json!({ "account": account }))
    }

    /// From now on every request needs a good signature and a permission.
    pub(crate) fn check_signatures(&mut self) {
        self.order("check_signatures", &json!({}));
    }

    /// What `CloudWatch` holds of a namespace, over the last hour.
    pub(crate) fn metrics(&mut self, namespace: &str) -> Vec<Metric> {
        self.ask("metrics", &json!({ "namespace": namespace }))
    }

    fn ask<T: serde::de::DeserializeOwned>(&mut self, what: &str, arguments: &Value) -> T {
        serde_json::from_value(self.order(what, arguments)).expect("an answer of the agreed kind")
    }

    fn order(&mut self, what: &str, arguments: &Value) -> Value {
        writeln!(self.orders, "{}", json!([what, arguments])).expect("the operator listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the operator answers");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("moto could not do this: {what} {arguments}"))
    }
}

/// What `CloudWatch` holds of a metric.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) unit: String,
    /// `NAME=VALUE`, in order.
    pub(crate) dimensions: Vec<String>,
    pub(crate) sum: u64,
    pub(crate) count: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
