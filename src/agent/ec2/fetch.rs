//! One question to EC2 and its answer: identity document, tags. Knows neither when to ask nor who wants to know.
//! Invariant: version 2 of the metadata service only, never through a proxy; every answer is bounded.

use std::{collections::BTreeMap, time::Duration};

use aws_config::{
    imds::{
        Client,
        client::{self, error::ImdsError},
    },
    provider_config::ProviderConfig,
};
use aws_smithy_http_client::Builder;

use crate::{
    aws::{
        Aws, StartError,
        query::{CallError, Query, Service, elements, text},
    },
    record::ec2::Instance,
};

/// Of connecting and of each answer. The service is on this host or it is not there.
const TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 2;
/// An instance has at most 50 tags.
const MAX_TAGS: usize = 64;
/// Pages of tags, likewise.
const MAX_PAGES: usize = 10;

const IDENTITY: &str = "/latest/dynamic/instance-identity/document";
const TAGS: &str = "/latest/meta-data/tags/instance";
const EC2: Service = Service { id: "EC2", host: "ec2", version: "2016-11-15" };

/// Why the tags are not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum TagsError {
    #[error("the instance's metadata holds no tags, and {0}")]
    Start(#[from] StartError),
    #[error("the instance's metadata holds no tags, and ec2:DescribeTags: {0}")]
    Call(#[from] CallError),
}

/// Asks the metadata service, and for tags EC2 itself.
#[derive(Debug)]
pub(super) struct Fetch {
    imds: Client,
    /// The way to EC2, but for the region: that of the instance.
    aws: Aws,
}

impl Fetch {
    /// With the endpoints and credentials of the SDK's chain: those of the instance, unless the environment has others.
    pub(super) fn new() -> Self {
        Self { imds: Self::metadata().build(), aws: Aws::default() }
    }

    fn metadata() -> client::Builder {
        let provider = ProviderConfig::without_region().with_http_client(Builder::new().build_http());
        Client::builder()
            .configure(&provider)
            .connect_timeout(TIMEOUT)
            .read_timeout(TIMEOUT)
            .operation_attempt_timeout(TIMEOUT)
            .max_attempts(ATTEMPTS)
    }

    /// The instance without its tags, or why it is not known, in words.
    pub(super) async fn identity(&mut self) -> Result<Instance, String> {
        let disabled = std::env::var("AWS_EC2_METADATA_DISABLED");
        if disabled.is_ok_and(|v| v.eq_ignore_ascii_case("true")) {
            return Err("AWS_EC2_METADATA_DISABLED is set".to_owned());
        }
        let document = self.imds.get(IDENTITY).await.map_err(|e| words(&e))?;
        identity(document.as_ref())
    }

    /// The tags of `instance`: from the metadata service if it gives them, else from EC2.
    pub(super) async fn tags(&mut self, instance: &Instance) -> Result<BTreeMap<String, String>, TagsError> {
        match self.metadata_tags().await {
            Ok(tags) => Ok(tags),
            Err(error) => {
                tracing::debug!(error, "no tags in the instance's metadata");
                Box::pin(self.describe_tags(instance)).await
            }
        }
    }

    async fn metadata_tags(&self) -> Result<BTreeMap<String, String>, String> {
        let names = self.imds.get(TAGS).await.map_err(|e| words(&e))?;
        let mut tags = BTreeMap::new();
        for name in names.as_ref().lines().take(MAX_TAGS) {
            if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-=._:@,".contains(&b)) {
                return Err(format!("the name of a tag holds what a path cannot: {name:?}"));
            }
            let value = self.imds.get(format!("{TAGS}/{name}")).await.map_err(|e| words(&e))?;
            tags.insert(name.to_owned(), value.as_ref().to_owned());
        }
        Ok(tags)
    }

    /// Asks EC2.
    async fn describe_tags(&self, instance: &Instance) -> Result<BTreeMap<String, String>, TagsError> {
        let aws = Aws { region: instance.region.clone(), ..self.aws.clone() };
        let mut query = Query::connect(&aws, EC2).await?;
        let mut tags = BTreeMap::new();
        let mut next: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut parameters = vec![
                ("Filter.1.Name".to_owned(), "resource-id".to_owned()),
                ("Filter.1.Value.1".to_owned(), instance.instance_id.clone().unwrap_or_default()),
            ];
            parameters.extend(next.take().map(|token| ("NextToken".to_owned(), token)));
            let answer = query.call("DescribeTags", &parameters).await?;
            for item in elements(&answer, "item") {
                if let Some(key) = text(item, "key")
                    && tags.len() < MAX_TAGS
                {
                    tags.insert(key, text(item, "value").unwrap_or_default());
                }
            }
            next = text(&answer, "nextToken").filter(|token| !token.is_empty());
            if next.is_none() {
                break;
            }
        }
        Ok(tags)
    }
}

