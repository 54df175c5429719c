//! What the stream took, and what it saw; a data stream and a delivery stream alike. Knows nothing of connections.
//! Invariant: a record is in `accepted` exactly as often as the stream took it, whatever the client was told.

use std::{
    borrow::Cow,
    collections::HashMap,
    ops::Range,
    time::{Instant, SystemTime},
};

use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimePrinter};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    bucket::Bucket,
    faults::Fault,
    shards::{Shards, hash, shard_id},
};

/// A record that the stream took.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) data: Vec<u8>,
    /// Empty where the service knows none.
    pub(crate) partition_key: String,
    pub(crate) explicit_hash_key: Option<String>,
    /// Its number among all that there ever were; 0 where the service knows none.
    pub(crate) shard: usize,
    /// One more than its place in `Ledger::accepted`.
    pub(crate) sequence: u64,
    /// When, by the service's clock, in milliseconds since 1970.
    pub(crate) arrived: i64,
}

/// A signature on a request: when it came, and whose key signed for which region.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) at: SystemTime,
    pub(crate) key: String,
    pub(crate) region: String,
}

impl Signed {
    /// Reads the header `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...`.
    pub(crate) fn by(authorization: &str) -> Option<Self> {
        let mut scope = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=")?.split('/');
        let (key, _, region) = (scope.next()?.to_owned(), scope.next()?, scope.next()?.to_owned());
        Some(Self { at: SystemTime::now(), key, region })
    }
}

