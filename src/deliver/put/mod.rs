//! One signed JSON request that carries records: what Kinesis and Firehose have in common. Neither retries nor waits.
//! Invariant: the SDK signs and sends exactly the bytes that the service laid out.

mod answer;
pub(super) mod body;
mod listening;
#[cfg(test)]
pub(super) mod stub;
pub(super) mod verdict;

use super::{
    clock::ServiceClock,
    courier::{Billing, ExactlyOnce, Sink},
    errors::{Class, Failure},
    job::Reply,
    rate::MaxRate,
    routing::Routing,
    search::{Ask, Told},
    shards::Shards,
};
use crate::{
    aws::{self, Aws, StartError},
    model::Batch,
};
pub use answer::{Answer, Answers, Counting};
use aws_config::SdkConfig;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::SharedHttpClient,
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextMut, dyn_dispatch_hint},
        orchestrator::HttpResponse,
        result::SdkError,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag, error::metadata::ProvideErrorMetadata};
use body::Spare;
use bytes::Bytes;
pub(super) use listening::Listening;
use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};
pub use verdict::Asked;

/// A service that takes records, and the stream there.
pub trait Service: std::fmt::Debug + Send + Sync + 'static {
    type Client: Clone + std::fmt::Debug + Send + Sync;
    type Error: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static;

    /// The permission that a request needs.
    const ACTION: &'static str;

    const BILLING: Billing;

    /// `clock`: to be told the time by every answer.
    fn client(config: &SdkConfig, clock: Option<&ServiceClock>) -> Self::Client;

    /// Name or ARN, for people.
    fn stream(&self) -> &str;

    /// Most bytes of one record, its partition key included.
    fn max_record(&self) -> usize;

    /// The region that an ARN names.
    fn region(&self) -> Option<&str>;

    /// Records of one slot arrive in the order of their batches.
    fn keeps_order(&self) -> bool {
        false
    }

    /// How nothing is delivered twice, if that is wanted.
    fn exactly_once(&self) -> Option<&ExactlyOnce> {
        None
    }

    /// What is known of the stream's shards, and how records are routed to them.
    fn shards(&self) -> Option<(&Arc<Shards>, Routing)> {
        None
    }

    /// Takes note of what was said of each record.
    fn answered(&self, batch: &Batch, which: &[u32], answers: &[Answer]) {
        let _ = (batch, which, answers);
    }

    /// Answers one question about what the stream holds.
    fn ask(&self, client: Self::Client, ask: &Ask, asked: Asked<'_>) -> impl Future<Output = Told> + Send {
        let _ = (client, ask, asked);
        std::future::ready(Told::Failed(Failure::new(Class::Hold, "NotReadable", "records are never read back")))
    }

    /// Writes the body with these records into `out`, which is emptied first.
    fn lay_out(&self, out: &mut Vec<u8>, batch: &Batch, which: &[u32]);

    /// Makes the request with this many records.
    fn call(
        &self,
        client: Self::Client,
        body: ReadyBody,
        records: usize,
    ) -> impl Future<Output = Result<Answers, SdkError<Self::Error, HttpResponse>>> + Send;
}

/// A client, and the region that it signs for.
#[derive(Clone, Debug)]
struct Connection<C> {
    client: C,
    region: String,
}

/// One stream of a service, as a destination.
#[derive(Debug)]
pub struct Put<S: Service> {
    service: S,
    aws: Aws,
    max_in_flight: usize,
    max_rate: MaxRate,
    http: SharedHttpClient,
    /// Replaced when its credentials were refused, never while a request is made.
    connection: RwLock<Connection<S::Client>>,
    /// The credentials were refused: look for new ones before the next request.
    stale: AtomicBool,
    spare: Spare,
}

impl<S: Service> Put<S> {
    /// Finds region and credentials. Missing credentials are no error, a missing region is.
    pub(super) async fn new(
        service: S,
        aws: &Aws,
        max_in_flight: usize,
        max_rate: MaxRate,
    ) -> Result<Self, StartError> {
        let http = aws::http_client(aws, max_in_flight)?;
        let connection = RwLock::new(connect(&service, aws, http.clone()).await?);
        let (stale, spare) = (AtomicBool::new(false), Spare::default());
        Ok(Self { service, aws: aws.clone(), max_in_flight, max_rate, http, connection, stale, spare })
    }

