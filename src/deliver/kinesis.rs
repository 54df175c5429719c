//! Kinesis Data Streams: what a `PutRecords` request looks like, and its answer.
//! Invariant: the same record has the same partition key in every request, across crashes too.

#[cfg(test)]
pub(crate) mod tests;

use super::{
    Billing, MAX_KINESIS_RECORD, kpl,
    put::{self, Answer, Answers, Counting, Put, ReadyBody, Service, body},
};
use crate::{aws::StartError, model::Batch};
use aws_config::SdkConfig;
use aws_sdk_kinesis::{
    Client,
    error::SdkError,
    operation::put_records::{PutRecords, PutRecordsError, PutRecordsOutput},
    primitives::Blob,
    types::PutRecordsRequestEntry,
};
use aws_smithy_runtime_api::client::{interceptors::context::Output, orchestrator::HttpResponse};
use std::io::Write as _;

const BEFORE_DATA: &[u8] = b"{\"Data\":\"";
const BEFORE_KEY: &[u8] = b"\",\"PartitionKey\":";

/// One stream as a destination.
pub type KinesisSink = Put<Stream>;

impl KinesisSink {
    /// Finds region and credentials. Missing credentials are no error, a missing region is.
    pub async fn connect(options: &super::Kinesis) -> Result<Self, StartError> {
        let stream = Stream::new(&options.stream, options.aggregate.is_some());
        let stream = Stream { keeps_order: options.keeps_order, ..stream };
        Self::new(stream, &options.aws, options.max_in_flight).await
    }
}

/// A stream, by name or ARN.
#[derive(Debug)]
pub struct Stream {
    name_or_arn: String,
    /// Records that were joined are written as the KPL does, and slots have their own hashes.
    aggregates: bool,
    keeps_order: bool,
    /// The end of every body: `],"StreamName":"..."}`.
    tail: Vec<u8>,
    /// Takes the place of the records until the body is put in.
    placeholder: PutRecordsRequestEntry,
}

impl Stream {
    fn new(name_or_arn: &str, aggregates: bool) -> Self {
        let placeholder = PutRecordsRequestEntry::builder().data(Blob::new("")).partition_key("0").build();
        let member = if is_arn(name_or_arn) { "StreamARN" } else { "StreamName" };
        let value = serde_json::to_string(name_or_arn).expect("a string is always JSON");
        Self {
            name_or_arn: name_or_arn.to_owned(),
            aggregates,
            keeps_order: false,
            tail: format!("],\"{member}\":{value}}}").into_bytes(),
            placeholder: placeholder.expect("data and key are set"),
        }
    }
}

impl Stream {
    /// Appends record `index` as a request has it; `aggregate` is scratch space.
    fn entry(&self, out: &mut Vec<u8>, aggregate: &mut Vec<u8>, batch: &Batch, index: usize) {
        let record = &batch.records[index];
        let random = batch.record_id(index).random_key();
        let random = str::from_utf8(&random).expect("digits and letters");
        let key = batch.key(index).unwrap_or(random);
        let slot = record.slot.filter(|_| self.aggregates);
        out.extend_from_slice(BEFORE_DATA);
        if self.aggregates && record.count > 1 {
            aggregate.clear();
            match batch.key(index) {
                Some(_) => kpl::encode(aggregate, slot, batch.keys(index), batch.parts(index)),
                None => kpl::encode(aggregate, slot, [random], batch.parts(index)),
            }
            debug_assert_eq!(aggregate.len() + key.len(), record.size as usize, "as long as the flow said");
            base64_simd::STANDARD.encode_append(aggregate, out);
        } else {
            base64_simd::STANDARD.encode_append(batch.record(index), out);
        }
        out.extend_from_slice(BEFORE_KEY);
        serde_json::to_writer(&mut *out, key).expect("a string is always JSON");
        if let Some(slot) = slot {
            write!(out, ",\"ExplicitHashKey\":\"{}\"", slot.explicit_hash_key()).expect("a Vec takes every write");
        }
        out.push(b'}');
    }
}

fn is_arn(stream: &str) -> bool {
    stream.starts_with("arn:")
}

impl Service for Stream {
    type Client = Client;
    type Error = PutRecordsError;
    const ACTION: &'static str = "kinesis:PutRecords";
    const MAX_RECORD: usize = MAX_KINESIS_RECORD;
    /// A provisioned stream bills units, one on demand bytes.
    const BILLING: Billing = Billing { unit: 25 << 10, rounded_to: 1 << 10 };

    fn client(config: &SdkConfig) -> Client {
        Client::new(config)
    }

    fn stream(&self) -> &str {
        &self.name_or_arn
    }

    fn region(&self) -> Option<&str> {
        put::region_of(&self.name_or_arn)
    }

    fn keeps_order(&self) -> bool {
        self.keeps_order
    }

    fn lay_out(&self, out: &mut Vec<u8>, batch: &Batch, which: &[u32]) {
        let mut aggregate = Vec::new();
        let entry = |out: &mut Vec<u8>, index| self.entry(out, &mut aggregate, batch, index);
        body::lay_out(out, batch, which, entry, &self.tail);
    }

    async fn call(
        &self,
        client: Client,
        body: ReadyBody,
        records: usize,
    ) -> Result<Answers, SdkError<PutRecordsError, HttpResponse>> {
        let request = client.put_records().records(self.placeholder.clone());
        let request = if is_arn(&self.name_or_arn) {
            request.stream_arn(&self.name_or_arn)
        } else {
            request.stream_name(&self.name_or_arn)
        };
        let counting = Counting::new(&PutRecords::new(), b"\"SequenceNumber\":\"", records, nothing);
        let output = request.customize().interceptor(body).interceptor(counting.clone()).send().await?;
        if counting.all_accepted() {
            return Ok(Answers::All);
        }
        let answers = output.records.into_iter().map(|entry| Answer {
            accepted: entry.sequence_number.is_some(),
            code: entry.error_code,
            message: entry.error_message,
        });
        Ok(Answers::Each(answers.collect()))
    }
}

fn nothing() -> Output {
    Output::erase(PutRecordsOutput::builder().set_records(Some(Vec::new())).build().expect("the records are set"))
}
