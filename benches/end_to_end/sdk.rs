//! The measure of the agent's own cost: the SDK alone, sending the same lines 500 a request, or as many as records of a
//! size hold, 8 requests under way.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    primitives::Blob,
    types::PutRecordsRequestEntry,
};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use tokio::task::JoinSet;

/// Bytes of a request, at most.
const REQUEST: usize = 5 << 20;

/// Sends every line of `file` to `url` and ends; a record holds lines of `record` bytes, or one where that is 0.
/// `AWS_CA_BUNDLE` names the authority, if any.
pub(crate) fn main(file: &Path, url: &str, record: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(send(file, &client(url), record));
}

fn client(url: &str) -> Client {
    let mut trust = TrustStore::empty();
    if let Some(bundle) = std::env::var_os("AWS_CA_BUNDLE") {
        trust = trust.with_pem_certificate(fs::read(bundle).expect("the CA file can be read"));
    }
    let context = TlsContext::builder().with_trust_store(trust).build().expect("a TLS context");
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build_https();
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "bench"))
        .retry_config(RetryConfig::disabled())
        .http_client(http)
        .endpoint_url(url)
        .build();
    Client::from_conf(config)
}

async fn send(file: &Path, client: &Client, record: usize) {
    let mut file = BufReader::with_capacity(1 << 20, fs::File::open(file).expect("the log"));
    let mut under_way = JoinSet::new();
    let mut number = 0_u64;
    let requests = REQUEST.checked_div(record).unwrap_or(500);
    loop {
        let mut entries = Vec::with_capacity(requests);
        while entries.len() < requests {
            let mut data = Vec::with_capacity(record.max(200));
            if record == 0 {
                file.read_until(b'\n', &mut data).expect("the log can be read");
            } else {
                file.by_ref().take(record as u64).read_to_end(&mut data).expect("the log can be read");
            }
            if data.is_empty() {
                break;
            }
            number += 1;
            let entry = PutRecordsRequestEntry::builder().data(Blob::new(data)).partition_key(format!("{number:010}"));
            entries.push(entry.build().expect("data and key are set"));
        }
        if entries.is_empty() {
            break;
        }
        if under_way.len() >= 8 {
            under_way.join_next().await;
        }
        let request = client.put_records().stream_name("bench").set_records(Some(entries));
        under_way.spawn(async move { request.send().await.expect("the sink says yes") });
    }
    while let Some(answer) = under_way.join_next().await {
        answer.expect("a request does not panic");
    }
}
