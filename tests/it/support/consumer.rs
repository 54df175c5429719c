//! Consumers that open aggregated records with the library that AWS gives to them, in a Python process. Where that library
//! is missing the tests say so. Knows no stream.

use std::{
    env,
    io::Write as _,
    process::{Command, Stdio},
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{skipped, stand_in::Received};

/// A record as the consumer's code sees it.
#[derive(Deserialize)]
pub(crate) struct Consumed {
    /// Which of the records of the stream it came in.
    pub(crate) stored: usize,
    /// That one held several.
    pub(crate) aggregated: bool,
    pub(crate) key: String,
    pub(crate) hash: Option<String>,
    data: String,
}

impl Consumed {
    pub(crate) fn data(&self) -> Vec<u8> {
        base64_simd::STANDARD.decode_to_vec(&self.data).expect("base64")
    }
}

/// Opens what the stream holds. `None`, and the test says so, where there is no library. A Python that
/// `HEADWATER_TEST_PYTHON` names has to have it.
pub(crate) fn open(test: &str, stored: &[Received]) -> Option<Vec<Consumed>> {
    run(test, "aws_kinesis_agg six", "aws_kinesis_agg.deaggregator", &["tests/it/support/consumer.py"], stored)
}

/// What is in the table of the Lambda function of docs/DEDUPLICATION.md, which saw all that the stream holds twice. `None`
/// as for `open`.
pub(crate) fn handled(test: &str, stored: &[Received]) -> Option<Vec<Value>> {
    let arguments = ["tests/it/support/lambda.py", "docs/DEDUPLICATION.md"];
    let modules = "aws_kinesis_agg.deaggregator, moto.dynamodb, boto3";
    run(test, "aws_kinesis_agg six moto", modules, &arguments, stored)
}

/// What a script of this repository says, line by line, of what the stream holds.
fn run<T: DeserializeOwned>(
    test: &str,
    packages: &str,
    modules: &str,
    script: &[&str],
    stored: &[Received],
) -> Option<Vec<T>> {
    let named = env::var_os("HEADWATER_TEST_PYTHON");
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let has_it = Command::new(&python).args(["-B", "-c", &format!("import collections.abc, {modules}")]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        let needs = format!("not all of {packages}: pip install {packages}");
        assert!(named.is_none(), "{} has {needs}", python.display());
        skipped(test, &format!("{needs}, and name that Python in HEADWATER_TEST_PYTHON"));
        return None;
    }
    let mut child = Command::new(&python)
        .arg("-B")
        .args(script)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was started before");
    let lines: Vec<String> = stored
        .iter()
        .map(|r| json!({ "key": r.partition_key, "data": base64_simd::STANDARD.encode_to_string(&r.data) }).to_string())
        .collect();
    let mut stdin = child.stdin.take().expect("it is piped");
    let writer = std::thread::spawn(move || stdin.write_all(lines.join("\n").as_bytes()));
    let output = child.wait_with_output().expect("the script ends");
    assert!(output.status.success() && writer.join().expect("no panic").is_ok(), "the script failed");
    let said = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Some(said.map(|line| serde_json::from_slice(line).expect("a line of JSON")).collect())
}
