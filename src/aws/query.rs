//! One call to a service that speaks the Query protocol: a signed form there, XML back. Knows no particular service.
//! Neither retries nor waits longer than ten seconds. Invariant: no error holds a secret.
//!
//! `CloudWatch` and EC2 are called this way, each for one operation: an SDK of their own would cost more to build and to
//! carry than all the rest, and the protocol is the one that stand-ins of these services understand, too.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use aws_config::SdkConfig;
use aws_credential_types::{Credentials, provider::ProvideCredentials};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, SharedHttpClient, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
    },
    http::Request,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};

use super::{Aws, StartError, client, xml};

pub use super::xml::{elements, text};

/// Credentials and answer included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Credentials that are valid for less than this are asked for anew.
const FRESH: Duration = Duration::from_mins(5);
/// Longest answer that is read.
const MAX_ANSWER: usize = 1 << 20;
/// Longest message of a service that is passed on, in characters.
const MAX_MESSAGE: usize = 300;

/// A service that speaks the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// As AWS writes it: `CloudWatch`. `AWS_ENDPOINT_URL_CLOUDWATCH` is made of it.
    pub id: &'static str,
    /// The first part of its host's name, and its name in signatures: `monitoring`.
    pub host: &'static str,
    /// Of its API: `2010-08-01`.
    pub version: &'static str,
}

/// One service in one region.
#[derive(Debug)]
pub struct Query {
    service: Service,
    aws: Aws,
    config: SdkConfig,
    region: String,
    url: String,
    /// For the service.
    http: SharedHttpConnector,
    /// For credentials.
    client: SharedHttpClient,
    /// The last call failed: look for new credentials before the next.
    stale: bool,
    /// As long as they are valid: giving them may cost a request each time.
    credentials: Option<Credentials>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("no credentials: {0}")]
    Credentials(String),
    /// No answer, or none that can be read.
    #[error("{0}")]
    Unanswered(String),
    /// The service refused, in its own words.
    #[error("{code}: {message}")]
    Refused { code: String, message: String },
}

impl CallError {
    /// Whether the service says that a permission is missing.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        let denied = ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized"];
        matches!(self, Self::Refused { code, .. } if denied.contains(&code.as_str()))
    }
}

impl Query {
    /// Finds region, endpoint and the way to credentials. Missing credentials are no error, a missing region is.
    pub async fn connect(aws: &Aws, service: Service) -> Result<Self, StartError> {
        let client = super::http_client(aws, 1)?;
        let config = super::connect(aws, service.id, None, client.clone()).await?;
        let region = config.region().map(ToString::to_string).unwrap_or_default();
        let url = endpoint(aws, &config, service, &region);
        let (http, aws) = (client::http_connector(aws)?, aws.clone());
        Ok(Self { service, aws, config, region, url, http, client, stale: false, credentials: None })
    }

    /// Calls `action` with these parameters and hands back the answer's XML.
    pub async fn call(&mut self, action: &str, parameters: &[(String, String)]) -> Result<String, CallError> {
        let body = form(action, self.service.version, parameters);
        let call = tokio::time::timeout(TIMEOUT, self.send(body)).await;
        let late = || CallError::Unanswered(format!("no answer from {} within {TIMEOUT:?}", self.url));
        let result = call.unwrap_or_else(|_| Err(late()));
        self.stale = result.is_err();
        result
    }

    async fn send(&mut self, body: String) -> Result<String, CallError> {
        if self.stale
            && let Ok(config) = super::connect(&self.aws, self.service.id, None, self.client.clone()).await
        {
            (self.config, self.credentials) = (config, None);
        }
        let credentials = self.credentials().await?;
        let request = self.signed(body, credentials)?;
        let answer = self.http.call(request).await;
        let answer = answer.map_err(|e| CallError::Unanswered(format!("{}: {}", self.url, words(&e))))?;
        let status = answer.status();
        let answer = read(answer).await?;
        if status.is_success() { Ok(answer) } else { Err(refused(status.as_u16(), &answer)) }
    }

    async fn credentials(&mut self) -> Result<Credentials, CallError> {
        let soon = SystemTime::now() + FRESH;
        if let Some(known) = self.credentials.as_ref().filter(|c| c.expiry().is_none_or(|end| end > soon)) {
            return Ok(known.clone());
        }
        let missing = || CallError::Credentials("the SDK's chain is empty".to_owned());
        let provider = self.config.credentials_provider().ok_or_else(missing)?;
        let credentials = provider.provide_credentials().await.map_err(|e| CallError::Credentials(words(&e)))?;
        Ok(self.credentials.insert(credentials).clone())
    }

    fn signed(&self, body: String, credentials: Credentials) -> Result<HttpRequest, CallError> {
        let wrong = |e: &dyn Error| CallError::Unanswered(format!("{}: {e}", self.url));
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service.host)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|e| wrong(&e))?
            .into();
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let signable = SignableBody::Bytes(body.as_bytes());
        let signable = SignableRequest::new("POST", &self.url, headers.into_iter(), signable).map_err(|e| wrong(&e))?;
        let (instructions, _) = sign(signable, &parameters).map_err(|e| wrong(&e))?.into_parts();
        let mut request = Request::new(SdkBody::from(body));
        request.set_method("POST").map_err(|e| wrong(&e))?;
        request.set_uri(self.url.as_str()).map_err(|e| wrong(&e))?;
        for (name, value) in headers.into_iter().chain(instructions.headers()) {
            request.headers_mut().try_insert(name.to_owned(), value.to_owned()).map_err(|e| wrong(&e))?;
        }
        Ok(request)
    }
}

