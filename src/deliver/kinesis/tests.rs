//! The sink against a stream emulator, and against a stub that answers what the test says.

use super::*;
use crate::{
    aws::{Aws, StaticKeys},
    deliver::{
        Kinesis, PartitionKey,
        testing::{batch, batch_of},
    },
};
use aws_credential_types::Credentials;
use aws_sdk_kinesis::types::Record;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_types::{DateTime, date_time::Format};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::mpsc,
    time::SystemTime,
};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn options(stream: &str, endpoint: &str) -> Kinesis {
    let keys = StaticKeys { access_key_id: "AKID".into(), secret_access_key: "secret".into(), session_token: None };
    let aws = Aws {
        region: Some("us-east-1".into()),
        endpoint_url: Some(endpoint.into()),
        static_keys: Some(keys),
        ..Aws::default()
    };
    Kinesis { stream: stream.into(), aws, partition_key: PartitionKey::Random, max_in_flight: 2 }
}

struct Request {
    head: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.head.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// Reads one request.
    fn read(stream: &mut impl Read) -> Self {
        let mut reader = BufReader::new(stream);
        let mut lines = std::iter::from_fn(|| {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            Some(line.trim_end().to_owned()).filter(|l| !l.is_empty())
        });
        assert!(lines.next().unwrap().starts_with("POST / "));
        let head: Vec<_> =
            lines.map(|l| l.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).unwrap()).collect();
        let mut request = Self { head, body: Vec::new() };
        request.body.resize(request.header("content-length").parse().unwrap(), 0);
        reader.read_exact(&mut request.body).unwrap();
        request
    }

    /// The signature that the service would compute for what arrived.
    fn expected_signature(&self) -> String {
        let signed = self.header("authorization").split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
        let headers: Vec<&str> = signed.split(';').filter(|n| !matches!(*n, "host" | "x-amz-date")).collect();
        let headers = headers.iter().map(|n| (*n, self.header(n)));
        let uri = format!("http://{}/", self.header("host"));
        let request = SignableRequest::new("POST", uri, headers, SignableBody::Bytes(&self.body)).unwrap();
        let identity = Credentials::new("AKID", "secret", None, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("kinesis")
            .time(self.time())
            .settings(SigningSettings::default())
            .build()
            .unwrap();
        sign(request, &params.into()).unwrap().signature().to_owned()
    }

    fn time(&self) -> SystemTime {
        let d = self.header("x-amz-date");
        let t = format!("{}-{}-{}:{}:{}", &d[..4], &d[4..6], &d[6..11], &d[11..13], &d[13..]);
        DateTime::from_str(&t, Format::DateTime).unwrap().try_into().unwrap()
    }
}

/// Answers one request with `answer` (nothing: hangs up), and gives the reply and the request.
fn ask(stream: &str, batch: &Batch, which: &[u32], answer: Option<(u16, &str)>) -> (Reply, Request) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = answer.map(|(status, body)| {
        format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    });
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        sender.send(Request::read(&mut stream)).unwrap();
        stream.write_all(answer.unwrap_or_default().as_bytes()).unwrap();
    });
    let reply = runtime().block_on(async {
        let sink = KinesisSink::connect(&options(stream, &endpoint)).await.unwrap();
        sink.send(batch, which).await
    });
    (reply, requests.recv().unwrap())
}

const ACCEPTED: &str = r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"s"}]}"#;

#[test]
fn the_service_gets_the_laid_out_body_and_a_signature_over_it() {
    let batch = batch(0, 3);
    let (reply, request) = ask("web", &batch, &[1], Some((200, ACCEPTED)));
    assert!(matches!(reply, Reply::Answered { failed } if failed.is_empty()));
    let mut body = Vec::new();
    body::lay_out(&mut body, &batch, &[1], &Target::new("web").tail());
    assert_eq!(request.body, body);
    assert_eq!(request.header("x-amz-target"), "Kinesis_20131202.PutRecords");
    assert_eq!(request.header("content-type"), "application/x-amz-json-1.1");
    let authorization = request.header("authorization");
    assert!(authorization.contains("/us-east-1/kinesis/aws4_request"), "{authorization}");
    assert_eq!(authorization.split("Signature=").nth(1).unwrap(), request.expected_signature());
}