/// How a service's records look, and how many it takes.
pub(crate) struct Api {
    /// The value of `x-amz-target`.
    pub(crate) target: &'static str,
    /// A record has a partition key.
    keyed: bool,
    /// Most bytes of a record, its key included, unless the stream has a limit of its own.
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
    /// In the order they were taken, those of streams that are gone included.
    pub(crate) accepted: Vec<Accepted>,
    /// Where they went.
    pub(crate) shards: Shards,
    /// Records that were taken although the client was not told so: these and no others may come again.
    pub(crate) doubtful: Vec<Vec<u8>>,
    /// Requests of any kind, except those to read.
    pub(crate) requests: u64,
    /// Requests to read, whatever they were answered.
    pub(crate) reads: u64,
    /// Records offered, those refused and those offered again included.
    pub(crate) attempts: u64,
    /// The same for each shard that was offered any.
    pub(crate) offered_by_shard: HashMap<usize, u64>,
    /// Records refused one by one within a request that was answered 200.
    pub(crate) refused: u64,
    /// The same for each shard that refused any.
    pub(crate) refused_by_shard: HashMap<usize, u64>,
    /// Most requests under way at once, those to read left out.
    pub(crate) most_at_once: u64,
    /// Who signed the requests that had a signature, one a request; those to read left out.
    pub(crate) signed: Vec<Signed>,
    /// What a client did that the service would not have let pass.
    pub(crate) violations: Vec<String>,
    /// When the present stream was made, by the service's clock.
    pub(crate) created: Timestamp,
    /// How far the service's clock is ahead of the host's.
    pub(crate) clock: SignedDuration,
    /// The largest record of a data stream, if it is not the usual one.
    pub(crate) record_kib: Option<usize>,
    /// The shards that take so many records a second only.
    pub(crate) buckets: HashMap<usize, Bucket>,
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

/// The code and the message of a record that was refused.
type Refused = (&'static str, String);

impl Ledger {
    /// That of a new stream.
    pub(crate) fn of(shards: usize) -> Self {
        Self { shards: Shards::even(shards), created: Timestamp::now(), ..Self::default() }
    }

    /// What the service's clock shows.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now() + self.clock
    }

    /// The same, as HTTP writes it.
    pub(crate) fn date(&self) -> String {
        DateTimePrinter::new().timestamp_to_rfc9110_string(&self.now()).expect("a year of four digits")
    }

    /// What a consumer of the present stream sees: each shard from its beginning, parents before children.
    pub(crate) fn consumed(&self) -> Vec<&Accepted> {
        self.shards.present().flat_map(|(_, shard)| &shard.records).map(|at| &self.accepted[*at]).collect()
    }

    /// The client was not told that these were taken.
    pub(crate) fn doubt(&mut self, places: Range<usize>) {
        self.doubtful.extend(self.accepted[places].iter().map(|a| a.data.clone()));
    }

    /// The data of every record taken.
    pub(crate) fn data(&self) -> Vec<Vec<u8>> {
        self.accepted.iter().map(|a| a.data.clone()).collect()
    }

    /// The lines of every record taken, with their ends.
    pub(crate) fn lines(&self) -> Vec<Vec<u8>> {
        lines(self.accepted.iter().map(|a| &a.data))
    }

    /// Handles a body with records under a fault and says what to answer.
    pub(crate) fn put(&mut self, api: &Api, body: &[u8], fault: &Fault) -> Verdict {
        let Some(records) =
            decode(body).filter(|records| records.iter().all(|r| r.partition_key.is_some() == api.keyed))
        else {
            self.violations.push(format!("a body that is not of {}", api.target));
            return refusal(400, "SerializationException", "not such a request");
        };
        if records.iter().any(|r| r.explicit_hash_key.as_deref() == Some(BEYOND_ALL_SHARDS)) {
            return refusal(400, "InvalidArgumentException", "Invalid ExplicitHashKey.");
        }
        let most = self.record_kib.filter(|_| api.keyed).map_or(api.record, |kib| kib << 10);
        if let Some(wrong) = violation(api, most, &records) {
            self.violations.push(wrong.clone());
            return refusal(400, "ValidationException", &wrong);
        }
        if let Fault::Poison(marker) = fault
            && records.iter().any(|r| memchr::memmem::find(&r.data, marker).is_some())
        {
            return refusal(400, "ValidationException", "1 validation error detected: Value at 'records' is bad");
        }
        let before = self.refused;
        let offered = records.into_iter().enumerate();
        let results: Vec<Value> = offered.map(|(index, record)| self.offer(api, fault, index, record)).collect();
        (200, json!({ api.failed: self.refused - before, api.results: results }).to_string())
    }

    /// One record of a request, the `index`-th: takes or refuses it, and says what to answer.
    fn offer(&mut self, api: &Api, fault: &Fault, index: usize, record: Offered) -> Value {
        let Offered { data, partition_key, explicit_hash_key } = record;
        let partition_key = partition_key.unwrap_or_default();
        let shard = if api.keyed { self.shards.route(hash(&partition_key, explicit_hash_key.as_deref())) } else { 0 };
        self.attempts += 1;
        *self.offered_by_shard.entry(shard).or_default() += 1;
        let refusal = refused(api, fault, index, self.attempts, shard).or_else(|| self.over(api, shard));
        if let Some((code, message)) = refusal {
            self.refused += 1;
            *self.refused_by_shard.entry(shard).or_default() += 1;
            return json!({ "ErrorCode": code, "ErrorMessage": message });
        }
        let sequence = self.take(shard, data, partition_key, explicit_hash_key);
        json!({ api.number: self.shards.sequence_number(sequence, shard), "ShardId": shard_id(shard) })
    }

    /// A record of somebody else's.
    pub(crate) fn take_anothers(&mut self, data: Vec<u8>, partition_key: &str) {
        let shard = self.shards.route(hash(partition_key, None));
        self.take(shard, data, partition_key.to_owned(), None);
    }

    fn take(&mut self, shard: usize, data: Vec<u8>, partition_key: String, explicit_hash_key: Option<String>) -> u64 {
        let sequence = self.shards.take(shard);
        let arrived = self.now().as_millisecond();
        self.accepted.push(Accepted { data, partition_key, explicit_hash_key, shard, sequence, arrived });
        sequence
    }

    /// Whether this record is one too many for its shard for now.
    fn over(&mut self, api: &Api, shard: usize) -> Option<Refused> {
        let bucket = self.buckets.get_mut(&shard)?;
        (!bucket.take(Instant::now())).then(|| busy(api, shard))
    }
}

/// Records cut into lines, their ends kept.
pub(crate) fn lines<'a>(records: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<Vec<u8>> {
    records.into_iter().flat_map(|r| r.split_inclusive(|b| *b == b'\n')).map(<[u8]>::to_vec).collect()
}

/// Whether this fault refuses this one record, and with which words.
fn refused(api: &Api, fault: &Fault, index: usize, attempt: u64, shard: usize) -> Option<Refused> {
    let throttled = match fault {
        Fault::ThrottleEach(n) => attempt.is_multiple_of(*n),
        Fault::ThrottleShard(hot) => shard == *hot,
        Fault::FailRecord(i) if index == *i => return Some(("InternalFailure", "Internal service failure.".into())),
        _ => false,
    };
    throttled.then(|| busy(api, shard))
}

fn busy(api: &Api, shard: usize) -> Refused {
    let id = shard_id(shard);
    (api.busy, format!("Rate exceeded for shard {id} in stream logs under account 111122223333."))
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
/// What no shard has: one more than the largest.
const BEYOND_ALL_SHARDS: &str = "340282366920938463463374607431768211456";

fn violation(api: &Api, most: usize, records: &[Offered]) -> Option<String> {
    if records.is_empty() || records.len() > 500 {
        return Some(format!("{} records in one request", records.len()));
    }
    let key = |r: &Offered| r.partition_key.as_ref().map_or(0, String::len);
    let sizes = || records.iter().map(|r| r.data.len() + key(r));
    if let Some(size) = sizes().find(|s| *s > most) {
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
