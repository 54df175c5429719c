//! How to reach AWS: what the configuration says of it, and the SDK's settings made of that. Knows no records and no
//! particular service.

mod client;
pub mod query;
mod xml;

use std::path::PathBuf;

pub use client::{connect, http_client};

/// How to reach AWS. Built by `config` from `aws:` and the destination's own overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aws {
    /// Else the SDK's chain (environment, profile, instance metadata).
    pub region: Option<String>,
    /// Where the chain knows none, either. Never set by YAML: there, no region is a mistake.
    pub region_otherwise: Option<String>,
    /// `http://` or `https://`; else the region's endpoint.
    pub endpoint_url: Option<String>,
    pub role_arn: Option<String>,
    pub external_id: Option<String>,
    /// Of the role's session, as the account's records show it. Default `headwater`.
    pub session_name: Option<String>,
    /// Where the role is asked for; else the region's endpoint.
    pub sts_endpoint_url: Option<String>,
    /// Endpoints validated under FIPS 140. Else the SDK's chain, which by default does not.
    pub fips: Option<bool>,
    /// Endpoints that speak IPv6 too. Else the SDK's chain, which by default does not.
    pub dual_stack: Option<bool>,
    /// Named profile of the shared credentials file.
    pub profile: Option<String>,
    /// PEM file with additional roots. Else `AWS_CA_BUNDLE`, else `SSL_CERT_FILE`, else the system's roots alone.
    pub ca_bundle: Option<PathBuf>,
    /// Static keys from the YAML file: accepted, with a warning.
    pub static_keys: Option<StaticKeys>,
}

/// Static credentials. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticKeys {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

impl std::fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticKeys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Why a destination cannot start. All of them are the configuration's.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no AWS region for {what}: set aws.region, AWS_REGION, or a region in the AWS profile")]
    NoRegion { what: String },
    #[error("{path}: {why}; aws.ca_bundle and AWS_CA_BUNDLE name a PEM file with certificates", path = .path.display())]
    CaBundle { path: PathBuf, why: String },
    #[error(
        "the stream {stream} may not be read: {why}; to deliver exactly once, allow on it, besides kinesis:PutRecords, {actions}; or write `delivery: at_least_once`"
    )]
    MayNotRead { stream: String, why: String, actions: String },
}
