//! What the stream took, and what it saw; a data stream and a delivery stream alike. Knows nothing of connections.
//! Invariant: a record is in `accepted` exactly as often as the stream took it, whatever the client was told.

use std::{borrow::Cow, time::SystemTime};

use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::Fault;

/// A record that the stream took.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) data: Vec<u8>,
    /// Empty where the service knows none.
    pub(crate) partition_key: String,
    pub(crate) shard: usize,
}

/// A signature on a request: when it came, and whose key signed for which region.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) at: SystemTime,
    pub(crate) key: String,
    pub(crate) region: String,
}

/// How a service's records look, and how many it takes.
pub(crate) struct Api {
    /// The value of `x-amz-target`.
    pub(crate) target: &'static str,
    /// A record has a partition key.
    keyed: bool,
    /// Most bytes of a record, its key included.
    record: usize,
    /// Most bytes of a request.
    request: usize,
    /// What it says to a record that is one too many for now.
    busy: &'static str,
    results: &'static str,
    failed: &'static str,
    number: &'static str,
}

pub(crate) const KINESIS: Api = Api {
    target: "Kinesis_20131202.PutRecords",
    keyed: true,
    record: 1 << 20,
    request: 10 << 20,
    busy: "ProvisionedThroughputExceededException",
    results: "Records",
    failed: "FailedRecordCount",
    number: "SequenceNumber",
};

pub(crate) const FIREHOSE: Api = Api {
    target: "Firehose_20150804.PutRecordBatch",
    keyed: false,
    record: 1_024_000,
    request: 4 << 20,
    busy: "ServiceUnavailableException",
    results: "RequestResponses",
    failed: "FailedPutCount",
    number: "RecordId",
};

/// Everything that happened at the stream since it began.
#[derive(Default)]
pub(crate) struct Ledger {
    /// In the order they were taken.
    pub(crate) accepted: Vec<Accepted>,
    /// Records that were taken although the client was not told so: these and no others may come again.
    pub(crate) doubtful: Vec<Vec<u8>>,
    /// Requests of any kind.
    pub(crate) requests: u64,
    /// Records offered, those refused and those offered again included.
    pub(crate) attempts: u64,
    /// Records refused one by one within a request that was answered 200.
    pub(crate) refused: u64,
    /// Most requests under way at once.
    pub(crate) most_at_once: u64,
    /// Who signed the requests that had a signature, one a request.
    pub(crate) signed: Vec<Signed>,
    /// What a client did that the service would not have let pass.
    pub(crate) violations: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put<'a> {
    #[serde(borrow)]
    records: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    partition_key: Option<String>,
    explicit_hash_key: Option<String>,
}

/// A record of a request.
struct Offered {
    data: Vec<u8>,
    partition_key: Option<String>,
    explicit_hash_key: Option<String>,
}

/// What the service answers: a status and a body.
pub(crate) type Verdict = (u16, String);

/// The answer that refuses a whole request.
pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Verdict {
    (status, json!({ "__type": code, "message": message }).to_string())
}

impl Ledger {
    /// The data of every record taken.
    pub(crate) fn data(&self) -> Vec<Vec<u8>> {
        self.accepted.iter().map(|a| a.data.clone()).collect()
    }

    /// The lines of every record taken, with their ends.
    pub(crate) fn lines(&self) -> Vec<Vec<u8>> {
        lines(self.accepted.iter().map(|a| &a.data))
    }

