//! Trying a destination without delivering to it: credentials, the stream, permissions, the clock. Changes nothing there.
//! Invariant: what could not be found out is not told as good.

mod firehose;
mod kinesis;

use std::{
    error::Error,
    fmt::Debug,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{
    Destination, ServiceClock,
    errors::{Class, Failure},
    put::{Asked, region_of, verdict},
};
use crate::{
    aws::{self, Aws},
    model::Now,
};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Services refuse signatures that are five minutes old (KINESIS.md, errors); a minute is worth a word.
const OFF: Duration = Duration::from_mins(5);
const NEARLY_OFF: Duration = Duration::from_mins(1);

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about, like `credentials`.
    pub about: &'static str,
    pub outcome: Outcome,
}

/// What came of it, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Good(String),
    /// It could not be found out, and delivery may work.
    Unknown(String),
    /// Delivery would not work; the words say what to do.
    Bad(String),
}

/// Tries a destination. Nothing for one that is not AWS.
pub async fn probe(destination: &Destination, now: Now) -> Vec<Finding> {
    match destination {
        Destination::Kinesis(options) => Box::pin(kinesis::probe(options, now)).await,
        Destination::Firehose(options) => Box::pin(firehose::probe(options, now)).await,
        Destination::Stdout => Vec::new(),
    }
}

/// A list of findings that grows.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn good(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { about, outcome: Outcome::Good(text.into()) });
    }

    fn unknown(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { about, outcome: Outcome::Unknown(text.into()) });
    }

    fn bad(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { about, outcome: Outcome::Bad(text.into()) });
    }

    fn failed(&mut self, about: &'static str, failure: &Failure) {
        // While delivery is under way that passes by itself, mostly; here somebody wants to know.
        let way = (failure.class == Class::Again)
            .then_some("check endpoint_url, and the way there: name service, route, proxy, firewall");
        let remedy = failure.remedy.as_deref().or(way);
        self.bad(about, remedy.map_or_else(|| failure.to_string(), |remedy| format!("{failure}; {remedy}")));
    }

    /// Settings with credentials, and the region; `None` if one of them is missing, which was told.
    async fn connect(&mut self, aws: &Aws, stream: &str) -> Option<(SdkConfig, String)> {
        let connected = match aws::http_client(aws, 1) {
            Ok(http) => aws::connect(aws, &format!("stream {stream}"), region_of(stream), http).await,
            Err(error) => Err(error),
        };
        let config = match connected {
            Ok(config) => config,
            Err(error) => {
                self.bad("configuration", error.to_string());
                return None;
            }
        };
        let provider = config.credentials_provider()?;
        match tokio::time::timeout(PATIENCE, provider.provide_credentials()).await {
            Ok(Ok(credentials)) => {
                let role = aws.role_arn.as_ref().map(|role| format!(" for {role}")).unwrap_or_default();
                self.good("credentials", format!("access key {}{role}", credentials.access_key_id()));
                let region = config.region().map(ToString::to_string).unwrap_or_default();
                Some((config, region))
            }
            Ok(Err(error)) => {
                self.failed("credentials", &verdict::of_credentials(&error, aws.role_arn.as_deref()));
                None
            }
            Err(_) => {
                self.bad("credentials", format!("none within {PATIENCE:?}; check what gives them"));
                None
            }
        }
    }

    /// How far this host's clock is from the service's.
    fn clock(&mut self, clock: &ServiceClock) {
        let Some(theirs) = clock.told(Instant::now()) else { return };
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let off = ours.abs_diff(Duration::from_nanos(u64::try_from(theirs).unwrap_or(0)));
        let text = format!("{} s from the service's", off.as_secs());
        if off >= OFF {
            self.bad("clock", format!("{text}, so signatures are refused; set this host's clock"));
        } else if off >= NEARLY_OFF {
            self.unknown("clock", format!("{text}; from {} s on signatures are refused", OFF.as_secs()));
        } else {
            self.good("clock", text);
        }
    }
}

/// One question, and what its failure means.
async fn asked<T, E>(
    question: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    asked: Asked<'_>,
) -> Result<T, Failure>
where
    E: Error + ProvideErrorMetadata + Debug + 'static,
{
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(verdict::of(&error, asked)),
        Err(_) => Err(Failure::new(Class::Again, "Timeout", format!("no answer within {PATIENCE:?}"))),
    }
}
