//! Reading a stream back: the calls, and what in their answers matters. Knows no search.
//! Invariant: a record is taken for one of ours only if its partition key is an id.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use aws_sdk_kinesis::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{Record, ShardIteratorType},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::DateTime;

use super::{KinesisSink, Stream, is_arn};
use crate::{
    aws::StartError,
    deliver::{
        MAX_KINESIS_RECORD,
        courier::Sink as _,
        errors::{Class, Failure},
        kpl,
        put::{Asked, Service as _, verdict},
        search::{Ask, From, Page, Told},
    },
    model::{Landed, RecordId, content_hash},
};

/// An answer of so many bytes may have been cut off there. The service's own limit is 10 MiB.
const FULL: u64 = 1 << 20;

fn nanos(time: DateTime) -> Option<i64> {
    i64::try_from(time.as_nanos()).ok()
}

/// How long a call may hold up the start.
const PATIENCE: Duration = Duration::from_secs(5);

/// The permissions that reading back needs.
pub(in crate::deliver) const ACTIONS: [&str; 3] =
    ["kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords"];

/// Tries each call once, if records will be read back. Only a refusal is an error: whatever else is wrong may mend itself.
pub(super) async fn check(sink: &KinesisSink) -> Result<(), StartError> {
    match try_each(sink).await {
        Err(failure) if failure.is_denied() => {
            let [actions @ .., last] = ACTIONS;
            let key = if failure.code.starts_with("KMS") { ", and kms:Decrypt on the stream's key" } else { "" };
            let actions = format!("{} and {last}{key}", actions.join(", "));
            Err(StartError::MayNotRead {
                stream: sink.service().stream().to_owned(),
                why: failure.to_string(),
                actions,
            })
        }
        _ => Ok(()),
    }
}

/// Tries each call once, if records will be read back; the first failure.
pub(super) async fn try_each(sink: &KinesisSink) -> Result<(), Failure> {
    let Some(once) = sink.exactly_once() else { return Ok(()) };
    let Told::Shards { shards, .. } = try_one(sink, &Ask::Shards { page: None }).await? else { return Ok(()) };
    let from = From::Time(once.clock.at(Instant::now()));
    let Some(shard) = shards.into_iter().next() else { return Ok(()) };
    let ask = Ask::Iterator { shard: shard.clone(), from };
    let Told::Iterator(iterator) = try_one(sink, &ask).await? else { return Ok(()) };
    try_one(sink, &Ask::Records { shard, iterator, most: 1 }).await.map(|_| ())
}

async fn try_one(sink: &KinesisSink, ask: &Ask) -> Result<Told, Failure> {
    let late = || Told::Failed(Failure::new(Class::Again, "Timeout", format!("no answer within {PATIENCE:?}")));
    match tokio::time::timeout(PATIENCE, sink.ask(ask)).await.unwrap_or_else(|_| late()) {
        Told::Failed(failure) => Err(failure),
        told => Ok(told),
    }
}

/// Most bytes of a record that the stream takes, asked for once; no more than are wanted.
pub(super) async fn max_record(sink: &KinesisSink, wanted: usize) -> usize {
    let (client, stream) = (sink.client().await, &sink.service().name_or_arn);
    let request = client.describe_stream_summary();
    let request = if is_arn(stream) { request.stream_arn(stream) } else { request.stream_name(stream) };
    let answer = tokio::time::timeout(PATIENCE, request.send()).await;
    let summary = answer.ok().and_then(Result::ok).and_then(|answer| answer.stream_description_summary);
    let limit = summary.and_then(|summary| usize::try_from(summary.max_record_size_in_kib?).ok()).map(|kib| kib << 10);
    let takes = limit.unwrap_or(MAX_KINESIS_RECORD).min(wanted);
    if takes < wanted {
        let known = limit.is_some();
        tracing::warn!(
            stream,
            wanted,
            takes,
            known,
            "records are joined to less than `aggregate` allows: raise the stream's limit (UpdateMaxRecordSize), and allow kinesis:DescribeStreamSummary"
        );
    }
    takes
}

