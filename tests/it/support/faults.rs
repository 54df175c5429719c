//! A Kinesis (or a Firehose) that breaks on request: an HTTP/1.1 server on a loopback address of its own, with or without TLS.
//! What it takes and sees is in its `Ledger`, how it is read in `reading`, what becomes of its shards in `stream`.
//! A thread for each connection, so that one bad answer delays no other.
//! Invariant: a record that was taken while its answer was spoilt is in `Ledger::doubtful`.

use std::{
    collections::HashMap,
    io::{self, BufReader, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use super::{
    SOON, http,
    ledger::{FIREHOSE, KINESIS, Ledger, Signed, Verdict, refusal},
    pause,
    reading::{self, Read},
    until,
};

/// What happens to one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// All is well.
    Pass,
    /// Each n-th record offered is throttled.
    ThrottleEach(u64),
    /// Every record of one shard is throttled.
    ThrottleShard(usize),
    /// Record `i` of the request fails with `InternalFailure`.
    FailRecord(usize),
    /// The whole request is answered with this status, code and message; nothing is taken.
    Refuse(u16, &'static str, &'static str),
    /// The records are taken, and the request is answered with this status all the same.
    TakeButAnswer(u16),
    /// The records are taken, and the connection is closed without an answer.
    TakeButHangUp,
    /// The records are taken, and the answer ends in the middle of its body.
    TakeButTruncate,
    /// The connection is closed without an answer, and the records are taken only this much later.
    TakeLate(Duration),
    /// The connection is reset before the body is read; nothing is taken.
    Reset,
    /// The records are taken at once and the answer comes this much later.
    Slow(Duration),
    /// A request with a record that contains this is refused as a whole with `ValidationException`.
    Poison(Vec<u8>),
}

impl Fault {
    pub(crate) const EXPIRED_TOKEN: Self =
        Self::Refuse(400, "ExpiredTokenException", "The security token included in the request is expired");
    pub(crate) const ACCESS_DENIED: Self =
        Self::Refuse(400, "AccessDeniedException", "User is not authorized to perform: kinesis:PutRecords");
    pub(crate) const NO_SUCH_STREAM: Self =
        Self::Refuse(400, "ResourceNotFoundException", "Stream logs under account 111122223333 not found.");
    pub(crate) const INTERNAL_FAILURE: Self = Self::Refuse(500, "InternalFailure", "Internal service failure.");
    pub(crate) const UNAVAILABLE: Self = Self::Refuse(503, "ServiceUnavailable", "Service is unavailable.");
}

/// Which fault the n-th request meets, counted from 0.
type Plan = Box<dyn FnMut(u64) -> Fault + Send>;

/// Which fault the n-th request to read meets, counted from 0, by its operation.
type ReadingPlan = Box<dyn FnMut(&str, u64) -> Read + Send>;

struct State {
    plan: Plan,
    reading: ReadingPlan,
    ledger: Ledger,
    under_way: u64,
    /// To cut them when the endpoint goes down. By number; a connection takes itself out when it ends.
    connections: HashMap<u64, TcpStream>,
    opened: u64,
    door: Door,
}

#[derive(Clone, Copy, PartialEq)]
enum Door {
    Open,
    Closing,
    Closed,
    /// The test is over.
    Gone,
}

struct Shared {
    state: Mutex<State>,
    moved: Condvar,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Shared {
    /// The lock, also after a test failed while it looked at the ledger: the rest is still to be cleared away.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the door is no longer `this`.
    fn while_door_is(&self, this: Door) -> MutexGuard<'_, State> {
        self.moved.wait_while(self.state(), |s| s.door == this).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server. Stops taking connections when dropped.
pub(crate) struct Kinesis {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Kinesis {
    /// A stream of four shards over plain HTTP.
    pub(crate) fn start() -> Self {
        Self::start_with(4)
    }

    /// The same with this many shards.
    pub(crate) fn start_with(shards: usize) -> Self {
        Self::open(shards, None, free_address())
    }

    /// The same over TLS, at an address for which the certificate was made.
    pub(crate) fn start_tls(tls: Arc<rustls::ServerConfig>, address: Ipv4Addr) -> Self {
        Self::open(4, Some(tls), address)
    }

    fn open(shards: usize, tls: Option<Arc<rustls::ServerConfig>>, ip: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a loopback address can be bound");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = State {
            plan: Box::new(|_| Fault::Pass),
            reading: Box::new(|_, _| Read::Pass),
            ledger: Ledger::of(shards),
            under_way: 0,
            connections: HashMap::new(),
            opened: 0,
            door: Door::Open,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), moved: Condvar::new(), tls });
        let inside = Arc::clone(&shared);
        std::thread::spawn(move || listen(listener, address, &inside));
        Self { shared, address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What belongs into `endpoint_url`.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// From now on every request meets this fault.
    pub(crate) fn set(&self, fault: Fault) {
        self.plan(move |_| fault.clone());
    }

    /// From now on request `n`, counted from 0, meets `plan(n)`.
    pub(crate) fn plan(&self, mut plan: impl FnMut(u64) -> Fault + Send + 'static) {
        let mut state = self.shared.state();
        let first = state.ledger.requests;
        state.plan = Box::new(move |n| plan(n - first));
    }

    /// From now on request `n` to read, counted from 0, meets `plan(operation, n)`: `GetRecords`, for example.
    pub(crate) fn reading(&self, mut plan: impl FnMut(&str, u64) -> Read + Send + 'static) {
        let mut state = self.shared.state();
        let first = state.ledger.reads;
        state.reading = Box::new(move |operation: &str, n: u64| plan(operation, n - first));
    }

    /// Connections are cut and refused from now on.
    pub(crate) fn down(&self) {
        self.shared.state().door = Door::Closing;
        let _ = TcpStream::connect(self.address);
        let mut state = self.shared.while_door_is(Door::Closing);
        for (_, connection) in state.connections.drain() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Connections are taken again.
    pub(crate) fn up(&self) {
        self.shared.state().door = Door::Open;
        self.shared.moved.notify_all();
    }

    /// Looks at the ledger.
    pub(crate) fn see<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.shared.state().ledger)
    }

    /// Changes the stream while no request is looked at.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        change(&mut self.shared.state().ledger)
    }

    /// How many records were taken so far.
    pub(crate) fn count(&self) -> usize {
        self.see(|l| l.accepted.len())
    }
}

impl Drop for Kinesis {
    fn drop(&mut self) {
        self.shared.state().door = Door::Gone;
        self.shared.moved.notify_all();
        let _ = TcpStream::connect(self.address);
    }
}

/// A loopback address that no other server of this process uses, so that its port stays free while it is down.
pub(crate) fn free_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, high, low, _] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high.max(1), low, NEXT.fetch_add(1, Ordering::Relaxed).max(1))
}