/// Reads the identity document; what it does not hold is not known.
fn identity(document: &str) -> Result<Instance, String> {
    let document: serde_json::Value =
        serde_json::from_str(document).map_err(|e| format!("the identity document is no JSON: {e}"))?;
    let field = |name: &str| document.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    let instance = Instance {
        instance_id: field("instanceId"),
        instance_type: field("instanceType"),
        image_id: field("imageId"),
        account_id: field("accountId"),
        region: field("region"),
        availability_zone: field("availabilityZone"),
        private_ip: field("privateIp"),
        ..Instance::default()
    };
    if instance.instance_id.is_none() {
        return Err("the identity document names no instance".to_owned());
    }
    Ok(instance)
}

/// The service's status alone, or the causes: nothing that it sent.
fn words(error: &ImdsError) -> String {
    if let ImdsError::ErrorResponse(answer) = error {
        return format!("the metadata service answers {}", answer.response().status().as_u16());
    }
    let mut out = String::new();
    for cause in std::iter::successors(Some(error as &dyn std::error::Error), |&e| e.source()) {
        let next = cause.to_string();
        if !out.contains(&next) {
            out = if out.is_empty() { next } else { format!("{out}: {next}") };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::{TcpListener, TcpStream},
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::aws::StaticKeys;

    /// What is asked for, in order, and the answers to it by the start of the question.
    type Asked = Arc<Mutex<Vec<String>>>;

    /// A host that answers questions that begin like one of these, and 404 to all others.
    fn host(answers: &'static [(&'static str, &'static str)]) -> (Fetch, Asked) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let asked = Asked::default();
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || serve(&stream, answers, &noted));
            }
        });
        let imds = Fetch::metadata().endpoint(&url).expect("a good URL").build();
        let keys = StaticKeys { access_key_id: "a".into(), secret_access_key: "b".into(), session_token: None };
        let aws = Aws { endpoint_url: Some(url), static_keys: Some(keys), ..Aws::default() };
        (Fetch { imds, aws }, asked)
    }

    /// Version 2: without a token there is no answer.
    fn serve(stream: &TcpStream, answers: &[(&str, &str)], asked: &Asked) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                (reader.read_line(&mut head).ok()? > 0).then_some(())?;
            }
            let lower = head.to_ascii_lowercase();
            let header =
                |name: &str| Some(lower.split_once(&format!("\r\n{name}: "))?.1.split("\r\n").next()?.to_owned());
            let mut body = vec![0; header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0)];
            reader.read_exact(&mut body).ok()?;
            let line = head.split(" HTTP/").next()?;
            let question = format!("{line}{}", String::from_utf8_lossy(&body));
            let answer = if question.starts_with("PUT /latest/api/token")
                && header("x-aws-ec2-metadata-token-ttl-seconds").is_some()
            {
                Some("the-token")
            } else if question.starts_with("GET") && header("x-aws-ec2-metadata-token").as_deref() != Some("the-token")
            {
                None
            } else {
                answers.iter().find(|(start, _)| question.starts_with(start)).map(|(_, answer)| *answer)
            };
            asked.lock().expect("nobody panics with it").push(question);
            let (status, text) = answer.map_or(("404 Not Found", "no"), |text| ("200 OK", text));
            let length = text.len();
            let ttl = "x-aws-ec2-metadata-token-ttl-seconds: 21600";
            write!(&*stream, "HTTP/1.1 {status}\r\n{ttl}\r\ncontent-length: {length}\r\n\r\n{text}").ok()?;
        }
    }

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[tokio::test]
    async fn tags_come_from_the_metadata_service_if_it_gives_them() {
        let (mut fetch, asked) = host(&[
            ("GET /latest/dynamic/instance-identity/document", r#"{"instanceId":"i-1","region":"eu-west-1"}"#),
            ("GET /latest/meta-data/tags/instance/Name", "web 1"),
            ("GET /latest/meta-data/tags/instance/Stage", ""),
            ("GET /latest/meta-data/tags/instance", "Name\nStage"),
        ]);
        let instance = fetch.identity().await.expect("an answer");
        assert_eq!(instance.instance_id.as_deref(), Some("i-1"));
        let read = fetch.tags(&instance).await.expect("an answer");
        assert_eq!(read, tags(&[("Name", "web 1"), ("Stage", "")]));
        let asked = asked.lock().expect("nobody panics with it");
        assert!(!asked.iter().any(|q| q.starts_with("POST")), "{asked:?}");
        assert_eq!(asked.iter().filter(|q| q.starts_with("PUT")).count(), 1, "{asked:?}");
    }

    #[tokio::test]
    async fn tags_are_described_page_by_page_where_the_metadata_service_has_none() {
        let (mut fetch, asked) = host(&[
            (
                "POST /Action=DescribeTags&Version=2016-11-15&Filter.1.Name=resource-id&Filter.1.Value.1=i-1&NextToken=n%2F1",
                "<r><tagSet><item><key>b</key><value/></item></tagSet></r>",
            ),
            (
                "POST /Action=DescribeTags&Version=2016-11-15&Filter.1.Name=resource-id&Filter.1.Value.1=i-1",
                "<r><tagSet><item><resourceId>i-1</resourceId><key>a</key><value>x &amp; y</value></item></tagSet>\
                 <nextToken>n/1</nextToken></r>",
            ),
        ]);
        let instance =
            Instance { instance_id: Some("i-1".into()), region: Some("eu-west-1".into()), ..Instance::default() };
        let read = fetch.tags(&instance).await.expect("an answer");
        assert_eq!(read, tags(&[("a", "x & y"), ("b", "")]));
        assert_eq!(asked.lock().expect("nobody panics with it").iter().filter(|q| q.starts_with("POST")).count(), 2);
    }

    #[tokio::test]
    async fn a_refusal_names_the_permission() {
        let (mut fetch, _) = host(&[]);
        let instance = Instance { region: Some("eu-west-1".into()), ..Instance::default() };
        let error = fetch.tags(&instance).await.expect_err("there is nothing").to_string();
        assert!(error.contains("ec2:DescribeTags") && error.contains("404"), "{error}");
        assert!(fetch.identity().await.is_err_and(|e| e.contains("404")));
    }

    #[test]
    fn the_identity_document_is_read_as_far_as_it_goes() {
        let document = r#"{"accountId":"111122223333","availabilityZone":"eu-west-1b","imageId":"ami-1",
            "instanceId":"i-1","instanceType":"t3.micro","privateIp":"10.0.0.9","region":"eu-west-1","kernelId":null}"#;
        let read = identity(document).expect("a good document");
        let field = |field: &Option<String>| field.clone().unwrap_or_default();
        let all = [
            &read.instance_id,
            &read.instance_type,
            &read.image_id,
            &read.account_id,
            &read.region,
            &read.availability_zone,
            &read.private_ip,
        ];
        assert_eq!(all.map(field), ["i-1", "t3.micro", "ami-1", "111122223333", "eu-west-1", "eu-west-1b", "10.0.0.9"]);
        assert_eq!(identity(r#"{"instanceId":"i-1"}"#).map(|i| i.region), Ok(None));
        assert!(identity("<html>").is_err_and(|e| e.contains("no JSON")));
        assert!(identity("{}").is_err_and(|e| e.contains("names no instance")));
    }
}
