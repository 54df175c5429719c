//! The sink against a stream emulator, and against a stub that answers what the test says.

use super::*;
use crate::{
    aws::Aws,
    deliver::{
        Kinesis, MaxRate, PartitionKey,
        courier::Sink,
        errors::Class,
        job::Reply,
        put::{stub, verdict},
        testing::{batch, batch_of},
    },
};
use aws_sdk_kinesis::types::Record;
use std::{io::Write, net::TcpListener};
use stub::{Request, access, runtime};

fn now() -> Now {
    Now { mono: std::time::Instant::now(), wall: 0 }
}

async fn connect(stream: &str, aws: Aws) -> KinesisSink {
    let options = Kinesis {
        stream: stream.into(),
        aws,
        partition_key: PartitionKey::Random,
        aggregate: None,
        keeps_order: false,
        exactly_once: None,
        max_in_flight: 2,
        max_rate: MaxRate::default(),
    };
    Box::pin(KinesisSink::connect(&options, Arc::default(), now())).await.unwrap()
}

fn ask(stream: &str, batch: &Batch, which: &[u32], answer: Option<(u16, &str)>) -> (Reply, Request) {
    stub::ask(async |aws| connect(stream, aws).await, batch, which, answer)
}

/// The body of a request to the stream `web`.
pub(crate) fn laid_out(aggregates: bool, ids: bool, batch: &Batch, which: &[u32]) -> Vec<u8> {
    let mut out = vec![1; 3];
    Stream::new("web", Routing { aggregates, ids }).lay_out(&mut out, batch, which);
    out
}

#[test]
fn the_body_is_laid_out_as_the_service_expects() {
    let batch = batch_of(0, &[b"hello\n", b"", b"skipped", b"\xff\x00"]);
    let key = |i| String::from_utf8(batch.record_id(i).random_key().to_vec()).unwrap();
    let expected = format!(
        "{{\"Records\":[{{\"Data\":\"aGVsbG8K\",\"PartitionKey\":\"{}\"}},{{\"Data\":\"\",\"PartitionKey\":\"{}\"}},\
         {{\"Data\":\"/wA=\",\"PartitionKey\":\"{}\"}}],\"StreamName\":\"web\"}}",
        key(0),
        key(1),
        key(3)
    );
    assert_eq!(String::from_utf8(laid_out(false, false, &batch, &[0, 1, 3])).unwrap(), expected);
}

#[test]
fn exactly_once_makes_the_id_the_partition_key_and_routes_by_the_users() {
    let mut batch = batch_of(0, &[b"hello\n", b"a"]);
    let plain = String::from_utf8(laid_out(false, true, &batch, &[0])).unwrap();
    assert!(plain.contains(r#""Data":"aGVsbG8K","PartitionKey":"hw1.0000000000000007.0-6"}]"#), "{plain}");
    batch.keys.push("client");
    let expected = u128::from_str_radix("62608e08adc29a8d6dbc9754e659f125", 16).unwrap();
    let chosen = String::from_utf8(laid_out(false, true, &batch, &[0])).unwrap();
    let hash = format!(r#""PartitionKey":"hw1.0000000000000007.0-6","ExplicitHashKey":"{expected}"}}"#);
    assert!(chosen.contains(&hash), "{chosen}");
}

#[test]
fn a_stream_is_a_name_or_an_arn() {
    let arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/web";
    assert_eq!(Stream::new(arn, Routing::default()).tail, format!("],\"StreamARN\":\"{arn}\"}}").as_bytes());
    assert_eq!(Stream::new("a\"b", Routing::default()).tail, br#"],"StreamName":"a\"b"}"#);
}

const ACCEPTED: &str = r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"s"}]}"#;

#[test]
fn the_service_gets_the_laid_out_body_and_a_signature_over_it() {
    let batch = batch(0, 3);
    let (reply, request) = ask("web", &batch, &[1], Some((200, ACCEPTED)));
    assert!(matches!(reply, Reply::Answered { failed } if failed.is_empty()));
    assert_eq!(request.body, laid_out(false, false, &batch, &[1]));
    assert_eq!(request.header("x-amz-target"), "Kinesis_20131202.PutRecords");
    assert_eq!(request.header("content-type"), "application/x-amz-json-1.1");
    let authorization = request.header("authorization");
    assert!(authorization.contains("/us-east-1/kinesis/aws4_request"), "{authorization}");
    assert_eq!(authorization.split("Signature=").nth(1).unwrap(), request.expected_signature("kinesis"));
}

#[test]
fn the_region_of_an_arn_signs() {
    let arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/web";
    let (_, request) = ask(arn, &batch(0, 1), &[0], Some((200, ACCEPTED)));
    assert!(request.header("authorization").contains("/eu-west-1/kinesis/"));
    assert!(request.body.ends_with(format!("],\"StreamARN\":\"{arn}\"}}").as_bytes()));
}

#[test]
fn every_kind_of_failure_has_its_class() {
    stub::check_failures(async |aws| connect("web", aws).await, ACCEPTED);
}

#[test]
fn a_request_that_was_never_sent_is_not_ambiguous() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (endpoint, class) in [
        (format!("http://{closed}"), Class::Again),
        ("http://no-such-host.invalid".into(), Class::Again),
        ("http://[bad".into(), Class::Hold),
    ] {
        let reply = runtime().block_on(async {
            let sink = connect("web", access(&endpoint)).await;
            sink.send(&batch(0, 1), &[0]).await
        });
        assert!(matches!(&reply, Reply::Failed(f) if f.class == class), "{endpoint}: {reply:?}");
    }
}