#[test]
fn the_region_of_an_arn_signs() {
    let arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/web";
    let (_, request) = ask(arn, &batch(0, 1), &[0], Some((200, ACCEPTED)));
    assert!(request.header("authorization").contains("/eu-west-1/kinesis/"));
    assert!(request.body.ends_with(format!("],\"StreamARN\":\"{arn}\"}}").as_bytes()));
}

fn check(answer: Option<(u16, &str)>, class: Class, code: &str, remedy: &str) {
    let (reply, _) = ask("web", &batch(0, 2), &[0, 1], answer);
    let Reply::Failed(failure) = reply else { panic!("{answer:?}: {reply:?}") };
    assert_eq!((failure.class, failure.code.as_str()), (class, code), "{answer:?}: {failure:?}");
    assert!(failure.remedy.as_deref().unwrap_or_default().contains(remedy), "{failure:?}");
}

#[test]
fn every_kind_of_failure_has_its_class() {
    let error = |code: &str| format!(r#"{{"__type":"com.amazonaws.kinesis#{code}","message":"words"}}"#);
    let missing = error("ResourceNotFoundException");
    check(
        Some((400, &missing)),
        Class::Hold,
        "ResourceNotFoundException",
        "stream web does not exist in region us-east-1",
    );
    let denied = error("AccessDeniedException");
    check(Some((400, &denied)), Class::Hold, "AccessDeniedException", "allow kinesis:PutRecords");
    check(Some((400, &error("ExpiredTokenException"))), Class::Credentials, "ExpiredTokenException", "renew");
    check(Some((400, &error("ThrottlingException"))), Class::Throttled, "ThrottlingException", "");
    check(Some((400, &error("ValidationException"))), Class::Reject, "ValidationException", "");
    check(Some((400, &error("NewSinceThen"))), Class::Hold, "NewSinceThen", "");
    check(Some((500, &error("InternalFailure"))), Class::Ambiguous, "InternalFailure", "");
    check(Some((413, "<html>")), Class::Reject, "HTTP 413", "");
    check(Some((503, "")), Class::Throttled, "HTTP 503", "");
    check(Some((502, "<html>")), Class::Ambiguous, "HTTP 502", "");
    check(Some((403, "<html>")), Class::Hold, "HTTP 403", "");
    check(Some((200, "<html>")), Class::Ambiguous, "HTTP 200", "");
    check(Some((200, ACCEPTED)), Class::Ambiguous, "UnreadableReply", "");
    check(Some((200, "{}")), Class::Ambiguous, "UnreadableReply", "");
    check(None, Class::Ambiguous, "ConnectionLost", "");
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
            let sink = KinesisSink::connect(&options("web", &endpoint)).await.unwrap();
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
        let sink = KinesisSink::connect(&options("web", &endpoint)).await.unwrap();
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
    let failure = verdict::of(&error, "web", "us-east-1");
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
fn records_that_are_too_long_are_refused_and_the_others_kept() {
    let long = vec![b'x'; MAX_KINESIS_RECORD + 1];
    let batch = batch_of(0, &[b"a", &long, &long[1..]]);
    assert!(oversize(&batch, &[0, 2]).is_none());
    let Some(Reply::Answered { failed }) = oversize(&batch, &[0, 1]) else { panic!("too long") };
    let classes: Vec<_> = failed.iter().map(|(position, f)| (*position, f.class)).collect();
    assert_eq!(classes, [(0, Class::Again), (1, Class::Reject)]);
}

#[test]
fn what_is_sent_can_be_read_from_the_stream() {
    runtime().block_on(async {
        let store = ferrokinesis::store::StoreOptions { create_stream_ms: 0, ..Default::default() };
        let (app, _store) = ferrokinesis::create_app(store);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(ferrokinesis::serve_plain_http(listener, app, std::future::pending()));
        let sink = KinesisSink::connect(&options("web", &endpoint)).await.unwrap();
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
        let keys = which.map(|i| body::random_key(batch.record_id(i as usize)));
        let sent: Vec<_> =
            which.iter().zip(&keys).map(|(i, k)| (batch.record(*i as usize).to_vec(), k.to_vec())).collect();
        assert_eq!(records, sent);
        server.abort();
    });
}
