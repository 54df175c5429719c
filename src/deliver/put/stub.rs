//! A service that answers what the test says, and the tests that every service passes.

use super::{Put, Service};
use crate::{
    aws::{Aws, StaticKeys},
    deliver::{courier::Sink, errors::Class, job::Reply, testing::batch},
    model::Batch,
};
use aws_credential_types::Credentials;
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

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Static keys, a region, and an endpoint.
pub(crate) fn access(endpoint: &str) -> Aws {
    let keys = StaticKeys { access_key_id: "AKID".into(), secret_access_key: "secret".into(), session_token: None };
    Aws {
        region: Some("us-east-1".into()),
        endpoint_url: Some(endpoint.into()),
        static_keys: Some(keys),
        ..Aws::default()
    }
}

/// One request as it arrived.
pub(crate) struct Request {
    head: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A header's value; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
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
    pub(crate) fn expected_signature(&self, service: &str) -> String {
        let signed = self.header("authorization").split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
        let headers: Vec<&str> = signed.split(';').filter(|n| !matches!(*n, "host" | "x-amz-date")).collect();
        let headers = headers.iter().map(|n| (*n, self.header(n)));
        let uri = format!("http://{}/", self.header("host"));
        let request = SignableRequest::new("POST", uri, headers, SignableBody::Bytes(&self.body)).unwrap();
        let identity = Credentials::new("AKID", "secret", None, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name(service)
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
pub(crate) fn ask<S: Service>(
    connect: impl AsyncFnOnce(Aws) -> Put<S>,
    batch: &Batch,
    which: &[u32],
    answer: Option<(u16, &str)>,
) -> (Reply, Request) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let aws = access(&format!("http://{}", listener.local_addr().unwrap()));
    let answer = answer.map(|(status, body)| {
        format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    });
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        sender.send(Request::read(&mut stream)).unwrap();
        stream.write_all(answer.unwrap_or_default().as_bytes()).unwrap();
    });
    let reply = runtime().block_on(async { connect(aws).await.send(batch, which).await });
    (reply, requests.recv().unwrap())
}

/// Failures of a whole request of two records, with the classes that every service gives them.
/// `accepted` is an answer to one record.
pub(crate) fn check_failures<S: Service>(connect: impl AsyncFn(Aws) -> Put<S>, accepted: &str) {
    let check = |answer: Option<(u16, &str)>, class: Class, code: &str, remedy: &str| {
        let (reply, _) = ask(&connect, &batch(0, 2), &[0, 1], answer);
        let Reply::Failed(failure) = reply else { panic!("{answer:?}: {reply:?}") };
        assert_eq!((failure.class, failure.code.as_str()), (class, code), "{answer:?}: {failure:?}");
        assert!(failure.remedy.as_deref().unwrap_or_default().contains(remedy), "{failure:?}");
    };
    let error = |code: &str| format!(r#"{{"__type":"com.amazonaws.service#{code}","message":"words"}}"#);
    let missing = error("ResourceNotFoundException");
    let none = "stream web does not exist in region us-east-1";
    check(Some((400, &missing)), Class::Hold, "ResourceNotFoundException", none);
    let denied = error("AccessDeniedException");
    check(Some((400, &denied)), Class::Hold, "AccessDeniedException", &format!("allow {}", S::ACTION));
    check(Some((400, &error("ExpiredTokenException"))), Class::Credentials, "ExpiredTokenException", "renew");
    check(Some((400, &error("ThrottlingException"))), Class::Throttled, "ThrottlingException", "");
    check(Some((400, &error("ValidationException"))), Class::Reject, "ValidationException", "");
    check(Some((400, &error("NewSinceThen"))), Class::Hold, "NewSinceThen", "");
    check(Some((500, &error("InternalFailure"))), Class::Ambiguous, "InternalFailure", "");
    let busy = error("ServiceUnavailableException");
    check(Some((503, &busy)), Class::Throttled, "ServiceUnavailableException", "");
    check(Some((413, "<html>")), Class::Reject, "HTTP 413", "");
    check(Some((503, "")), Class::Throttled, "HTTP 503", "");
    check(Some((502, "<html>")), Class::Ambiguous, "HTTP 502", "");
    check(Some((403, "<html>")), Class::Hold, "HTTP 403", "");
    let xml = "<Error><Code>SignatureDoesNotMatch</Code><Message>It does not match.</Message></Error>";
    check(Some((403, xml)), Class::Credentials, "SignatureDoesNotMatch", "check the secret key");
    check(Some((200, xml)), Class::Ambiguous, "HTTP 200", "");
    check(Some((200, "<html>")), Class::Ambiguous, "HTTP 200", "");
    check(Some((200, accepted)), Class::Ambiguous, "UnreadableReply", "");
    check(Some((200, "{}")), Class::Ambiguous, "UnreadableReply", "");
    check(None, Class::Ambiguous, "ConnectionLost", "");
}
