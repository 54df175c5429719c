//! A consumer that opens aggregated records with the library that AWS gives to consumers, in a Python process. Where that
//! library is missing the tests say so. Knows no stream.

use std::{
    env,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde::Deserialize;
use serde_json::json;

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
    const NEEDS: &str = "no aws_kinesis_agg: pip install aws_kinesis_agg six";
    let named = env::var_os("HEADWATER_TEST_PYTHON");
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let has_it =
        Command::new(&python).args(["-B", "-c", "import collections.abc, aws_kinesis_agg.deaggregator"]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        assert!(named.is_none(), "{} has {NEEDS}", python.display());
        skipped(test, &format!("{NEEDS}, and name that Python in HEADWATER_TEST_PYTHON"));
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/consumer.py");
    let mut child = Command::new(&python)
        .arg("-B")
        .arg(script)
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
    let output = child.wait_with_output().expect("the consumer ends");
    assert!(output.status.success() && writer.join().expect("no panic").is_ok(), "the consumer failed");
    let consumed = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Some(consumed.map(|line| serde_json::from_slice(line).expect("a line of JSON")).collect())
}
