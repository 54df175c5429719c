//! A CONNECT proxy that counts. Whatever name it is asked for, it leads to one address.

use std::{
    io::{self, BufReader, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use super::http;

/// The proxy; runs until the test process ends.
pub(crate) struct Proxy {
    asked: Arc<Mutex<Vec<String>>>,
    address: SocketAddr,
}

impl Proxy {
    /// A proxy behind which every name is `target`.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let log = Arc::clone(&log);
                std::thread::spawn(move || tunnel(client, target, &log));
            }
        });
        Self { asked, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The `host:port` of each tunnel it was asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no thread panics while it holds the lock").clone()
    }
}

fn tunnel(client: TcpStream, target: SocketAddr, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let Some(head) = http::read_head(&mut reader)?.filter(|h| h.method == "CONNECT") else { return Ok(()) };
    log.lock().expect("no thread panics while it holds the lock").push(head.target);
    let server = TcpStream::connect(target)?;
    (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut up, mut down) = (server.try_clone()?, client);
    let back = std::thread::spawn(move || {
        let _ = io::copy(&mut &server, &mut down);
        let _ = down.shutdown(Shutdown::Both);
    });
    let _ = io::copy(&mut reader, &mut up);
    let _ = up.shutdown(Shutdown::Write);
    let _ = back.join();
    Ok(())
}
