//! Data Firehose: what a `PutRecordBatch` request looks like, and its answer.
//! Invariant: the data of a record is sent as the batch holds it; joining and line ends are the flow's.

#[cfg(test)]
mod tests;

use super::{
    Billing, MAX_FIREHOSE_RECORD, ServiceClock,
    put::{self, Answer, Answers, Counting, Put, ReadyBody, Service, body},
};
use crate::{aws::StartError, model::Batch};
use aws_config::SdkConfig;
use aws_sdk_firehose::{
    Client,
    error::SdkError,
    operation::put_record_batch::{PutRecordBatch, PutRecordBatchError, PutRecordBatchOutput},
    primitives::Blob,
    types::Record,
};
use aws_smithy_runtime_api::client::{interceptors::context::Output, orchestrator::HttpResponse};

const BEFORE_DATA: &[u8] = b"{\"Data\":\"";
const AFTER_DATA: &[u8] = b"\"},";

/// One delivery stream as a destination.
pub type FirehoseSink = Put<DeliveryStream>;

impl FirehoseSink {
    /// Finds region and credentials. Missing credentials are no error, a missing region is.
    pub async fn connect(options: &super::Firehose) -> Result<Self, StartError> {
        Self::new(DeliveryStream::new(&options.stream), &options.aws, options.max_in_flight, options.max_rate).await
    }
}

/// A delivery stream.
#[derive(Debug)]
pub struct DeliveryStream {
    /// As it was given: name or ARN.
    given: String,
    /// The name: the service takes no ARN.
    name: String,
    /// The end of every body: `],"DeliveryStreamName":"..."}`.
    tail: Vec<u8>,
    /// Takes the place of the records until the body is put in.
    placeholder: Record,
}

impl DeliveryStream {
    fn new(given: &str) -> Self {
        let name = if given.starts_with("arn:") { given.rsplit('/').next().unwrap_or(given) } else { given };
        let value = serde_json::to_string(name).expect("a string is always JSON");
        Self {
            given: given.to_owned(),
            name: name.to_owned(),
            tail: format!("],\"DeliveryStreamName\":{value}}}").into_bytes(),
            placeholder: Record::builder().data(Blob::new("")).build().expect("the data is set"),
        }
    }
}

impl Service for DeliveryStream {
    type Client = Client;
    type Error = PutRecordBatchError;
    const ACTION: &'static str = "firehose:PutRecordBatch";
    const BILLING: Billing = Billing { unit: 5 << 10, rounded_to: 5 << 10 };

    fn client(config: &SdkConfig, _: Option<&ServiceClock>) -> Client {
        Client::new(config)
    }

    fn stream(&self) -> &str {
        &self.given
    }

    fn max_record(&self) -> usize {
        MAX_FIREHOSE_RECORD
    }

    fn region(&self) -> Option<&str> {
        put::region_of(&self.given)
    }

    fn lay_out(&self, out: &mut Vec<u8>, batch: &Batch, which: &[u32]) {
        let entries = |out: &mut Vec<u8>, some: &[u32]| {
            for index in some {
                out.extend_from_slice(BEFORE_DATA);
                base64_simd::STANDARD.encode_append(batch.record(*index as usize), out);
                out.extend_from_slice(AFTER_DATA);
            }
        };
        body::lay_out(out, batch, which, usize::MAX, entries, &self.tail);
    }

    async fn call(
        &self,
        client: Client,
        body: ReadyBody,
        records: usize,
    ) -> Result<Answers, SdkError<PutRecordBatchError, HttpResponse>> {
        let request = client.put_record_batch().records(self.placeholder.clone()).delivery_stream_name(&self.name);
        let counting = Counting::new(&PutRecordBatch::new(), b"\"RecordId\":\"", records, nothing);
        let output = request.customize().interceptor(body).interceptor(counting.clone()).send().await?;
        if counting.all_accepted() {
            return Ok(Answers::All);
        }
        let answers = output.request_responses.into_iter().map(|entry| Answer {
            accepted: entry.record_id.is_some(),
            code: entry.error_code,
            message: entry.error_message,
            shard: None,
        });
        Ok(Answers::Each(answers.collect()))
    }
}

fn nothing() -> Output {
    let nothing = PutRecordBatchOutput::builder().failed_put_count(0).set_request_responses(Some(Vec::new())).build();
    Output::erase(nothing.expect("both members are set"))
}
