//! Kinesis Data Streams: one `PutRecords` request, and what its outcome means. Neither retries nor waits.
//! Invariant: the SDK signs and sends exactly the bytes that `body` laid out.

mod body;
#[cfg(test)]
mod tests;
mod verdict;

use super::{
    MAX_KINESIS_RECORD,
    courier::Sink,
    errors::{Class, Failure},
    job::Reply,
};
use crate::{
    aws::{self, StartError},
    model::Batch,
};
use aws_sdk_kinesis::{
    Client, operation::put_records::PutRecordsOutput, primitives::Blob, types::PutRecordsRequestEntry,
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::SharedHttpClient,
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextMut, dyn_dispatch_hint},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag};
use body::{Spare, Target};
use bytes::Bytes;
use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

/// One stream.
#[derive(Debug)]
pub struct KinesisSink {
    options: super::Kinesis,
    target: Target,
    /// The end of every body: `],"StreamName":"..."}`.
    tail: Vec<u8>,
    http: SharedHttpClient,
    /// Replaced when its credentials were refused, never while a request is made.
    client: RwLock<Client>,
    /// The credentials were refused: look for new ones before the next request.
    stale: AtomicBool,
    /// Takes the place of the records until the body is put in.
    placeholder: PutRecordsRequestEntry,
    spare: Spare,
}

impl KinesisSink {
    /// Finds region and credentials. Missing credentials are no error, a missing region is.
    pub async fn connect(options: &super::Kinesis) -> Result<Self, StartError> {
        let target = Target::new(&options.stream);
        let http = aws::http_client(&options.aws, options.max_in_flight)?;
        let client = connect(options, &target, http.clone()).await?;
        let placeholder = PutRecordsRequestEntry::builder().data(Blob::new("")).partition_key("0").build();
        Ok(Self {
            options: options.clone(),
            tail: target.tail(),
            target,
            http,
            client: RwLock::new(client),
            stale: AtomicBool::new(false),
            placeholder: placeholder.expect("data and key are set"),
            spare: Spare::default(),
        })
    }

    async fn client(&self) -> Client {
        if self.stale.swap(false, Ordering::Relaxed)
            && let Ok(client) = connect(&self.options, &self.target, self.http.clone()).await
        {
            *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
        }
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn put(&self, batch: &Batch, which: &[u32]) -> Reply {
        let client = self.client().await;
        let mut body = self.spare.take();
        body::lay_out(&mut body, batch, which, &self.tail);
        let body = Bytes::from(body);
        let request = client.put_records().records(self.placeholder.clone());
        let request = match &self.target {
            Target::Name(name) => request.stream_name(name),
            Target::Arn(arn) => request.stream_arn(arn),
        };
        let result = request.customize().interceptor(ReadyBody(body.clone())).send().await;
        self.spare.give_back(body);
        match result {
            Ok(output) => reply(output, which.len()),
            Err(error) => {
                let region = client.config().region().map_or("", AsRef::as_ref);
                let failure = verdict::of(&error, self.target.as_str(), region);
                self.stale.fetch_or(failure.class == Class::Credentials, Ordering::Relaxed);
                Reply::Failed(failure)
            }
        }
    }
}

async fn connect(options: &super::Kinesis, target: &Target, http: SharedHttpClient) -> Result<Client, StartError> {
    let what = format!("stream {}", target.as_str());
    Ok(Client::new(&aws::connect(&options.aws, &what, target.region(), http).await?))
}

impl Sink for KinesisSink {
    fn max_in_flight(&self) -> usize {
        self.options.max_in_flight
    }

    async fn send(&self, batch: &Batch, which: &[u32]) -> Reply {
        let oversize = oversize(batch, which);
        debug_assert!(oversize.is_none(), "the flow keeps to the destination's limits");
        match oversize {
            Some(reply) => reply,
            None => self.put(batch, which).await,
        }
    }
}

/// What the service would say to records that are too long, without asking it: it would refuse the whole request.
fn oversize(batch: &Batch, which: &[u32]) -> Option<Reply> {
    let fits = |index: u32| batch.record(index as usize).len() <= MAX_KINESIS_RECORD;
    if which.iter().all(|&index| fits(index)) {
        return None;
    }
    let failed = (0..).zip(which).map(|(position, &index)| {
        let failure = if fits(index) {
            Failure::new(Class::Again, "NotSent", "another record of the request is too long")
        } else {
            Failure::new(Class::Reject, "TooLong", format!("longer than {MAX_KINESIS_RECORD} bytes"))
        };
        (position, failure)
    });
    Some(Reply::Answered { failed: failed.collect() })
}

/// The outcome of each record, in the order of the request.
fn reply(output: PutRecordsOutput, records: usize) -> Reply {
    if output.records.len() != records {
        let message = format!("{} results for {records} records", output.records.len());
        return Reply::Failed(Failure::new(Class::Ambiguous, "UnreadableReply", message));
    }
    let mut failed = Vec::new();
    for (position, entry) in (0..).zip(output.records) {
        let failure = match entry.error_code {
            Some(code) => {
                let message = entry.error_message.unwrap_or_default();
                Failure { class: super::errors::of_record(&code), code, message, remedy: None }
            }
            None if entry.sequence_number.is_some() => continue,
            None => Failure::new(Class::Ambiguous, "UnreadableReply", "neither a sequence number nor an error"),
        };
        failed.push((position, failure));
    }
    Reply::Answered { failed }
}

/// Puts the ready body in the placeholder's place, before it is signed.
struct ReadyBody(Bytes);

impl std::fmt::Debug for ReadyBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReadyBody({} bytes)", self.0.len())
    }
}

#[dyn_dispatch_hint]
impl Intercept for ReadyBody {
    fn name(&self) -> &'static str {
        "ReadyBody"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.headers_mut().insert("content-length", self.0.len().to_string());
        *request.body_mut() = SdkBody::from(self.0.clone());
        Ok(())
    }
}