#[test]
fn a_peer_that_does_not_speak_tls_holds_the_data() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 X\r\n\r\n").unwrap();
        // Reads what is left, so that closing does not reset the connection.
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    });
    let reply = runtime().block_on(async {
        let sink = connect("web", access(&endpoint)).await;
        sink.send(&batch(0, 1), &[0]).await
    });
    assert!(matches!(&reply, Reply::Failed(f) if f.class == Class::Hold && f.code == "Tls"), "{reply:?}");
}

#[test]
fn credentials_that_cannot_be_found_hold_the_data() {
    use aws_credential_types::provider::error::CredentialsError;
    use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
    let cause = CredentialsError::not_loaded("no providers in chain provided credentials");
    let error = SdkError::dispatch_failure(ConnectorError::other(cause.into(), None));
    let failure = verdict::of::<PutRecordsError>(
        &error,
        verdict::Asked { action: "a:B", stream: "web", region: "us-east-1", role: Some("r"), exactly_once: false },
    );
    assert_eq!(failure.class, Class::Credentials);
    assert!(failure.message.contains("no providers in chain"), "{failure:?}");
    assert!(failure.remedy.unwrap().contains("AWS_ACCESS_KEY_ID"));
}

#[test]
fn failed_records_are_named_by_their_place_in_the_request() {
    let answer = r#"{"FailedRecordCount":2,"Records":[
        {"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"shard 7"},
        {"SequenceNumber":"1","ShardId":"s"},
        {"ErrorCode":"InternalFailure","ErrorMessage":"Internal Service Failure"}]}"#;
    let (reply, _) = ask("web", &batch(0, 5), &[0, 2, 4], Some((200, answer)));
    let Reply::Answered { failed } = reply else { panic!("{reply:?}") };
    let failed: Vec<_> = failed.into_iter().map(|(p, f)| (p, f.class, f.message)).collect();
    let internal = "Internal Service Failure".to_owned();
    assert_eq!(failed, [(0, Class::Throttled, "shard 7".to_owned()), (2, Class::Ambiguous, internal)]);
}

#[test]
fn what_is_sent_can_be_read_from_the_stream() {
    runtime().block_on(async {
        let store = ferrokinesis::store::StoreOptions { create_stream_ms: 0, ..Default::default() };
        let (app, _store) = ferrokinesis::create_app(store);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(ferrokinesis::serve_plain_http(listener, app, std::future::pending()));
        let sink = connect("web", access(&endpoint)).await;
        let client = sink.client().await;
        client.create_stream().stream_name("web").shard_count(1).send().await.unwrap();
        let batch = batch_of(0, &[b"one\n", b"skipped", b"", b"\xff\x00binary", &vec![b'x'; 100_000]]);
        let which = [0, 2, 3, 4];
        let reply = loop {
            // The stream becomes active a moment after its creation.
            match sink.send(&batch, &which).await {
                Reply::Failed(f) if f.code == "ResourceNotFoundException" => tokio::task::yield_now().await,
                reply => break reply,
            }
        };
        assert!(matches!(&reply, Reply::Answered { failed } if failed.is_empty()), "{reply:?}");
        let shard = client.list_shards().stream_name("web").send().await.unwrap().shards()[0].shard_id().to_owned();
        let iterator = client.get_shard_iterator().stream_name("web").shard_id(shard);
        let iterator = iterator.shard_iterator_type("TRIM_HORIZON".into()).send().await.unwrap();
        let iterator = iterator.shard_iterator.unwrap();
        let read = client.get_records().shard_iterator(iterator).send().await.unwrap();
        let pair = |r: &Record| (r.data.clone().into_inner(), r.partition_key.clone().unwrap().into_bytes());
        let records: Vec<_> = read.records().iter().map(pair).collect();
        let keys = which.map(|i| batch.record_id(i as usize).random_key());
        let sent: Vec<_> =
            which.iter().zip(&keys).map(|(i, k)| (batch.record(*i as usize).to_vec(), k.to_vec())).collect();
        assert_eq!(records, sent);
        server.abort();
    });
}