/// Makes one call.
pub(super) async fn ask(stream: &Stream, client: Client, ask: &Ask, asked: Asked<'_>) -> Told {
    let (name, arn) = if is_arn(&stream.name_or_arn) { (None, Some(())) } else { (Some(()), None) };
    let name = name.map(|()| stream.name_or_arn.clone());
    let arn = arn.map(|()| stream.name_or_arn.clone());
    match ask {
        Ask::Shards { page } => {
            // With a page, the service takes neither name nor ARN: "NextToken and StreamARN cannot be provided together".
            let (name, arn) = if page.is_some() { (None, None) } else { (name, arn) };
            let request = client.list_shards().set_stream_name(name).set_stream_arn(arn);
            let result = request.set_next_token(page.clone()).send().await;
            told(result, Asked { action: ACTIONS[0], ..asked }, |list| Told::Shards {
                shards: list.shards.unwrap_or_default().into_iter().map(|shard| shard.shard_id).collect(),
                page: list.next_token,
            })
        }
        Ask::Iterator { shard, from } => {
            let request = client.get_shard_iterator().set_stream_name(name).set_stream_arn(arn).shard_id(shard);
            let request = match from {
                From::Time(nanos) => {
                    let at = DateTime::from_nanos(i128::from(*nanos)).expect("64 bits are times of our days");
                    request.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(at)
                }
                From::After(number) => {
                    let behind = ShardIteratorType::AfterSequenceNumber;
                    request.shard_iterator_type(behind).starting_sequence_number(number)
                }
            };
            // Without an iterator the shard is read to its end.
            told(request.send().await, Asked { action: ACTIONS[1], ..asked }, |answer| match answer.shard_iterator {
                Some(iterator) => Told::Iterator(iterator),
                None => Told::Records(Page::default()),
            })
        }
        Ask::Records { iterator, most, .. } => {
            let limit = i32::try_from(*most).unwrap_or(i32::MAX);
            let request = client.get_records().shard_iterator(iterator).limit(limit).set_stream_arn(arn);
            told(request.send().await, Asked { action: ACTIONS[2], ..asked }, |answer| {
                let bytes = answer.records.iter().map(|record| record.data.as_ref().len() as u64).sum();
                let records = u32::try_from(answer.records.len()).unwrap_or(u32::MAX);
                Told::Records(Page {
                    landed: answer.records.iter().filter_map(landed).collect(),
                    last: answer.records.last().map(|record| record.sequence_number.clone()),
                    next: answer.next_shard_iterator,
                    at_tip: is_at_tip(answer.millis_behind_latest, records >= *most || bytes >= FULL, records),
                    arrived: answer.records.last().and_then(|record| nanos(record.approximate_arrival_timestamp?)),
                    records,
                    bytes,
                })
            })
        }
    }
}

/// Whether nothing is behind the records of an answer. That it is 0 ms behind is believed of a page that is not full:
/// kinesalite says so of every page.
fn is_at_tip(behind: Option<i64>, is_full: bool, records: u32) -> bool {
    behind.map_or(records == 0, |behind| behind == 0 && !is_full)
}

fn landed(record: &Record) -> Option<Landed> {
    let (id, data): (RecordId, _) = (record.partition_key()?.parse().ok()?, record.data.as_ref());
    let (slot, hash) = kpl::open(data).unwrap_or_else(|| (None, content_hash(data)));
    Some(Landed { id, slot, hash })
}

fn told<T, E>(result: Result<T, SdkError<E, HttpResponse>>, asked: Asked<'_>, told: impl FnOnce(T) -> Told) -> Told
where
    E: std::error::Error + ProvideErrorMetadata + Debug + 'static,
{
    match result {
        Ok(answer) => told(answer),
        Err(error) => Told::Failed(Failure::clone(&verdict::of(&error, asked))),
    }
}
