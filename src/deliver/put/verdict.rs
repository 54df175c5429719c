//! From an error of the SDK to a failure with a class, words and a remedy. Decides nothing beyond that.
//! Invariant: "not delivered" is said only when the request was never sent or the service says so.

use crate::deliver::errors::{self, Class, Failure};
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::{
    orchestrator::HttpResponse,
    result::{DispatchFailure, SdkError},
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use hyper_util::client::legacy;
use std::{error::Error, io};

/// Who was asked, for remedies.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The permission that the request needs.
    pub action: &'a str,
    pub stream: &'a str,
    pub region: &'a str,
    /// The role whose credentials sign.
    pub role: Option<&'a str>,
    /// What is not certain must not be taken for certain.
    pub exactly_once: bool,
}

/// What a failed request means.
pub(in crate::deliver) fn of<E>(error: &SdkError<E, HttpResponse>, asked: Asked<'_>) -> Failure
where
    E: Error + ProvideErrorMetadata + 'static,
{
    if let Some(cause) = chain(error).find_map(|e| e.downcast_ref::<CredentialsError>()) {
        return of_credentials(cause, asked.role);
    }
    match error {
        SdkError::ServiceError(e) => {
            let (code, message) = (e.err().code(), e.err().message().unwrap_or_default());
            of_service(code, message, e.raw(), asked)
        }
        SdkError::ResponseError(e) => of_service(None, &words(error), e.raw(), asked),
        SdkError::TimeoutError(_) => Failure::new(Class::Ambiguous, "Timeout", words(error)),
        SdkError::DispatchFailure(e) => of_dispatch(error, e),
        _ => Failure::new(Class::Hold, "NotSent", words(error)),
    }
}

/// What it means that there are no credentials, or none for a role.
pub(in crate::deliver) fn of_credentials(cause: &CredentialsError, role: Option<&str>) -> Failure {
    let words = words(cause);
    // What follows is never there.
    let words = words.strip_suffix(" Attempted:").unwrap_or(&words);
    let mut failure = Failure::new(Class::Credentials, "NoCredentials", words);
    let none = matches!(cause, CredentialsError::CredentialsNotLoaded(_));
    failure.remedy = Some(match role {
        Some(role) if !none => {
            format!("let this host's identity assume {role}: sts:AssumeRole here, trust and external_id there")
        }
        _ if none => NO_CREDENTIALS.into(),
        _ => PROVIDER_FAILED.into(),
    });
    failure
}

fn of_service(code: Option<&str>, message: &str, raw: &HttpResponse, asked: Asked<'_>) -> Failure {
    let (body, status) = (raw.body().bytes().unwrap_or_default(), raw.status().as_u16());
    // Some front ends answer JSON with XML, which the SDK cannot read.
    let xml = if code.is_none() && status >= 400 { xml_error(body) } else { None };
    let (code, message) = xml.map_or((code, message), |(code, message)| (Some(code), message));
    let class = match errors::of_request(code, message, status) {
        // A front end says so, too, where what stands behind it went away with the request.
        Class::Throttled if asked.exactly_once && status == 503 => Class::Ambiguous,
        class => class,
    };
    let name = code.map_or_else(|| format!("HTTP {status}"), str::to_owned);
    let mut failure = Failure::new(class, name, errors::tidy(message));
    failure.remedy = remedy(code.unwrap_or_default(), class, asked);
    failure
}

/// Code and message of `<Error><Code>..</Code><Message>..</Message></Error>`, wherever in the body it stands.
fn xml_error(body: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(body).ok()?;
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(content, _)| content)
    };
    let code = element("Code").filter(|code| code.len() < 100 && code.bytes().all(|b| b.is_ascii_alphanumeric()))?;
    Some((code, element("Message").unwrap_or_default()))
}

/// No response came back. `error` is the whole, `failure` the part of it that says where it happened.
fn of_dispatch(error: &(dyn Error + 'static), failure: &DispatchFailure) -> Failure {
    let client = chain(error).find_map(|e| e.downcast_ref::<legacy::Error>());
    // Once connected, TLS may break down behind a request that was taken.
    if any::<rustls::Error>(error) && client.is_none_or(legacy::Error::is_connect) {
        let mut failure = Failure::new(Class::Hold, "Tls", words(error));
        failure.remedy = Some("add the authority's certificate with aws.ca_bundle, or check endpoint_url".into());
        return failure;
    }
    let (class, code) = match client {
        Some(e) if e.is_connect() => (Class::Again, "NotConnected"),
        Some(_) => (Class::Ambiguous, "ConnectionLost"),
        None if failure.is_io() || failure.is_timeout() => (Class::Ambiguous, "ConnectionLost"),
        // It did not come as far as the network: no endpoint, or nothing to sign with.
        None => (Class::Hold, "NotSent"),
    };
    Failure::new(class, code, words(error))
}

const NO_CREDENTIALS: &str =
    "give the host a role, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name an AWS profile";

const PROVIDER_FAILED: &str =
    "check what gives the credentials: the AWS profile, the web identity token, or the host's instance metadata";

/// What the operator can do about it.
fn remedy(code: &str, class: Class, asked: Asked<'_>) -> Option<String> {
    let Asked { action, stream, region, .. } = asked;
    let remedy = match code {
        "ResourceNotFoundException" => {
            format!("the stream {stream} does not exist in region {region}: create it, or correct stream and region")
        }
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" => {
            format!("allow {action} on the stream {stream} in region {region}")
        }
        "InvalidSourceException" => {
            format!(
                "{stream} takes its records from a Kinesis data stream: send to that one, or to one with Direct PUT"
            )
        }
        "RequestExpired" | "RequestTimeTooSkewed" => "set this host's clock".into(),
        "SignatureDoesNotMatch" | "InvalidSignatureException" => "check the secret key, and this host's clock".into(),
        "ExpiredTokenException" | "ExpiredToken" => "renew the session credentials".into(),
        _ if code.starts_with("KMS") || code.starts_with("InvalidKMS") => {
            format!("allow the use of the key that encrypts the stream {stream}")
        }
        _ if class == Class::Credentials => "check the access key".into(),
        _ => return None,
    };
    Some(remedy)
}

/// An error and its causes; the payload of an I/O error, which is not its source, included.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&e| match e.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(payload) => Some(payload as &(dyn Error + 'static)),
        None => e.source(),
    })
}

fn any<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(<dyn Error>::is::<E>)
}

/// What the SDK's layers say of themselves, which helps nobody.
const NOISE: [&str; 5] = ["dispatch failure", "response error", "service error", "io error", "other"];

/// The causes in words, each once.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut out = String::new();
    for e in chain(error) {
        let next = e.to_string();
        if !out.ends_with(&next) && !NOISE.contains(&next.as_str()) {
            out = if out.is_empty() { next } else { format!("{out}: {next}") };
        }
    }
    errors::tidy(&out)
}
