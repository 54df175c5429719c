//! How the stream is read: `ListShards`, `GetShardIterator`, `GetRecords`, `DescribeStreamSummary`, with faults of
//! their own. Knows no connections and changes nothing in the stream.
//! Invariant: an iterator means a place in one shard of one stream; it is never read as one of another stream's.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    http,
    ledger::{Ledger, Verdict, refusal},
    shards::{Shard, shard_id, shard_number},
};

/// Most shards in one answer. Small, so that everybody who lists them turns pages.
const SHARDS: usize = 3;
/// Most records in one answer, where the request has no limit.
const RECORDS: u64 = 1000;
/// The highest limit that a request may have.
const MOST_RECORDS: u64 = 10_000;
/// Most bytes of data in one answer.
const BYTES: usize = 10 << 20;

/// What happens to one request to read.
#[derive(Clone, Debug)]
pub(crate) enum Read {
    /// All is well.
    Pass,
    /// It is answered with this status, code and message.
    Refuse(u16, &'static str, &'static str),
    /// The connection is closed without an answer.
    HangUp,
    /// `GetRecords` gives no records although there are some, and the next iterator means the same place.
    Empty,
    /// `GetRecords` says of each page that nothing is behind it, as kinesalite does.
    AlwaysAtTip,
}

impl Read {
    pub(crate) const THROTTLED: Self = Self::Refuse(
        400,
        "ProvisionedThroughputExceededException",
        "Rate exceeded for shard shardId-000000000000 in stream logs under account 111122223333.",
    );
    pub(crate) const EXPIRED: Self = Self::Refuse(400, "ExpiredIteratorException", "Iterator expired.");
    pub(crate) const DENIED: Self =
        Self::Refuse(400, "AccessDeniedException", "User is not authorized to perform: kinesis:GetRecords");
    pub(crate) const KEY_DENIED: Self =
        Self::Refuse(400, "KMSAccessDeniedException", "User is not authorized to decrypt with the key of the stream.");
    pub(crate) const KMS: Self = Self::Refuse(400, "KMSDisabledException", "The key of the stream is disabled.");
    pub(crate) const GONE: Self =
        Self::Refuse(400, "ResourceNotFoundException", "Stream logs under account 111122223333 not found.");
}

/// Which operation that reads a request asks for; `None` if it asks for another.
pub(crate) fn operation(head: &http::Head) -> Option<&'static str> {
    let name = head.header("x-amz-target")?.strip_prefix("Kinesis_20131202.")?;
    let known = ["ListShards", "GetShardIterator", "GetRecords", "DescribeStreamSummary"];
    known.into_iter().find(|operation| *operation == name)
}

/// What the service answers to a request to read; `None`: nothing at all.
pub(crate) fn answer(ledger: &Ledger, operation: &str, body: &[u8], fault: &Read) -> Option<Verdict> {
    match fault {
        Read::HangUp => return None,
        Read::Refuse(status, code, message) => return Some(refusal(*status, code, message)),
        Read::Pass | Read::Empty | Read::AlwaysAtTip => (),
    }
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return Some(refusal(400, "SerializationException", "not such a request"));
    };
    let found = match operation {
        "ListShards" => list(ledger, &request),
        "GetShardIterator" => iterator(ledger, &request),
        "GetRecords" => records(ledger, &request, fault),
        _ => Ok(summary(ledger, &request)),
    };
    Some(found.map_or_else(|verdict| verdict, |answer| (200, answer.to_string())))
}

fn invalid(message: &str) -> Verdict {
    refusal(400, "InvalidArgumentException", message)
}

fn no_such_shard(number: usize) -> Verdict {
    let id = shard_id(number);
    let message = format!("Shard {id} in stream logs under account 111122223333 does not exist");
    refusal(400, "ResourceNotFoundException", &message)
}