fn listen(listener: TcpListener, address: SocketAddr, shared: &Arc<Shared>) {
    let mut listener = Some(listener);
    while let Some(open) = listener.take() {
        let stream = open.accept().map(|(stream, _)| stream);
        let mut state = shared.state();
        match (state.door, stream) {
            (Door::Gone, _) => return,
            (Door::Open, Ok(stream)) => {
                state.opened += 1;
                let number = state.opened;
                state.connections.extend(stream.try_clone().map(|copy| (number, copy)));
                let inside = Arc::clone(shared);
                std::thread::spawn(move || {
                    greet(&stream, &inside);
                    inside.state().connections.remove(&number);
                });
                listener = Some(open);
            }
            (Door::Open, Err(_)) => listener = Some(open),
            (Door::Closing | Door::Closed, _) => {
                drop(open);
                state.door = Door::Closed;
                shared.moved.notify_all();
                drop(state);
                drop(shared.while_door_is(Door::Closed));
                // Its address is this server's own, so only a dying connection can be in the way for a moment.
                let _ = until(SOON, || {
                    listener = TcpListener::bind(address).ok();
                    listener.is_some()
                });
            }
        }
    }
}

/// One connection, from its first byte to its last. Whatever breaks it is the client's to notice.
fn greet(stream: &TcpStream, shared: &Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let _ = match &shared.tls {
        None => converse(stream, shared),
        Some(config) => match rustls::ServerConnection::new(Arc::clone(config)) {
            Ok(session) => converse(rustls::StreamOwned::new(session, stream), shared),
            Err(_) => return,
        },
    };
}

fn converse(stream: impl io::Read + Write, shared: &Arc<Shared>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    while let Some(head) = http::read_head(&mut reader)? {
        let going_on = match reading::operation(&head) {
            Some(operation) => read(&mut reader, &head, operation, shared)?,
            None => counted(&mut reader, head, shared)?,
        };
        if !going_on {
            return Ok(());
        }
    }
    Ok(())
}

