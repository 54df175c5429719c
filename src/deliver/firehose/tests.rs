//! The sink against a stub that answers what the test says.

use super::*;
use crate::{
    aws::Aws,
    deliver::{
        Firehose, MaxRate,
        errors::Class,
        job::Reply,
        put::stub::{self, Request},
        testing::{batch, batch_of},
    },
};

const ARN: &str = "arn:aws:firehose:eu-west-1:111122223333:deliverystream/web";
const ACCEPTED: &str = r#"{"FailedPutCount":0,"Encrypted":false,"RequestResponses":[{"RecordId":"1"}]}"#;

async fn connect(stream: &str, aws: Aws) -> FirehoseSink {
    let max_rate = MaxRate::default();
    let options =
        Firehose { stream: stream.into(), aws, aggregate: None, add_newline: true, max_in_flight: 2, max_rate };
    FirehoseSink::connect(&options).await.unwrap()
}

fn ask(stream: &str, batch: &Batch, which: &[u32], answer: &str) -> (Reply, Request) {
    stub::ask(async |aws| connect(stream, aws).await, batch, which, Some((200, answer)))
}

#[test]
fn the_service_gets_the_laid_out_body_and_a_signature_over_it() {
    let batch = batch_of(0, &[b"skipped", b"hello\n"]);
    let (reply, request) = ask("web", &batch, &[1], ACCEPTED);
    assert!(matches!(reply, Reply::Answered { failed } if failed.is_empty()));
    assert_eq!(request.body, br#"{"Records":[{"Data":"aGVsbG8K"}],"DeliveryStreamName":"web"}"#);
    assert_eq!(request.header("x-amz-target"), "Firehose_20150804.PutRecordBatch");
    assert_eq!(request.header("content-type"), "application/x-amz-json-1.1");
    let authorization = request.header("authorization");
    assert!(authorization.contains("/us-east-1/firehose/aws4_request"), "{authorization}");
    assert_eq!(authorization.split("Signature=").nth(1).unwrap(), request.expected_signature("firehose"));
}

#[test]
fn of_an_arn_the_name_is_sent_and_the_region_signs() {
    let (_, request) = ask(ARN, &batch(0, 1), &[0], ACCEPTED);
    assert!(request.header("authorization").contains("/eu-west-1/firehose/"));
    assert!(request.body.ends_with(br#"],"DeliveryStreamName":"web"}"#));
}

#[test]
fn every_kind_of_failure_has_its_class() {
    stub::check_failures(async |aws| connect("web", aws).await, ACCEPTED);
}

#[test]
fn a_stream_fed_by_another_one_holds_the_data_and_says_so() {
    let answer = r#"{"__type":"InvalidSourceException","message":"only from KinesisStreamAsSource"}"#;
    let (reply, _) = stub::ask(async |aws| connect("web", aws).await, &batch(0, 1), &[0], Some((400, answer)));
    let Reply::Failed(failure) = reply else { panic!("{reply:?}") };
    assert_eq!(failure.class, Class::Hold);
    assert!(failure.remedy.unwrap().contains("Direct PUT"));
}

#[test]
fn failed_records_are_named_by_their_place_in_the_request() {
    let answer = r#"{"FailedPutCount":3,"RequestResponses":[
        {"ErrorCode":"ServiceUnavailableException","ErrorMessage":"Slow down."},
        {"RecordId":"1"},
        {"ErrorCode":"InternalFailure","ErrorMessage":"Internal Service Failure"},
        {}]}"#;
    let (reply, _) = ask("web", &batch(0, 6), &[0, 2, 4, 5], answer);
    let Reply::Answered { failed } = reply else { panic!("{reply:?}") };
    let failed: Vec<_> = failed.into_iter().map(|(p, f)| (p, f.class, f.code)).collect();
    assert_eq!(
        failed,
        [
            (0, Class::Throttled, "ServiceUnavailableException".to_owned()),
            (2, Class::Ambiguous, "InternalFailure".to_owned()),
            (3, Class::Ambiguous, "UnreadableReply".to_owned())
        ]
    );
}

#[test]
fn a_record_is_as_long_as_the_service_takes() {
    assert_eq!(DeliveryStream::new(ARN).max_record(), 1_024_000);
}