/// A page of the shards, in the order of their numbers.
fn list(ledger: &Ledger, request: &Value) -> Result<Value, Verdict> {
    let given = ["StreamName", "StreamARN"].into_iter().find(|key| !request[*key].is_null());
    let from = match (request["NextToken"].as_str(), request["ExclusiveStartShardId"].as_str()) {
        (Some(_), _) if let Some(key) = given => {
            return Err(invalid(&format!("NextToken and {key} cannot be provided together.")));
        }
        (None, _) if given.is_none() => return Err(invalid("Either NextToken or StreamName should be provided.")),
        (Some(token), _) => match parse_place(token) {
            Some([epoch, from, _]) if epoch == ledger.shards.epoch() => from,
            _ => return Err(refusal(400, "ExpiredNextTokenException", "The token is of another stream.")),
        },
        (None, Some(after)) => shard_number(after).ok_or_else(|| invalid("ExclusiveStartShardId"))? + 1,
        (None, None) => 0,
    };
    if !request["ShardFilter"].is_null() {
        return Err(invalid("This service knows no ShardFilter."));
    }
    let most = request["MaxResults"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(SHARDS).min(SHARDS);
    let mut left = ledger.shards.present().map(|(number, _)| number).skip_while(|number| *number < from);
    let page: Vec<Value> = left.by_ref().take(most).map(|number| ledger.shards.entry(number)).collect();
    let mut answer = json!({ "Shards": page });
    if let Some(next) = left.next() {
        answer["NextToken"] = place(ledger, next, 0).into();
    }
    Ok(answer)
}

/// An iterator as opaque as the service's to whoever does not look: stream, shard, place in it.
fn place(ledger: &Ledger, shard: usize, position: usize) -> String {
    format!("{}:{shard}:{position}", ledger.shards.epoch())
}

fn parse_place(text: &str) -> Option<[usize; 3]> {
    let numbers: Option<Vec<usize>> = text.split(':').map(|number| number.parse().ok()).collect();
    numbers?.try_into().ok()
}

fn iterator(ledger: &Ledger, request: &Value) -> Result<Value, Verdict> {
    let number = request["ShardId"].as_str().and_then(shard_number).ok_or_else(|| invalid("ShardId"))?;
    let shard = ledger.shards.get(number).ok_or_else(|| no_such_shard(number))?;
    let from = |start: u64| shard.records.partition_point(|at| ledger.accepted[*at].sequence < start);
    let position = match request["ShardIteratorType"].as_str() {
        Some("TRIM_HORIZON") => 0,
        Some("LATEST") => shard.records.len(),
        Some("AT_TIMESTAMP") => since(ledger, shard, request)?,
        Some("AT_SEQUENCE_NUMBER") => from(sequence(ledger, number, request)?),
        Some("AFTER_SEQUENCE_NUMBER") => from(sequence(ledger, number, request)? + 1),
        _ => return Err(invalid("ShardIteratorType")),
    };
    Ok(json!({ "ShardIterator": place(ledger, number, position) }))
}

/// The sequence number that an iterator is to begin at.
fn sequence(ledger: &Ledger, number: usize, request: &Value) -> Result<u64, Verdict> {
    let text = request["StartingSequenceNumber"].as_str().unwrap_or_default();
    let id = shard_id(number);
    let message = format!(
        "StartingSequenceNumber {text} used in GetShardIterator on shard {id} in stream logs under account \
         111122223333 is invalid because it did not come from this stream."
    );
    ledger.shards.sequence(text, number).ok_or_else(|| invalid(&message))
}

/// The place of the first record that arrived at the request's time or later. As the service does, it refuses a time
/// that is yet to come.
fn since(ledger: &Ledger, shard: &Shard, request: &Value) -> Result<usize, Verdict> {
    let time = request["Timestamp"].as_f64().and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok());
    let time = time.ok_or_else(|| invalid("Timestamp"))?;
    if time > ledger.now().as_duration() {
        return Err(invalid("The timestampInMillis parameter cannot be greater than the currentTimestampInMillis."));
    }
    // A number of seconds with a fraction is not exact to the last digit.
    let arrived = |at: usize| SignedDuration::from_millis(ledger.accepted[at].arrived) + SignedDuration::from_micros(1);
    Ok(shard.records.iter().position(|at| arrived(*at) >= time).unwrap_or(shard.records.len()))
}