    async fn connection(&self) -> Connection<S::Client> {
        if self.stale.swap(false, Ordering::Relaxed)
            && let Ok(connection) = connect(&self.service, &self.aws, self.http.clone()).await
        {
            *self.connection.write().unwrap_or_else(PoisonError::into_inner) = connection;
        }
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn service(&self) -> &S {
        &self.service
    }

    pub(super) fn service_mut(&mut self) -> &mut S {
        &mut self.service
    }

    fn asked<'a>(&'a self, action: &'a str, region: &'a str) -> Asked<'a> {
        let (stream, role) = (self.service.stream(), self.aws.role_arn.as_deref());
        Asked { action, stream, region, role, exactly_once: self.service.exactly_once().is_some() }
    }

    pub(super) async fn client(&self) -> S::Client {
        self.connection().await.client
    }

    async fn put(&self, batch: &Batch, which: &[u32]) -> Reply {
        let Connection { client, region } = self.connection().await;
        let mut body = self.spare.take();
        self.service.lay_out(&mut body, batch, which);
        let body = Bytes::from(body);
        let result = self.service.call(client, ReadyBody(body.clone()), which.len()).await;
        self.spare.give_back(body);
        match result {
            Ok(answers) => {
                if let Answers::Each(each) = &answers {
                    self.service.answered(batch, which, each);
                }
                answer::reply(answers, which.len(), self.service.exactly_once().is_some())
            }
            Err(error) => {
                let failure = verdict::of(&error, self.asked(S::ACTION, &region));
                self.stale.fetch_or(failure.class == Class::Credentials, Ordering::Relaxed);
                Reply::Failed(failure)
            }
        }
    }
}

async fn connect<S: Service>(
    service: &S,
    aws: &Aws,
    http: SharedHttpClient,
) -> Result<Connection<S::Client>, StartError> {
    let what = format!("stream {}", service.stream());
    let config = aws::connect(aws, &what, service.region(), http).await?;
    let region = config.region().map(ToString::to_string).unwrap_or_default();
    let clock = service.exactly_once().map(|once| &once.clock);
    Ok(Connection { client: S::client(&config, clock), region })
}

impl<S: Service> Sink for Put<S> {
    fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }

    fn keeps_order(&self) -> bool {
        self.service.keeps_order()
    }

    fn billing(&self) -> Option<Billing> {
        Some(S::BILLING)
    }

    fn max_record(&self) -> usize {
        self.service.max_record()
    }

    fn max_rate(&self) -> MaxRate {
        self.max_rate
    }

    fn shards(&self) -> Option<(&Arc<Shards>, Routing)> {
        self.service.shards()
    }

    fn exactly_once(&self) -> Option<&ExactlyOnce> {
        self.service.exactly_once()
    }

    async fn ask(&self, ask: &Ask) -> Told {
        let Connection { client, region } = self.connection().await;
        let told = self.service.ask(client, ask, self.asked("", &region)).await;
        if let Told::Failed(failure) = &told {
            self.stale.fetch_or(failure.class == Class::Credentials, Ordering::Relaxed);
        }
        told
    }

    async fn send(&self, batch: &Batch, which: &[u32]) -> Reply {
        let oversize = oversize(batch, which, self.service.max_record());
        debug_assert!(oversize.is_none(), "the flow keeps to the destination's limits");
        match oversize {
            Some(reply) => reply,
            None => self.put(batch, which).await,
        }
    }
}

/// What the service would say to records that are too long, without asking it: it would refuse the whole request.
fn oversize(batch: &Batch, which: &[u32], most: usize) -> Option<Reply> {
    let fits = |index: u32| batch.records[index as usize].size as usize <= most;
    if which.iter().all(|&index| fits(index)) {
        return None;
    }
    let failed = (0..).zip(which).map(|(position, &index)| {
        let failure = if fits(index) {
            Failure::new(Class::Again, "NotSent", "another record of the request is too long")
        } else {
            Failure::new(Class::Reject, "TooLong", format!("longer than {most} bytes"))
        };
        (position, failure)
    });
    Some(Reply::Answered { failed: failed.collect() })
}

/// The region in `arn:aws:SERVICE:REGION:...`; a name has none.
pub(super) fn region_of(stream: &str) -> Option<&str> {
    stream.strip_prefix("arn:")?.split(':').nth(2).filter(|region| !region.is_empty())
}

/// A body that is ready; takes the place of what the SDK made of a placeholder, before it is signed.
#[derive(Clone)]
pub struct ReadyBody(Bytes);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::testing::batch_of;

    #[test]
    fn records_that_are_too_long_are_refused_and_the_others_kept() {
        let batch = batch_of(0, &[b"a", b"12345", b"1234"]);
        assert!(oversize(&batch, &[0, 2], 10 + 4).is_none());
        let Some(Reply::Answered { failed }) = oversize(&batch, &[0, 1], 10 + 4) else { panic!("too long") };
        let classes: Vec<_> = failed.iter().map(|(position, f)| (*position, f.class)).collect();
        assert_eq!(classes, [(0, Class::Again), (1, Class::Reject)]);
    }

    #[test]
    fn the_region_is_the_fourth_part_of_an_arn() {
        assert_eq!(region_of("arn:aws:firehose:eu-west-1:111122223333:deliverystream/web"), Some("eu-west-1"));
        assert_eq!(region_of("arn:aws:firehose::x"), None);
        assert_eq!(region_of("web"), None);
    }
}
