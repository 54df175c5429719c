//! Kinesis Data Streams: what a `PutRecords` request looks like, and its answer.
//! Invariant: the same record has the same partition key in every request, across crashes too.

mod read;

pub(super) use read::ACTIONS;
#[cfg(test)]
pub(crate) mod tests;

use super::{
    Billing, ExactlyOnce, MAX_KINESIS_RECORD, ServiceClock,
    digests::LANES,
    errors::{self, Class, Failure},
    kpl,
    put::{self, Answer, Answers, Asked, Counting, Put, ReadyBody, Service, body},
    routing::{OwnKey, Routing},
    search::{Ask, Told},
    shards::{Seen, Shards},
};
use crate::{
    aws::StartError,
    model::{Batch, Now},
};
use aws_config::SdkConfig;
use aws_sdk_kinesis::{
    Client,
    error::SdkError,
    operation::put_records::{PutRecords, PutRecordsError, PutRecordsOutput},
    primitives::Blob,
    types::PutRecordsRequestEntry,
};
use aws_smithy_runtime_api::client::{interceptors::context::Output, orchestrator::HttpResponse};
use std::{io::Write as _, sync::Arc, time::Instant};

const BEFORE_DATA: &[u8] = b"{\"Data\":\"";
const BEFORE_KEY: &[u8] = b"\",\"PartitionKey\":";

/// One stream as a destination.
pub type KinesisSink = Put<Stream>;

impl KinesisSink {
    /// Finds region and credentials. Missing credentials are no error; a missing region is, and so is a missing permission
    /// to read the stream back where that is needed.
    /// `shards` is what all flows into the stream know of it.
    pub async fn connect(options: &super::Kinesis, shards: Arc<Shards>, now: Now) -> Result<Self, StartError> {
        let mut sink = Self::unchecked(options, shards, now).await?;
        read::check(&sink).await?;
        if let Some(wanted) = options.aggregate.map(|joined| joined.max_bytes).filter(|most| *most > MAX_KINESIS_RECORD)
        {
            sink.service_mut().max_record = read::max_record(&sink, wanted).await;
        }
        Ok(sink)
    }

    /// Tries the calls that read the stream back, each once; why one of them failed.
    pub(super) async fn try_reading(options: &super::Kinesis, now: Now) -> Result<Result<(), Failure>, StartError> {
        let sink = Self::unchecked(options, Arc::default(), now).await?;
        Ok(read::try_each(&sink).await)
    }

    async fn unchecked(options: &super::Kinesis, shards: Arc<Shards>, now: Now) -> Result<Self, StartError> {
        let once = |settle_wait| ExactlyOnce { settle_wait, clock: ServiceClock::new(now) };
        let once = options.exactly_once.map(once);
        let routing = Routing { aggregates: options.aggregate.is_some(), ids: once.is_some() };
        let stream = Stream::new(&options.stream, routing);
        let stream = Stream { keeps_order: options.keeps_order, once, shards, ..stream };
        Self::new(stream, &options.aws, options.max_in_flight, options.max_rate).await
    }
}

/// A stream, by name or ARN.
#[derive(Debug)]
pub struct Stream {
    name_or_arn: String,
    routing: Routing,
    keeps_order: bool,
    /// The stream is read back.
    once: Option<ExactlyOnce>,
    shards: Arc<Shards>,
    /// Most bytes of one record, its partition key included.
    max_record: usize,
    /// The end of every body: `],"StreamName":"..."}`.
    tail: Vec<u8>,
    /// Takes the place of the records until the body is put in.
    placeholder: PutRecordsRequestEntry,
}

impl Stream {
    fn new(name_or_arn: &str, routing: Routing) -> Self {
        let placeholder = PutRecordsRequestEntry::builder().data(Blob::new("")).partition_key("0").build();
        let member = if is_arn(name_or_arn) { "StreamARN" } else { "StreamName" };
        let value = serde_json::to_string(name_or_arn).expect("a string is always JSON");
        Self {
            name_or_arn: name_or_arn.to_owned(),
            routing,
            keeps_order: false,
            once: None,
            shards: Arc::default(),
            max_record: MAX_KINESIS_RECORD,
            tail: format!("],\"{member}\":{value}}}").into_bytes(),
            placeholder: placeholder.expect("data and key are set"),
        }
    }
}

/// What is used again from one record of a request to the next.
#[derive(Default)]
struct Scratch {
    joined: [Vec<u8>; LANES],
    key: OwnKey,
}

