//! The service manager's end of the notification socket.

use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

use super::until;

/// Listens at a path for `READY=1` and the like.
pub(crate) struct Notifications {
    socket: UnixDatagram,
    path: PathBuf,
    /// Every assignment so far, one an entry.
    seen: Vec<String>,
}

impl Notifications {
    pub(crate) fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket in the test's folder");
        socket.set_nonblocking(true).expect("a socket can be made non-blocking");
        Self { socket, path: path.to_owned(), seen: Vec::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Everything received so far.
    pub(crate) fn seen(&mut self) -> &[String] {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            self.seen.extend(text.lines().map(str::to_owned));
        }
        &self.seen
    }

    /// Fails unless at least `times` messages that begin with `start` come within 30 s.
    #[track_caller]
    pub(crate) fn expect(&mut self, start: &str, times: usize) {
        let came = until(super::SOON, || self.seen().iter().filter(|m| m.starts_with(start)).count() >= times);
        assert!(came, "{start} not received {times} times: {:?}", self.seen);
    }
}
