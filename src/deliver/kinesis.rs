//! Kinesis Data Streams: what a `PutRecords` request looks like, and its answer.
//! Invariant: the same record has the same partition key in every request, across crashes too.

#[cfg(test)]
mod tests;

use super::{
    PartitionKey,
    put::{self, Answer, Put, ReadyBody, Service, body},
};
use crate::{
    aws::StartError,
    model::{Batch, RecordId},
};
use aws_config::SdkConfig;
use aws_sdk_kinesis::{
    Client, error::SdkError, operation::put_records::PutRecordsError, primitives::Blob, types::PutRecordsRequestEntry,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use md5::{Digest, Md5};
use xxhash_rust::xxh3::xxh3_64;

const BEFORE_KEY: &[u8] = b"\",\"PartitionKey\":\"";
const AFTER_KEY: &[u8] = b"\"}";

/// One stream as a destination.
pub type KinesisSink = Put<Stream>;

impl KinesisSink {
    /// Finds region and credentials. Missing credentials are no error, a missing region is.
    pub async fn connect(options: &super::Kinesis) -> Result<Self, StartError> {
        Self::new(Stream::new(&options.stream, options.partition_key), &options.aws, options.max_in_flight).await
    }
}

/// A stream, by name or ARN.
#[derive(Debug)]
pub struct Stream {
    name_or_arn: String,
    partition_key: PartitionKey,
    /// The end of every body: `],"StreamName":"..."}`.
    tail: Vec<u8>,
    /// Takes the place of the records until the body is put in.
    placeholder: PutRecordsRequestEntry,
}

impl Stream {
    fn new(name_or_arn: &str, partition_key: PartitionKey) -> Self {
        let placeholder = PutRecordsRequestEntry::builder().data(Blob::new("")).partition_key("0").build();
        let member = if is_arn(name_or_arn) { "StreamARN" } else { "StreamName" };
        let value = serde_json::to_string(name_or_arn).expect("a string is always JSON");
        Self {
            name_or_arn: name_or_arn.to_owned(),
            partition_key,
            tail: format!("],\"{member}\":{value}}}").into_bytes(),
            placeholder: placeholder.expect("data and key are set"),
        }
    }
}

fn is_arn(stream: &str) -> bool {
    stream.starts_with("arn:")
}

impl Service for Stream {
    type Client = Client;
    type Error = PutRecordsError;
    const ACTION: &'static str = "kinesis:PutRecords";

    fn client(config: &SdkConfig) -> Client {
        Client::new(config)
    }

    fn stream(&self) -> &str {
        &self.name_or_arn
    }

    fn region(&self) -> Option<&str> {
        put::region_of(&self.name_or_arn)
    }

    fn max_record_bytes(&self) -> usize {
        self.partition_key.max_record_bytes()
    }

    fn lay_out(&self, out: &mut Vec<u8>, batch: &Batch, which: &[u32]) {
        let after_len = BEFORE_KEY.len() + self.partition_key.bytes() + AFTER_KEY.len();
        let after = |out: &mut Vec<u8>, index| {
            out.extend_from_slice(BEFORE_KEY);
            match self.partition_key {
                PartitionKey::Random => out.extend_from_slice(&random_key(batch.record_id(index))),
                PartitionKey::RecordMd5 => out.extend_from_slice(&md5_key(batch.record(index))),
            }
            out.extend_from_slice(AFTER_KEY);
        };
        body::lay_out(out, batch, which, after_len, after, &self.tail);
    }

    async fn call(
        &self,
        client: Client,
        body: ReadyBody,
    ) -> Result<Vec<Answer>, SdkError<PutRecordsError, HttpResponse>> {
        let request = client.put_records().records(self.placeholder.clone());
        let request = if is_arn(&self.name_or_arn) {
            request.stream_arn(&self.name_or_arn)
        } else {
            request.stream_name(&self.name_or_arn)
        };
        let output = request.customize().interceptor(body).send().await?;
        let answers = output.records.into_iter().map(|entry| Answer {
            accepted: entry.sequence_number.is_some(),
            code: entry.error_code,
            message: entry.error_message,
        });
        Ok(answers.collect())
    }
}

/// A key that looks random and is drawn from the record's id alone.
fn random_key(id: RecordId) -> [u8; PartitionKey::Random.bytes()] {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut seed = [0; 24];
    seed[..8].copy_from_slice(&id.generation.0.to_le_bytes());
    seed[8..16].copy_from_slice(&id.span.start.to_le_bytes());
    seed[16..].copy_from_slice(&id.span.end.to_le_bytes());
    let mut hash = xxh3_64(&seed);
    [(); PartitionKey::Random.bytes()].map(|()| {
        let digit = DIGITS[usize::try_from(hash % 36).expect("less than 36")];
        hash /= 36;
        digit
    })
}

/// The MD5 of the record in lower-case hexadecimal digits.
fn md5_key(record: &[u8]) -> [u8; PartitionKey::RecordMd5.bytes()] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash = Md5::digest(record);
    let mut key = [0; PartitionKey::RecordMd5.bytes()];
    for (digits, byte) in key.chunks_exact_mut(2).zip(hash) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
    key
}
