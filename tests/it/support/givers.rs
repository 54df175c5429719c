//! Those who give temporary credentials: STS, a container's endpoint and an instance's metadata (version 2 alone), in one
//! HTTP server. Each gift has a key id of its own. Signatures are not checked: for that there is `moto`.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use serde_json::json;

use super::http;

/// Credentials that were given.
#[derive(Clone, Debug)]
pub(crate) struct Gift {
    pub(crate) key: String,
    pub(crate) expires: SystemTime,
    /// What STS was asked for; empty for the others.
    pub(crate) form: BTreeMap<String, String>,
}

/// The server; runs until the test process ends.
pub(crate) struct Givers {
    gifts: Arc<Mutex<Vec<Gift>>>,
    address: SocketAddr,
}

impl Givers {
    /// What they give lasts this long.
    pub(crate) fn start(lifetime: Duration) -> Self {
        Self::open(Some(lifetime))
    }

    /// An STS that lets nobody assume a role.
    pub(crate) fn refusing() -> Self {
        Self::open(None)
    }

    fn open(lifetime: Option<Duration>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let gifts = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&gifts);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let log = Arc::clone(&log);
                std::thread::spawn(move || serve(&client, lifetime, &log));
            }
        });
        Self { gifts, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// In the order they were given.
    pub(crate) fn gifts(&self) -> Vec<Gift> {
        self.gifts.lock().expect("no thread panics while it holds the lock").clone()
    }
}

const REFUSAL: &str = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
    <Message>User: logs is not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>";

const TOKEN: &str = "a-token-of-version-2";

fn serve(client: &TcpStream, lifetime: Option<Duration>, gifts: &Mutex<Vec<Gift>>) -> io::Result<()> {
    let mut reader = BufReader::new(client);
    while let Some(head) = http::read_head(&mut reader)? {
        let body = http::read_body(&mut reader, &head)?;
        let token = head.header("x-aws-ec2-metadata-token") == Some(TOKEN);
        let form = form(&String::from_utf8_lossy(&body));
        let give = |form: &BTreeMap<String, String>| {
            let mut gifts = gifts.lock().expect("no thread panics while it holds the lock");
            let key = format!("GIFT{}", gifts.len());
            let lifetime = lifetime.unwrap_or_default();
            let gift = Gift { key, expires: SystemTime::now() + lifetime, form: form.clone() };
            gifts.push(gift.clone());
            gift
        };
        let (status, body) = match (head.method.as_str(), head.target.as_str()) {
            ("PUT", "/latest/api/token") => (200, TOKEN.to_owned()),
            ("GET", path) if path.starts_with("/latest/") && !token => (401, String::new()),
            ("GET", path) if path.ends_with("/security-credentials/") || path.ends_with("/security-credentials") => {
                (200, "logs".to_owned())
            }
            ("GET", "/latest/meta-data/iam/security-credentials/logs" | "/container") => (200, as_json(&give(&form))),
            ("POST", "/") if lifetime.is_none() => (403, REFUSAL.to_owned()),
            ("POST", "/") if form.contains_key("Action") => (200, as_xml(&form["Action"], &give(&form))),
            _ => (404, String::new()),
        };
        write!(
            reader.get_mut(),
            "HTTP/1.1 {status} .\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
    Ok(())
}

fn time(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).expect("a time of our days").to_string()
}

fn as_json(Gift { key, expires, .. }: &Gift) -> String {
    json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": time(SystemTime::now()), "AccessKeyId": key,
        "SecretAccessKey": "secret", "Token": "token", "Expiration": time(*expires),
    })
    .to_string()
}

fn as_xml(action: &str, Gift { key, expires, .. }: &Gift) -> String {
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
         <AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId><Arn>arn:aws:sts::111122223333:assumed-role/logs/x</Arn>\
         </AssumedRoleUser><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
         <SessionToken>token</SessionToken><Expiration>{}</Expiration></Credentials></{action}Result></{action}Response>",
        time(*expires)
    )
}

/// The fields of a form. Of the escapes only those that occur in ARNs and names.
fn form(body: &str) -> BTreeMap<String, String> {
    let plain = |text: &str| text.replace("%3A", ":").replace("%2F", "/").replace("%40", "@");
    body.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), plain(v))).collect()
}
