//! A flow's delivery as a whole, with a destination that answers from a script.

use super::*;
use crate::{
    deliver::{
        errors::Class,
        testing::{batch, batch_of, failure},
    },
    model::{DeadLetter, FileRef, Generation, Span},
    telemetry::counters::Counter,
};
use std::{
    collections::VecDeque,
    path::Path,
    sync::{Mutex, mpsc as sync_mpsc},
    time::Duration,
};

/// Answers from a script, then accepts everything; notes what it was asked to send.
struct Scripted {
    script: Mutex<VecDeque<Reply>>,
    seen: Arc<Mutex<Vec<Vec<u32>>>>,
}

impl Sink for Scripted {
    fn max_in_flight(&self) -> usize {
        1
    }

    fn billing(&self) -> Option<Billing> {
        Some(Billing { unit: 25 << 10, rounded_to: 1 << 10 })
    }

    async fn send(&self, _: &Batch, which: &[u32]) -> Reply {
        self.seen.lock().unwrap().push(which.to_vec());
        self.script.lock().unwrap().pop_front().unwrap_or_else(Reply::accepted)
    }
}

struct Bench {
    courier: Courier,
    seen: Arc<Mutex<Vec<Vec<u32>>>>,
    settled: sync_mpsc::Receiver<Settled>,
    counters: Arc<FlowCounters>,
    state: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

fn bench(script: Vec<Reply>) -> Bench {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let state = tempfile::tempdir().unwrap();
    let seen = Arc::default();
    let sink = Scripted { script: Mutex::new(script.into()), seen: Arc::clone(&seen) };
    let counters = Arc::<FlowCounters>::default();
    let (sender, settled) = sync_mpsc::channel();
    let letters = DeadLetters::new(state.path(), "web");
    let on_news = move |news| {
        if let News::Settled(settled) = news {
            sender.send(settled).unwrap();
        }
    };
    let courier = Courier::start(runtime.handle(), "web", sink, letters, Arc::clone(&counters), on_news);
    Bench { courier, seen, settled, counters, state, _runtime: runtime }
}

impl Bench {
    fn settled(&self) -> Settled {
        self.settled.recv_timeout(Duration::from_secs(30)).expect("the batch settles")
    }

    fn letters(&self) -> String {
        std::fs::read_to_string(self.state.path().join("dead-letters/web.jsonl")).unwrap_or_default()
    }
}

#[test]
fn failed_records_are_sent_again_and_the_rest_is_not() {
    let failed = vec![(1, failure(Class::Throttled))];
    let bench = bench(vec![Reply::Answered { failed }, Reply::Failed(failure(Class::Again))]);
    bench.courier.send(batch(0, 3));
    assert_eq!(bench.settled(), Settled { id: BatchId(0), accepted: 3, dead_lettered: 0 });
    assert_eq!(*bench.seen.lock().unwrap(), [vec![0, 1, 2], vec![1], vec![1]]);
    let c = &bench.counters;
    assert_eq!(
        [&c.requests, &c.retries, &c.throttled, &c.sent_records, &c.sent_bytes].map(Counter::get),
        [3, 2, 1, 3, 9]
    );
    assert_eq!((bench.courier.health().held(), bench.courier.health().replies()), (None, 3));
}

#[test]
fn what_is_accepted_is_counted_as_it_is_billed() {
    let bench = bench(vec![Reply::Answered { failed: vec![(1, failure(Class::Reject))] }]);
    let full = vec![b'x'; (25 << 10) - 10];
    bench.courier.send(batch_of(0, &[b"", b"refused", &full, &[&full[..], b"x"].concat()]));
    bench.settled();
    let c = &bench.counters;
    let counted = [&c.sent_bytes, &c.put_units, &c.rounded_bytes].map(Counter::get);
    assert_eq!(counted, [2 * full.len() as u64 + 1, 1 + 1 + 2, (1 + 25 + 26) << 10]);
}

#[test]
fn a_refused_record_is_in_the_dead_letters_before_the_batch_settles() {
    let reject = || Reply::Failed(failure(Class::Reject));
    let bench = bench(vec![reject(), reject()]);
    bench.courier.send(batch(0, 2));
    assert_eq!(bench.settled(), Settled { id: BatchId(0), accepted: 1, dead_lettered: 1 });
    assert!(bench.letters().contains(r#""reason":"Code: words","data":"r0\n"}"#), "{}", bench.letters());
    assert_eq!(bench.counters.dead_lettered.get(), 1);
}

#[test]
fn a_batch_with_dead_records_only_is_written_and_settles() {
    let bench = bench(vec![]);
    let mut batch = batch(4, 0);
    let file = FileRef { generation: Generation(1), path: Path::new("/a").into() };
    let span = Span { start: 0, end: 2 };
    batch.dead.push(DeadLetter { file, span, reason: "no match".into(), data: b"x".into() });
    bench.courier.send(batch);
    assert_eq!(bench.settled(), Settled { id: BatchId(4), accepted: 0, dead_lettered: 1 });
    assert!(bench.letters().contains("no match"));
    assert!(bench.seen.lock().unwrap().is_empty());
}

#[test]
fn dead_letters_that_cannot_be_written_hold_the_batch_until_they_can() {
    let bench = bench(vec![Reply::Failed(failure(Class::Reject))]);
    let folder = bench.state.path().join("dead-letters");
    std::fs::write(&folder, "in the way").unwrap();
    bench.courier.send(batch(0, 1));
    let why = loop {
        if let Some(why) = bench.courier.health().held() {
            break why;
        }
        std::thread::yield_now();
    };
    assert!(why.contains("cannot be written"), "{why}");
    assert!(bench.settled.try_recv().is_err());
    std::fs::remove_file(&folder).unwrap();
    assert_eq!(bench.settled().dead_lettered, 1);
    assert_eq!(bench.courier.health().held(), None);
}

#[test]
fn dropping_the_courier_ends_a_request_that_hangs() {
    struct Hangs(sync_mpsc::Sender<&'static str>);
    struct OnDrop(sync_mpsc::Sender<&'static str>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.send("dropped").unwrap();
        }
    }
    impl Sink for Hangs {
        fn max_in_flight(&self) -> usize {
            8
        }
        async fn send(&self, _: &Batch, _: &[u32]) -> Reply {
            let _guard = OnDrop(self.0.clone());
            self.0.send("sent").unwrap();
            std::future::pending().await
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (sender, events) = sync_mpsc::channel();
    let letters = DeadLetters::new(Path::new("/nowhere"), "web");
    let courier = Courier::start(runtime.handle(), "web", Hangs(sender), letters, Arc::default(), |_| {});
    courier.send(batch(0, 1));
    let next = || events.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(next(), "sent");
    drop(courier);
    assert_eq!(next(), "dropped");
}