impl Stream {
    /// Appends records as a request has them, some at a time, for their digests cost less together.
    fn entries(&self, out: &mut Vec<u8>, Scratch { joined, key }: &mut Scratch, batch: &Batch, which: &[u32]) {
        let is_joined = |index: u32| self.routing.aggregates && batch.records[index as usize].count > 1;
        for (&index, joined) in which.iter().zip(&mut *joined) {
            if is_joined(index) {
                self.join(joined, key, batch, index as usize);
            }
        }
        kpl::seal(which.iter().zip(&mut *joined).filter(|(index, _)| is_joined(**index)).map(|(_, joined)| joined));
        for (&index, joined) in which.iter().zip(&*joined) {
            let data = if is_joined(index) { joined } else { batch.record(index as usize) };
            self.entry(out, key, batch, index as usize, data);
            out.push(b',');
        }
    }

    fn join(&self, out: &mut Vec<u8>, key: &mut OwnKey, batch: &Batch, index: usize) {
        let parts = batch.parts(index);
        match batch.key(index) {
            Some(_) => kpl::encode(out, batch.records[index].slot, batch.keys(index), parts),
            None => kpl::encode(out, None, [self.routing.own_key(batch.record_id(index), key)], parts),
        }
    }

    fn entry(&self, out: &mut Vec<u8>, own: &mut OwnKey, batch: &Batch, index: usize, data: &[u8]) {
        let chosen = batch.key(index).filter(|_| !self.routing.ids);
        let key = chosen.unwrap_or_else(|| self.routing.own_key(batch.record_id(index), own));
        debug_assert!(
            batch.records[index].count == 1 || data.len() + key.len() == batch.records[index].size as usize,
            "as long as the flow said"
        );
        out.extend_from_slice(BEFORE_DATA);
        base64_simd::STANDARD.encode_append(data, out);
        out.extend_from_slice(BEFORE_KEY);
        if let Some(chosen) = chosen {
            serde_json::to_writer(&mut *out, chosen).expect("a string is always JSON");
        } else {
            // Letters, digits, dots and dashes need no escapes.
            out.push(b'"');
            out.extend_from_slice(key.as_bytes());
            out.push(b'"');
        }
        if let Some(hash) = self.routing.explicit(batch, index) {
            write!(out, ",\"ExplicitHashKey\":\"{hash}\"").expect("a Vec takes every write");
        }
        out.push(b'}');
    }
}

/// The shard that a message names: `Rate exceeded for shard shardId-000000000000 in stream ...`.
fn shard_in(message: &str) -> Option<&str> {
    let name = &message[message.find("shardId-")?..];
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(name.len());
    Some(&name[..end])
}

fn is_arn(stream: &str) -> bool {
    stream.starts_with("arn:")
}

impl Service for Stream {
    type Client = Client;
    type Error = PutRecordsError;
    const ACTION: &'static str = "kinesis:PutRecords";
    /// A provisioned stream bills units, one on demand bytes.
    const BILLING: Billing = Billing { unit: 25 << 10, rounded_to: 1 << 10 };

    fn client(config: &SdkConfig, clock: Option<&ServiceClock>) -> Client {
        let config = aws_sdk_kinesis::config::Builder::from(config);
        let config = match clock {
            Some(clock) => config.interceptor(put::Listening(clock.clone())),
            None => config,
        };
        Client::from_conf(config.build())
    }

    fn stream(&self) -> &str {
        &self.name_or_arn
    }

    fn max_record(&self) -> usize {
        self.max_record
    }

    fn region(&self) -> Option<&str> {
        put::region_of(&self.name_or_arn)
    }

    fn keeps_order(&self) -> bool {
        self.keeps_order
    }

    fn exactly_once(&self) -> Option<&ExactlyOnce> {
        self.once.as_ref()
    }

    fn shards(&self) -> Option<(&Arc<Shards>, Routing)> {
        Some((&self.shards, self.routing))
    }

    fn answered(&self, batch: &Batch, which: &[u32], answers: &[Answer]) {
        let is_throttled = |answer: &Answer| answer.code.as_deref().and_then(errors::of_code) == Some(Class::Throttled);
        if !answers.iter().any(is_throttled) {
            return;
        }
        let seen = which.iter().zip(answers).filter_map(|(index, answer)| {
            let shard = answer.shard.as_deref().or_else(|| shard_in(answer.message.as_deref()?))?;
            let hash = self.routing.hash(batch, *index as usize);
            Some(Seen { hash, shard, throttled: is_throttled(answer) })
        });
        self.shards.answered(seen, Instant::now());
    }

    async fn ask(&self, client: Client, ask: &Ask, asked: Asked<'_>) -> Told {
        read::ask(self, client, ask, asked).await
    }

    fn lay_out(&self, out: &mut Vec<u8>, batch: &Batch, which: &[u32]) {
        let mut scratch = Scratch::default();
        body::lay_out(out, batch, which, LANES, |out, some| self.entries(out, &mut scratch, batch, some), &self.tail);
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
            shard: entry.shard_id,
        });
        Ok(Answers::Each(answers.collect()))
    }
}

fn nothing() -> Output {
    Output::erase(PutRecordsOutput::builder().set_records(Some(Vec::new())).build().expect("the records are set"))
}
