//! The shards of a stream: which hashes go to which of them, what they became, what they hold, and how the service
//! tells of them. Knows records only by their place in `Ledger::accepted`; no socket, no lock, no clock.
//! Invariant: the open shards share out all hashes, each hash to one of them; a child's number is above its parents'.

use md5::{Digest, Md5};
use serde_json::{Value, json};

/// A part of the hash space, and the records that went to it.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    /// Its first hash.
    pub(crate) start: u128,
    /// Its last hash.
    pub(crate) end: u128,
    /// None, the one that it was split from, or the two that it was merged of.
    pub(crate) parents: Vec<usize>,
    /// It takes no more records; it can be read to its end.
    pub(crate) closed: bool,
    /// The places of its records, rising.
    pub(crate) records: Vec<usize>,
    /// How many records the stream had taken when this shard was opened.
    opened_at: u64,
    /// The same when it was closed.
    closed_at: u64,
}

impl Shard {
    /// Its range, as the service tells it.
    fn hashes(&self) -> Value {
        json!({ "StartingHashKey": self.start.to_string(), "EndingHashKey": self.end.to_string() })
    }
}

/// All shards that a stream ever had, those of its predecessors of the same name included.
#[derive(Default)]
pub(crate) struct Shards {
    /// A shard's number is its place here.
    all: Vec<Shard>,
    /// The first shard of the present stream.
    first: usize,
    /// How many streams of this name there were before.
    epoch: usize,
    /// Records taken, those of the predecessors included.
    taken: usize,
}

impl Shards {
    /// A new stream whose shards are of one size.
    pub(crate) fn even(count: usize) -> Self {
        let mut shards = Self::default();
        shards.open_even(count);
        shards
    }

    /// Another stream takes the place of this one, with as many shards as this one began with.
    pub(crate) fn recreate(&mut self) {
        let count = self.present().filter(|(_, shard)| shard.parents.is_empty()).count();
        for shard in &mut self.all {
            shard.closed = true;
        }
        self.first = self.all.len();
        self.epoch += 1;
        self.open_even(count);
    }

    fn open_even(&mut self, count: usize) {
        assert!(count > 0, "a stream has a shard");
        let step = u128::MAX / count as u128;
        let start = |i: usize| i as u128 * step + i as u128;
        for i in 0..count {
            let end = if i + 1 == count { u128::MAX } else { start(i + 1) - 1 };
            self.open(start(i), end, Vec::new());
        }
    }

    fn open(&mut self, start: u128, end: u128, parents: Vec<usize>) -> usize {
        let opened_at = self.taken as u64;
        self.all.push(Shard { start, end, parents, closed: false, records: Vec::new(), opened_at, closed_at: 0 });
        self.all.len() - 1
    }

    /// Closes a shard and says which hashes are now without one.
    #[track_caller]
    fn close(&mut self, number: usize) -> (u128, u128) {
        let shard = &mut self.all[number];
        assert!(!shard.closed, "{} is closed already", shard_id(number));
        shard.closed = true;
        shard.closed_at = self.taken as u64;
        (shard.start, shard.end)
    }

    /// Splits an open shard in the middle; its two children.
    #[track_caller]
    pub(crate) fn split(&mut self, number: usize) -> [usize; 2] {
        let (start, end) = self.close(number);
        assert!(start < end, "{} has one hash only", shard_id(number));
        let middle = start + (end - start) / 2;
        [self.open(start, middle, vec![number]), self.open(middle + 1, end, vec![number])]
    }

    /// Merges two open shards that lie side by side; their child.
    #[track_caller]
    pub(crate) fn merge(&mut self, one: usize, other: usize) -> usize {
        let (a, b) = (self.close(one), self.close(other));
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        assert_eq!(low.1.checked_add(1), Some(high.0), "{} and {} are no neighbours", shard_id(one), shard_id(other));
        self.open(low.0, high.1, vec![one, other])
    }

    /// The open shard that a hash goes to.
    pub(crate) fn route(&self, hash: u128) -> usize {
        let holds = |shard: &Shard| !shard.closed && (shard.start..=shard.end).contains(&hash);
        self.all.iter().rposition(holds).expect("the open shards share out all hashes")
    }

    /// The stream's next record goes to this shard; its number among all records.
    pub(crate) fn take(&mut self, number: usize) -> u64 {
        self.all[number].records.push(self.taken);
        self.taken += 1;
        self.taken as u64
    }

    /// A shard of the present stream.
    pub(crate) fn get(&self, number: usize) -> Option<&Shard> {
        self.all.get(number).filter(|_| number >= self.first)
    }

    /// The shards of the present stream with their numbers, parents before children.
    pub(crate) fn present(&self) -> impl Iterator<Item = (usize, &Shard)> {
        self.all.iter().enumerate().skip(self.first)
    }

    /// How many streams of this name there were before.
    pub(crate) fn epoch(&self) -> usize {
        self.epoch
    }

    /// How `ListShards` tells of a shard.
    pub(crate) fn entry(&self, number: usize) -> Value {
        let shard = &self.all[number];
        let mut entry = json!({
            "ShardId": shard_id(number),
            "HashKeyRange": shard.hashes(),
            "SequenceNumberRange": { "StartingSequenceNumber": self.sequence_number(shard.opened_at, number) },
        });
        if shard.closed {
            let last = self.sequence_number(shard.closed_at, number);
            entry["SequenceNumberRange"]["EndingSequenceNumber"] = last.into();
        }
        for (name, parent) in ["ParentShardId", "AdjacentParentShardId"].into_iter().zip(&shard.parents) {
            entry[name] = shard_id(*parent).into();
        }
        entry
    }

    /// How `GetRecords` tells of the children of a shard that was read to its end.
    pub(crate) fn children(&self, number: usize) -> Vec<Value> {
        let child = |(child, shard): (usize, &Shard)| {
            let parents: Vec<String> = shard.parents.iter().map(|parent| shard_id(*parent)).collect();
            json!({ "ShardId": shard_id(child), "ParentShards": parents, "HashKeyRange": shard.hashes() })
        };
        self.present().filter(|(_, shard)| shard.parents.contains(&number)).map(child).collect()
    }

    /// As the service writes it: 56 digits, which name the stream and the shard and rise with the records.
    pub(crate) fn sequence_number(&self, sequence: u64, number: usize) -> String {
        format!("49{:06}{sequence:036}{number:012}", self.epoch)
    }

    /// Reads a sequence number; `None` if it is none of this shard.
    pub(crate) fn sequence(&self, text: &str, number: usize) -> Option<u64> {
        let stream = format!("49{:06}", self.epoch);
        let (sequence, shard) = text.strip_prefix(stream.as_str())?.split_at_checked(36)?;
        shard.parse::<usize>().ok().filter(|shard| *shard == number)?;
        sequence.parse().ok()
    }
}

/// Where a record with this key and explicit hash goes.
pub(crate) fn hash(partition_key: &str, explicit_hash_key: Option<&str>) -> u128 {
    let of_key = || u128::from_be_bytes(Md5::digest(partition_key).into());
    explicit_hash_key.map_or_else(of_key, |hash| hash.parse().expect("a decimal number of 128 bits"))
}

/// The name of a shard.
pub(crate) fn shard_id(number: usize) -> String {
    format!("shardId-{number:012}")
}

/// The number of a shard with this name.
pub(crate) fn shard_number(id: &str) -> Option<usize> {
    id.strip_prefix("shardId-")?.parse().ok()
}
