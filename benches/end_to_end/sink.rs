//! A Kinesis that stores nothing: counts the records of a request and says yes to each. A thread a connection.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use memchr::memmem;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Told about each body that arrived.
pub(crate) type Listener = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// The sink as a process: says its port on stdout, with TLS its certificate too, and ends when its stdin does.
pub(crate) fn main(tls: bool) {
    let (config, pem) = if tls { certificate() } else { (None, String::new()) };
    let port = serve(config, Arc::new(|_| ()));
    println!("{port}\n{pem}");
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
}

/// The sink's process, ended when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
}

impl Process {
    /// Starts it; with TLS its certificate goes to `ca_file`.
    pub(crate) fn start(tls: bool, ca_file: &Path) -> Self {
        let exe = std::env::current_exe().expect("this program's own path");
        let mut command = Command::new(exe);
        command.args(["role-sink", if tls { "tls" } else { "plain" }]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the sink can be started");
        let mut said = BufReader::new(child.stdout.take().expect("stdout is piped")).lines().map_while(Result::ok);
        let port = said.next().expect("the sink says its port");
        if tls {
            let pem: Vec<String> = said.take_while(|line| !line.is_empty()).collect();
            std::fs::write(ca_file, pem.join("\n") + "\n").expect("the CA file can be written");
        }
        Self { child, url: format!("{}://127.0.0.1:{port}", if tls { "https" } else { "http" }) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate for 127.0.0.1 that is its own authority.
fn certificate() -> (Option<Arc<ServerConfig>>, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("the key belongs to the certificate");
    (Some(Arc::new(config)), made.cert.pem())
}

/// Serves on threads of its own, for ever; returns the port.
pub(crate) fn serve(tls: Option<Arc<ServerConfig>>, listener: Listener) -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    let port = socket.local_addr().expect("a bound listener has an address").port();
    std::thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            let (tls, listener) = (tls.clone(), Arc::clone(&listener));
            std::thread::spawn(move || greet(stream, tls, &*listener));
        }
    });
    port
}

fn greet(stream: TcpStream, tls: Option<Arc<ServerConfig>>, listener: &dyn Fn(&[u8])) {
    let _ = stream.set_nodelay(true);
    // How a connection ends is the client's business.
    let _ = match tls {
        None => converse(stream, listener),
        Some(config) => match ServerConnection::new(config) {
            Ok(session) => converse(StreamOwned::new(session, stream), listener),
            Err(_) => return,
        },
    };
}

fn converse(stream: impl Read + Write, listener: &dyn Fn(&[u8])) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    let counter = memmem::Finder::new(b"\"Data\"");
    loop {
        let (mut length, mut put) = (0, false);
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                if line.trim_end().is_empty() {
                    break;
                }
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            } else if name.eq_ignore_ascii_case("x-amz-target") {
                put = value.trim() == "Kinesis_20131202.PutRecords";
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        listener(&body);
        let text = if put { answer(counter.find_iter(&body).count()) } else { unknown() };
        reader.get_mut().write_all(&text)?;
        reader.get_mut().flush()?;
    }
}

fn answer(records: usize) -> Vec<u8> {
    const ONE: &str = r#"{"SequenceNumber":"49640000000000000000000000000000000000000000000000000000","ShardId":"shardId-000000000000"},"#;
    let mut body = String::with_capacity(64 + records * ONE.len());
    body.push_str(r#"{"FailedRecordCount":0,"Records":["#);
    (0..records).for_each(|_| body.push_str(ONE));
    body.truncate(body.trim_end_matches(',').len());
    body.push_str("]}");
    respond(200, &body)
}

fn unknown() -> Vec<u8> {
    respond(400, r#"{"__type":"UnknownOperationException"}"#)
}

fn respond(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} .\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {length}\r\n\r\n");
    (head + body).into_bytes()
}
