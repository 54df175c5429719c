//! The SDK's settings for one service: region, credentials, TLS roots, proxy, time-outs.
//! Invariant: the SDK never retries on its own, for its retries would hide ambiguous outcomes.

use super::{Aws, StartError};
use aws_config::{
    BehaviorVersion, Region, SdkConfig, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    sts::AssumeRoleProvider, timeout::TimeoutConfig,
};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnectorSettings, SharedHttpClient, SharedHttpConnector},
    runtime_components::RuntimeComponents,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tracing::warn;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of a whole request, credentials and reply included. After it the outcome is ambiguous.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Shorter than what load balancers and NAT gateways allow: a connection that they dropped makes an ambiguous outcome.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// An HTTP client for one service and for its credentials; it keeps at most `max_idle` connections open that nobody uses.
pub fn http_client(aws: &Aws, max_idle: usize) -> Result<SharedHttpClient, StartError> {
    let tls = tls_context(aws)?;
    Ok(Builder::new()
        .build_with_connector_fn(move |settings, components| connector(&tls, max_idle, settings, components)))
}

/// The same way to the network for a request that no client of the SDK makes. Waits for ever: its caller has a time-out.
pub(super) fn http_connector(aws: &Aws) -> Result<SharedHttpConnector, StartError> {
    Ok(SharedHttpConnector::new(connector(&tls_context(aws)?, 1, None, None)))
}

fn connector(
    tls: &TlsContext,
    max_idle: usize,
    settings: Option<&HttpConnectorSettings>,
    components: Option<&RuntimeComponents>,
) -> Connector {
    let mut builder = Connector::builder()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls.clone())
        .proxy_config(ProxyConfig::from_env())
        .enable_tcp_nodelay(true)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(max_idle);
    builder.set_connector_settings(settings.cloned());
    builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
    builder.build()
}

/// The settings of a client of one service; `what` is for people, `of_arn` the region that an ARN names. Reads the
/// environment and the profile files anew, hence also new credentials.
/// Missing credentials are no error: the flow holds its data until there are some.
pub async fn connect(
    aws: &Aws,
    what: &str,
    of_arn: Option<&str>,
    http: SharedHttpClient,
) -> Result<SdkConfig, StartError> {
    let mut shared = load(aws, of_arn, aws.endpoint_url.as_deref(), http.clone()).await;
    let otherwise = Aws { region: aws.region_otherwise.clone(), ..aws.clone() };
    let mut aws = aws;
    if shared.region().is_none() && otherwise.region.is_some() {
        // For the role's service, too.
        aws = &otherwise;
        shared = load(aws, of_arn, aws.endpoint_url.as_deref(), http.clone()).await;
    }
    let Some(region) = shared.region().cloned() else {
        return Err(StartError::NoRegion { what: what.to_owned() });
    };
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
    // The cache of identities stays the one of `shared`: it asks for new credentials some seconds before the old expire.
    let mut config = shared
        .into_builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Explicit, for with an endpoint of its own nothing else says which region signs.
        .region(of_arn.map_or(region, |r| Region::new(r.to_owned())));
    if let Some(role) = &aws.role_arn {
        let provider = assume_role(role, aws, of_arn, http).await;
        config = config.credentials_provider(SharedCredentialsProvider::new(provider));
    }
    Ok(config.build())
}

/// What the configuration says, and for the rest the SDK's chain. `endpoint` is one service's own.
async fn load(aws: &Aws, of_arn: Option<&str>, endpoint: Option<&str>, http: SharedHttpClient) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = aws.region.as_deref().or(of_arn) {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(url) = endpoint {
        loader = loader.endpoint_url(url);
    } else {
        if let Some(fips) = aws.fips {
            loader = loader.use_fips(fips);
        }
        if let Some(dual_stack) = aws.dual_stack {
            loader = loader.use_dual_stack(dual_stack);
        }
    }
    if let Some(profile) = &aws.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(keys) = &aws.static_keys {
        let (id, secret) = (keys.access_key_id.clone(), keys.secret_access_key.clone());
        let keys = Credentials::new(id, secret, keys.session_token.clone(), None, "configuration");
        loader = loader.credentials_provider(SharedCredentialsProvider::new(keys));
    }
    loader.load().await
}

async fn assume_role(role: &str, aws: &Aws, of_arn: Option<&str>, http: SharedHttpClient) -> AssumeRoleProvider {
    let sts = load(aws, of_arn, aws.sts_endpoint_url.as_deref(), http).await;
    let name = aws.session_name.as_deref().unwrap_or("headwater");
    let mut role = AssumeRoleProvider::builder(role).session_name(name).configure(&sts);
    if let Some(id) = &aws.external_id {
        role = role.external_id(id);
    }
    role.build().await
}

/// The system's roots and those of the bundle. Checked here, for the HTTP client panics on what it cannot parse.
fn tls_context(aws: &Aws) -> Result<TlsContext, StartError> {
    let mut native = RootCertStore::empty();
    // Honours SSL_CERT_FILE and SSL_CERT_DIR, which replace the system's roots.
    let (valid, _) = native.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let mut trust = TrustStore::empty().with_native_roots(valid > 0);
    let from_env = || std::env::var_os("AWS_CA_BUNDLE").filter(|v| !v.is_empty()).map(PathBuf::from);
    let bundle = aws.ca_bundle.clone().or_else(from_env);
    if let Some(path) = &bundle {
        trust.add_pem_certificate(read_bundle(path)?);
    }
    let plain = aws.endpoint_url.as_deref().is_some_and(|url| url.starts_with("http://"));
    if valid == 0 && bundle.is_none() && !plain {
        warn!(
            "no root certificates found, every TLS connection will fail: install ca-certificates or set aws.ca_bundle"
        );
    }
    let context = TlsContext::builder().with_trust_store(trust).build();
    Ok(context.expect("building a context checks nothing; the certificates are checked above"))
}

fn read_bundle(path: &Path) -> Result<Vec<u8>, StartError> {
    let error = |why: String| StartError::CaBundle { path: path.to_owned(), why };
    let pem = std::fs::read(path).map_err(|e| error(e.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|e| error(format!("not PEM: {e}")))?;
    if certificates.is_empty() {
        return Err(error("no certificate in it".into()));
    }
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(certificates) {
        roots.add(certificate).map_err(|e| error(format!("certificate {number} in it is unusable: {e}")))?;
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let aws = Aws { ca_bundle: Some(file.path().into()), ..Aws::default() };
        tls_context(&aws).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_unusable_ca_bundle_is_an_error_and_no_panic() {
        assert!(bundle("").contains("no certificate in it"));
        let pem = |body| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        assert!(bundle(&pem("!!!")).contains("not PEM"), "{}", bundle(&pem("!!!")));
        assert!(bundle(&pem("AAAA")).contains("certificate 1 in it is unusable"), "{}", bundle(&pem("AAAA")));
        let missing = Aws { ca_bundle: Some("/no/such/file".into()), ..Aws::default() };
        assert!(tls_context(&missing).unwrap_err().to_string().starts_with("/no/such/file: "));
    }
}