/// Where the service is: as configured, as the environment says of it or of all services, or as AWS names it.
fn endpoint(aws: &Aws, config: &SdkConfig, service: Service, region: &str) -> String {
    let own =
        || std::env::var(format!("AWS_ENDPOINT_URL_{}", service.id.to_uppercase())).ok().filter(|v| !v.is_empty());
    let url = aws.endpoint_url.clone().or_else(own).or_else(|| config.endpoint_url().map(str::to_owned));
    let url = url.unwrap_or_else(|| {
        let (fips, dual_stack) = (config.use_fips().unwrap_or(false), config.use_dual_stack().unwrap_or(false));
        format!("https://{}", host(service.host, region, fips, dual_stack))
    });
    format!("{}/", url.trim_end_matches('/'))
}

/// What AWS calls a service's host in a region.
fn host(service: &str, region: &str, fips: bool, dual_stack: bool) -> String {
    const PARTITIONS: [(&str, &str, &str); 6] = [
        ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
        ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
        ("us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
        ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
        ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    ];
    let known = PARTITIONS.iter().find(|(prefix, ..)| region.starts_with(prefix));
    let (_, plain, dual) = known.unwrap_or(&("", "amazonaws.com", "api.aws"));
    // In the US government's regions the plain names are the FIPS ones.
    let fips = if fips && (dual_stack || !region.starts_with("us-gov-")) { "-fips" } else { "" };
    format!("{service}{fips}.{region}.{}", if dual_stack { dual } else { plain })
}

/// The body of a call.
fn form(action: &str, version: &str, parameters: &[(String, String)]) -> String {
    let mut out = format!("Action={action}&Version={version}");
    for (name, value) in parameters {
        out.push('&');
        push_encoded(name, &mut out);
        out.push('=');
        push_encoded(value, &mut out);
    }
    out
}

/// Everything but what RFC 3986 leaves unreserved becomes `%XX`.
fn push_encoded(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    for b in text.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(b)),
            _ => write!(out, "%{b:02X}").expect("a String takes everything"),
        }
    }
}

/// The body of an answer, as far as it is bounded.
async fn read(answer: HttpResponse) -> Result<String, CallError> {
    let mut stream = ByteStream::new(answer.into_body());
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|e| CallError::Unanswered(format!("the answer broke off: {}", words(&e))))?;
        if bytes.len() + piece.len() > MAX_ANSWER {
            return Err(CallError::Unanswered(format!("the answer is longer than {MAX_ANSWER} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn refused(status: u16, answer: &str) -> CallError {
    let code = xml::text(answer, "Code").unwrap_or_else(|| format!("HTTP {status}"));
    // The first line alone: what follows a wrong signature's repeats the request with its session token.
    let message = xml::text(answer, "Message").unwrap_or_default();
    let message = message.lines().next().unwrap_or_default().chars().take(MAX_MESSAGE).collect();
    CallError::Refused { code: code.chars().take(MAX_MESSAGE).collect(), message }
}

/// An error and its causes, each once.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut out = String::new();
    for cause in std::iter::successors(Some(error), |&e| e.source()) {
        let next = cause.to_string();
        if !out.contains(&next) {
            out = if out.is_empty() { next } else { format!("{out}: {next}") };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_holds_action_version_and_encoded_parameters() {
        let parameters = [("Filter.1.Value.1".to_owned(), "a b&c=\u{e4}~".to_owned())];
        let expected = "Action=DescribeTags&Version=2016-11-15&Filter.1.Value.1=a%20b%26c%3D%C3%A4~";
        assert_eq!(form("DescribeTags", "2016-11-15", &parameters), expected);
    }

    #[test]
    fn hosts_are_named_by_partition() {
        for (region, fips, dual_stack, expected) in [
            ("eu-west-1", false, false, "monitoring.eu-west-1.amazonaws.com"),
            ("eu-west-1", true, false, "monitoring-fips.eu-west-1.amazonaws.com"),
            ("eu-west-1", false, true, "monitoring.eu-west-1.api.aws"),
            ("us-gov-west-1", true, false, "monitoring.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", false, false, "monitoring.cn-north-1.amazonaws.com.cn"),
            ("us-isob-east-1", false, false, "monitoring.us-isob-east-1.sc2s.sgov.gov"),
            ("eusc-de-east-1", false, false, "monitoring.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(host("monitoring", region, fips, dual_stack), expected);
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_services_words_and_without_what_it_repeats_of_the_request() {
        let denied = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                      <Message>not &quot;you&quot;</Message></Error></ErrorResponse>";
        let error = refused(403, denied);
        assert_eq!(error.to_string(), "AccessDenied: not \"you\"");
        assert!(error.is_denied());
        let ec2 = "<Response><Errors><Error><Code>SignatureDoesNotMatch</Code><Message>wrong\n\
                   x-amz-security-token:SECRET</Message></Error></Errors></Response>";
        assert_eq!(refused(403, ec2).to_string(), "SignatureDoesNotMatch: wrong");
        assert_eq!(refused(503, "busy").to_string(), "HTTP 503: ");
    }
}