/// A page of records.
fn records(ledger: &Ledger, request: &Value, fault: &Read) -> Result<Value, Verdict> {
    let empty = matches!(fault, Read::Empty);
    let place_of = request["ShardIterator"].as_str().and_then(parse_place);
    let [epoch, number, position] = place_of.ok_or_else(|| invalid("Invalid ShardIterator."))?;
    let shard = ledger.shards.get(number).filter(|_| epoch == ledger.shards.epoch());
    let shard = shard.ok_or_else(|| no_such_shard(number))?;
    let limit = request["Limit"].as_u64().unwrap_or(RECORDS);
    if !(1..=MOST_RECORDS).contains(&limit) {
        return Err(refusal(400, "ValidationException", "Value at 'limit' failed to satisfy constraint"));
    }
    let left = shard.records.get(position..).unwrap_or_default();
    let (page, rest) = left.split_at(if empty { 0 } else { fitting(ledger, left, limit) });
    let rest = if matches!(fault, Read::AlwaysAtTip) { &[] } else { rest };
    let behind = rest.first().map_or(0, |at| (ledger.now().as_millisecond() - ledger.accepted[*at].arrived).max(1));
    let entries: Vec<Value> = page.iter().map(|at| entry(ledger, *at)).collect();
    let mut answer = json!({ "Records": entries, "MillisBehindLatest": behind });
    if shard.closed && rest.is_empty() && !empty {
        answer["NextShardIterator"] = Value::Null;
        answer["ChildShards"] = ledger.shards.children(number).into();
    } else {
        answer["NextShardIterator"] = place(ledger, number, position + page.len()).into();
    }
    Ok(answer)
}

/// How many of the records left make a page: one at least.
fn fitting(ledger: &Ledger, left: &[usize], limit: u64) -> usize {
    let (mut bytes, mut count) = (0, 0_usize);
    for at in left {
        bytes += ledger.accepted[*at].data.len();
        if count > 0 && (bytes > BYTES || count as u64 >= limit) {
            break;
        }
        count += 1;
    }
    count
}

fn entry(ledger: &Ledger, at: usize) -> Value {
    let record = &ledger.accepted[at];
    json!({
        "SequenceNumber": ledger.shards.sequence_number(record.sequence, record.shard),
        "ApproximateArrivalTimestamp": SignedDuration::from_millis(record.arrived).as_secs_f64(),
        "Data": base64_simd::STANDARD.encode_to_string(&record.data),
        "PartitionKey": record.partition_key,
    })
}

/// The stream as a whole, under the name that it was asked for by.
fn summary(ledger: &Ledger, request: &Value) -> Value {
    let arn = request["StreamARN"].as_str().and_then(|arn| arn.rsplit('/').next());
    let name = request["StreamName"].as_str().or(arn).unwrap_or("logs");
    json!({ "StreamDescriptionSummary": {
        "StreamName": name,
        "StreamARN": format!("arn:aws:kinesis:eu-west-1:111122223333:stream/{name}"),
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": { "StreamMode": "PROVISIONED" },
        "StreamCreationTimestamp": ledger.created.as_duration().as_secs_f64(),
        "RetentionPeriodHours": 24,
        "EnhancedMonitoring": [],
        "EncryptionType": "NONE",
        "OpenShardCount": ledger.shards.present().filter(|(_, shard)| !shard.closed).count(),
        "ConsumerCount": 0,
        "MaxRecordSizeInKiB": ledger.record_kib.unwrap_or(1024),
    } })
}
