//! An instance metadata service, version 2: a token or no answer. And a host where it does not answer at all.

use std::{
    io::{self, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
};

use super::http;

const TOKEN: &str = "the-token";

/// The service; runs until the test process ends.
pub(crate) struct Imds {
    address: SocketAddr,
    /// Kept, so that nobody else gets the port.
    _silent: Option<TcpListener>,
}

impl Imds {
    /// On an instance with this id.
    pub(crate) fn start(instance_id: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let document = serde_json::json!({ "instanceId": instance_id, "region": "eu-west-1" }).to_string();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let document = document.clone();
                std::thread::spawn(move || serve(&client, &document));
            }
        });
        Self { address, _silent: None }
    }

    /// Takes connections and never says a word, like a network that swallows what it does not know.
    pub(crate) fn silent() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("a bound listener has an address");
        Self { address, _silent: Some(listener) }
    }

    /// Refuses connections.
    pub(crate) fn absent() -> Self {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a port");
        Self { address, _silent: None }
    }

    /// Makes this the service that `command` asks.
    pub(crate) fn serve(&self, command: &mut Command) {
        command.env_remove("AWS_EC2_METADATA_DISABLED");
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}", self.address));
    }
}

fn serve(client: &TcpStream, document: &str) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    while let Some(head) = http::read_head(&mut reader)? {
        // What comes through a proxy gets no token: whoever asks must be on the instance.
        let direct = head.header("x-forwarded-for").is_none();
        let ttl = head.header("x-aws-ec2-metadata-token-ttl-seconds").map(str::to_owned);
        let (status, body) = match (head.method.as_str(), head.target.as_str()) {
            ("PUT", "/latest/api/token") if direct && ttl.is_some() => (200, TOKEN),
            ("PUT", _) => (400, ""),
            _ if head.header("x-aws-ec2-metadata-token") != Some(TOKEN) => (401, ""),
            ("GET", "/latest/dynamic/instance-identity/document") => (200, document),
            _ => (404, ""),
        };
        let length = body.len();
        let ttl = ttl.map(|ttl| format!("x-aws-ec2-metadata-token-ttl-seconds: {ttl}\r\n")).unwrap_or_default();
        write!(&*client, "HTTP/1.1 {status} .\r\n{ttl}Content-Length: {length}\r\n\r\n{body}")?;
    }
    Ok(())
}