/// One request to read and its answer; false when the fault closes the connection.
fn read(
    reader: &mut BufReader<impl io::Read + Write>,
    head: &http::Head,
    operation: &str,
    shared: &Shared,
) -> io::Result<bool> {
    let body = http::read_body(reader, head)?;
    let (date, verdict) = {
        let mut state = shared.state();
        let number = state.ledger.reads;
        state.ledger.reads += 1;
        let fault = (state.reading)(operation, number);
        let verdict = if head.header("authorization").and_then(Signed::by).is_some() {
            reading::answer(&state.ledger, operation, &body, &fault)
        } else {
            Some(unsigned(&mut state.ledger))
        };
        (state.ledger.date(), verdict)
    };
    let Some((status, text)) = verdict else { return Ok(false) };
    http::dated_answer(reader.get_mut(), &date, status, &text, usize::MAX)?;
    Ok(true)
}

/// One request of any other kind, under the fault that the plan has for it.
fn counted(reader: &mut BufReader<impl io::Read + Write>, head: http::Head, shared: &Arc<Shared>) -> io::Result<bool> {
    let fault = {
        let mut state = shared.state();
        let number = state.ledger.requests;
        state.ledger.requests += 1;
        state.under_way += 1;
        state.ledger.most_at_once = state.ledger.most_at_once.max(state.under_way);
        (state.plan)(number)
    };
    exchange(reader, head, &fault, shared, UnderWay(Arc::clone(shared)))
}

/// A request under way, until it is answered.
struct UnderWay(Arc<Shared>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
    }
}

/// One request and its answer; false when the fault closes the connection.
fn exchange(
    reader: &mut BufReader<impl io::Read + Write>,
    head: http::Head,
    fault: &Fault,
    shared: &Arc<Shared>,
    under_way: UnderWay,
) -> io::Result<bool> {
    if matches!(fault, Fault::Reset) {
        return Ok(false); // closing with bytes unread makes the kernel send a reset
    }
    let body = http::read_body(reader, &head)?;
    if let Fault::TakeLate(delay) = fault {
        take_late(*delay, head, body, Arc::clone(shared));
        return Ok(false);
    }
    let (before, after, (status, text)) = {
        let mut state = shared.state();
        let before = state.ledger.accepted.len();
        let verdict = decide(&mut state.ledger, &head, &body, fault);
        (before, state.ledger.accepted.len(), verdict)
    };
    let doubt = || shared.state().ledger.doubt(before..after);
    let mut most = usize::MAX;
    match fault {
        Fault::Slow(delay) => pause(*delay),
        Fault::TakeButAnswer(_) => doubt(),
        Fault::TakeButTruncate => {
            doubt();
            most = text.len() / 2;
        }
        Fault::TakeButHangUp => {
            doubt();
            return Ok(false);
        }
        _ => (),
    }
    let date = shared.state().ledger.date();
    // Whoever has the answer may send the next request before this thread goes on.
    drop(under_way);
    http::dated_answer(reader.get_mut(), &date, status, &text, most).inspect_err(|_| doubt())?;
    Ok(most == usize::MAX)
}

/// Takes what a client sent that has heard nothing and is long gone.
fn take_late(delay: Duration, head: http::Head, body: Vec<u8>, shared: Arc<Shared>) {
    std::thread::spawn(move || {
        pause(delay);
        let ledger = &mut shared.state().ledger;
        let before = ledger.accepted.len();
        decide(ledger, &head, &body, &Fault::Pass);
        let after = ledger.accepted.len();
        ledger.doubt(before..after);
    });
}

/// What the service does and says, connections aside.
fn decide(ledger: &mut Ledger, head: &http::Head, body: &[u8], fault: &Fault) -> Verdict {
    if let Fault::Refuse(status, code, message) = fault {
        return refusal(*status, code, message);
    }
    let Some(signed) = head.header("authorization").and_then(Signed::by) else { return unsigned(ledger) };
    ledger.signed.push(signed);
    let target = head.header("x-amz-target").unwrap_or("none");
    let verdict = match [&KINESIS, &FIREHOSE].into_iter().find(|api| api.target == target) {
        Some(api) => ledger.put(api, body, fault),
        None => refusal(400, "UnknownOperationException", target),
    };
    if let Fault::TakeButAnswer(status) = fault {
        let code = if *status == 503 { "ServiceUnavailable" } else { "InternalFailure" };
        return refusal(*status, code, "Internal service failure.");
    }
    verdict
}

fn unsigned(ledger: &mut Ledger) -> Verdict {
    ledger.violations.push("a request without a signature".into());
    refusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
}