    /// Handles a body with records under a fault and says what to answer.
    pub(crate) fn put(&mut self, api: &Api, body: &[u8], fault: &Fault, shards: usize) -> Verdict {
        let Some(records) =
            decode(body).filter(|records| records.iter().all(|r| r.partition_key.is_some() == api.keyed))
        else {
            self.violations.push(format!("a body that is not of {}", api.target));
            return refusal(400, "SerializationException", "not such a request");
        };
        if let Some(wrong) = violation(api, &records) {
            self.violations.push(wrong.clone());
            return refusal(400, "ValidationException", &wrong);
        }
        if let Fault::Poison(marker) = fault
            && records.iter().any(|r| memchr::memmem::find(&r.data, marker).is_some())
        {
            return refusal(400, "ValidationException", "1 validation error detected: Value at 'records' is bad");
        }
        let mut failed = 0;
        let results: Vec<Value> = records
            .into_iter()
            .enumerate()
            .map(|(index, Offered { data, partition_key, explicit_hash_key })| {
                self.attempts += 1;
                let partition_key = partition_key.unwrap_or_default();
                let shard = shard_of(explicit_hash_key.as_deref().unwrap_or(&partition_key), shards);
                if let Some((code, message)) = refused(api, fault, index, self.attempts, shard) {
                    failed += 1;
                    return json!({ "ErrorCode": code, "ErrorMessage": message });
                }
                self.accepted.push(Accepted { data, partition_key, shard });
                json!({ api.number: format!("{:056}", self.accepted.len()), "ShardId": shard_id(shard) })
            })
            .collect();
        self.refused += failed;
        (200, json!({ api.failed: failed, api.results: results }).to_string())
    }
}

/// Records cut into lines, their ends kept.
pub(crate) fn lines<'a>(records: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<Vec<u8>> {
    records.into_iter().flat_map(|r| r.split_inclusive(|b| *b == b'\n')).map(<[u8]>::to_vec).collect()
}

/// Whether this fault refuses this one record, and with which words.
fn refused(api: &Api, fault: &Fault, index: usize, attempt: u64, shard: usize) -> Option<(&'static str, String)> {
    let throttled = match fault {
        Fault::ThrottleEach(n) => attempt.is_multiple_of(*n),
        Fault::ThrottleShard(hot) => shard == *hot,
        Fault::FailRecord(i) if index == *i => return Some(("InternalFailure", "Internal service failure.".into())),
        _ => false,
    };
    let id = shard_id(shard);
    let message = format!("Rate exceeded for shard {id} in stream logs under account 111122223333.");
    throttled.then_some((api.busy, message))
}

fn decode(body: &[u8]) -> Option<Vec<Offered>> {
    let request: Put = serde_json::from_slice(body).ok()?;
    let decode = |Entry { data, partition_key, explicit_hash_key }: Entry| {
        let data = base64_simd::STANDARD.decode_to_vec(data.as_bytes()).ok()?;
        Some(Offered { data, partition_key, explicit_hash_key })
    };
    request.records.into_iter().map(decode).collect()
}

/// The limits of the service (500 records, its sizes, keys of 1 to 256 characters, hashes of 128 bits).
fn violation(api: &Api, records: &[Offered]) -> Option<String> {
    if records.is_empty() || records.len() > 500 {
        return Some(format!("{} records in one request", records.len()));
    }
    let key = |r: &Offered| r.partition_key.as_ref().map_or(0, String::len);
    let sizes = || records.iter().map(|r| r.data.len() + key(r));
    if let Some(size) = sizes().find(|s| *s > api.record) {
        return Some(format!("a record of {size} bytes"));
    }
    if sizes().sum::<usize>() > api.request {
        return Some(format!("a request of {} bytes", sizes().sum::<usize>()));
    }
    if records.iter().filter_map(|r| r.explicit_hash_key.as_ref()).any(|hash| hash.parse::<u128>().is_err()) {
        return Some("an explicit hash key that is no number".into());
    }
    let key_length = |key: &str| (1..=256).contains(&key.chars().count());
    let keys_fit = records.iter().all(|r| r.partition_key.as_deref().is_none_or(key_length));
    (!keys_fit).then(|| "a partition key of a wrong length".into())
}

/// Which shard a key goes to. Even, and the same each time; that the real service hashes otherwise plays no part here.
fn shard_of(partition_key: &str, shards: usize) -> usize {
    crc32fast::hash(partition_key.as_bytes()) as usize % shards
}

/// The name of a shard.
pub(crate) fn shard_id(shard: usize) -> String {
    format!("shardId-{shard:012}")
}
