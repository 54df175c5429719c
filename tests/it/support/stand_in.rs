//! A real Kinesis in this process: ferrokinesis on a loopback port, and a consumer that reads back what it holds.
//! Breaks nothing: for faults there is `faults`. Also used by `examples/quickstart.rs`.

use std::net::SocketAddr;

use ferrokinesis::{
    actions::{Operation, dispatch},
    store::{Store, StoreOptions},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

/// A record as a consumer sees it.
pub(crate) struct Received {
    pub(crate) shard: String,
    pub(crate) partition_key: String,
    pub(crate) data: Vec<u8>,
}

/// The service with one stream. Ends when dropped.
pub(crate) struct StandIn {
    runtime: Runtime,
    store: Store,
    stream: String,
    address: SocketAddr,
}

impl StandIn {
    /// Starts the service and creates `stream` with this many shards.
    pub(crate) fn start(stream: &str, shards: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime of one thread");
        let options = StoreOptions { create_stream_ms: 0, shard_limit: shards.max(10), ..StoreOptions::default() };
        let (address, store) = runtime.block_on(async {
            let (app, store) = ferrokinesis::create_app(options);
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
            let address = listener.local_addr().expect("a bound listener has an address");
            tokio::spawn(ferrokinesis::serve_plain_http(listener, app, std::future::pending()));
            (address, store)
        });
        let stand_in = Self { runtime, store, stream: stream.to_owned(), address };
        stand_in.create(shards);
        stand_in
    }

    /// What belongs into `endpoint_url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn create(&self, shards: u32) {
        self.runtime.block_on(async {
            let request = json!({ "StreamName": self.stream, "ShardCount": shards });
            dispatch(&self.store, Operation::CreateStream, request).await.expect("a new stream");
            let name = json!({ "StreamName": self.stream });
            loop {
                let summary = dispatch(&self.store, Operation::DescribeStreamSummary, name.clone()).await;
                let summary = summary.ok().flatten().expect("the stream that was just created");
                if summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE" {
                    break;
                }
                tokio::task::yield_now().await;
            }
        });
    }

    /// Everything the stream holds, shard by shard, in the order of the sequence numbers.
    ///
    /// On the service's only thread: from two at once, a read and the first write to a shard can wait for each other.
    pub(crate) fn read_all(&self) -> Vec<Received> {
        let reading = self.runtime.spawn(read_all(self.store.clone(), self.stream.clone()));
        self.runtime.block_on(reading).expect("reading does not panic")
    }
}

async fn ask(store: &Store, operation: Operation, request: Value) -> Value {
    // A budget of its own for each question: none is interrupted halfway.
    tokio::task::yield_now().await;
    dispatch(store, operation, request).await.ok().flatten().expect("a good question")
}

async fn read_all(store: Store, stream: String) -> Vec<Received> {
    let mut received = Vec::new();
    let shards = ask(&store, Operation::ListShards, json!({ "StreamName": stream })).await;
    for shard in shards["Shards"].as_array().expect("a list of shards") {
        let id = shard["ShardId"].as_str().expect("an id");
        let from = json!({ "StreamName": stream, "ShardId": id, "ShardIteratorType": "TRIM_HORIZON" });
        let mut iterator = ask(&store, Operation::GetShardIterator, from).await["ShardIterator"].clone();
        loop {
            let request = json!({ "ShardIterator": iterator, "Limit": 10_000 });
            let page = ask(&store, Operation::GetRecords, request).await;
            let records = page["Records"].as_array().expect("a list of records");
            if records.is_empty() {
                break;
            }
            received.extend(records.iter().map(|r| Received {
                shard: id.to_owned(),
                partition_key: r["PartitionKey"].as_str().expect("a key").to_owned(),
                data:
                    base64_simd::STANDARD.decode_to_vec(r["Data"].as_str().expect("data").as_bytes()).expect("base64"),
            }));
            iterator = page["NextShardIterator"].clone();
        }
    }
    received
}
