//! `apache_error` and `nginx_error`: the error logs of web servers. Knows the order of the parts, not what a message says.
//! Invariant: what is no part known by its form stays in the message.

use std::{net::Ipv6Addr, str::FromStr as _};

use memchr::{memchr, memchr_iter, memmem, memrchr};

use super::{
    super::fields::{Fields, Name, Text},
    Mismatch,
    cursor::Cursor,
};

/// The error log of Apache 2.2 and 2.4.
#[derive(Clone, Debug)]
pub(in super::super) struct Apache {
    /// timestamp, module, severity, processid, threadid, client, port, message
    names: [Name; 8],
}

const CLIENT: &[u8] = b"[client ";

impl Apache {
    pub(super) fn new(fields: &mut Fields) -> Self {
        let names = ["timestamp", "module", "severity", "processid", "threadid", "client", "port", "message"];
        Self { names: names.map(|name| fields.intern(name)) }
    }

    pub(super) fn parse(&self, line: &[u8], fields: &mut Fields) -> Result<(), Mismatch> {
        let mut cursor = Cursor::new(line, fields);
        cursor.literal(b"[", "`[` of the time")?;
        let time = cursor.until(b']', "`]` after the time")?;
        cursor.literal(b" [", "` [` of the severity")?;
        let start = cursor.at;
        let level = cursor.until(b']', "`]` after the severity")?;
        let written = &line[start..cursor.at - 1];
        let (module, severity) = match memchr(b':', written) {
            Some(colon) => (Some(level.part(0, colon)).filter(|_| colon > 0), level.part(colon + 1, written.len())),
            None => (None, level),
        };
        let _ = cursor.pass(b" ");
        let (process, thread) = process(&mut cursor)?;
        let (client, port, message) = client_and_message(&mut cursor)?;
        let [timestamp, module_name, severity_name, processid, threadid, client_name, port_name, message_name] =
            self.names;
        cursor.push(timestamp, time);
        cursor.push(module_name, module);
        cursor.push(severity_name, severity);
        cursor.push(processid, process);
        cursor.push(threadid, thread);
        cursor.push(client_name, client);
        cursor.push(port_name, port);
        cursor.push(message_name, message);
        Ok(())
    }
}

/// `[pid 1:tid 2] ` or `[pid 1] `, if it is there.
fn process(cursor: &mut Cursor<'_>) -> Result<(Option<Text>, Option<Text>), Mismatch> {
    if !cursor.pass(b"[pid ") {
        return Ok((None, None));
    }
    let process = cursor.digits("the process")?;
    let thread = if cursor.pass(b":tid ") { Some(cursor.digits("the thread")?) } else { None };
    cursor.literal(b"]", "`]` after the process")?;
    let _ = cursor.pass(b" ");
    Ok((Some(process), thread))
}

/// The client's address and port, and what is left; what stands before the client, as in
/// `(13)Permission denied: [client 10.0.0.1:99] AH00035: denied`, is of the message.
fn client_and_message(cursor: &mut Cursor<'_>) -> Result<(Option<Text>, Option<Text>, Text), Mismatch> {
    let rest = cursor.rest();
    let before = match memmem::find(rest, CLIENT) {
        Some(0) => 0,
        Some(at) if rest.starts_with(b"(") && rest[..at].ends_with(b": ") => at,
        _ => return Ok((None, None, cursor.take_rest())),
    };
    let status = &rest[..before];
    cursor.at += before + CLIENT.len();
    let start = cursor.at;
    let client = cursor.until(b']', "`]` after the client")?;
    let len = cursor.at - 1 - start;
    let _ = cursor.pass(b" ");
    let (client, port) = match address_len(&cursor.line[start..start + len]) {
        Some(address) => (client.part(0, address), Some(client.part(address + 1, len))),
        None => (client, None),
    };
    let message = cursor.take_rest();
    let message = if before > 0 { cursor.fields.concat(cursor.line, status, message, b"") } else { message };
    Ok((Some(client), port, message))
}

/// How long the address is if a port follows it. An IPv6 address has colons of its own: the last one is the port's only if
/// what stands before it is an address.
fn address_len(client: &[u8]) -> Option<usize> {
    let colon = memrchr(b':', client)?;
    let (address, port) = (&client[..colon], &client[colon + 1..]);
    if port.is_empty() || port.len() > 5 || !port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let plain = || memchr(b':', address).is_none();
    let six = || std::str::from_utf8(address).is_ok_and(|address| Ipv6Addr::from_str(address).is_ok());
    (plain() || six()).then_some(colon)
}

/// The parts that nginx writes after a message, in its order.
const PARTS: [&str; 7] = ["client", "server", "request", "subrequest", "upstream", "host", "referrer"];
/// How many places a message may have where the parts seem to begin.
const MOST_PLACES: usize = 8;

/// The error log of nginx.
#[derive(Clone, Debug)]
pub(in super::super) struct Nginx {
    /// time, level, pid, tid, cid, message
    names: [Name; 6],
    parts: [Name; 7],
}

impl Nginx {
    pub(super) fn new(fields: &mut Fields) -> Self {
        Self {
            names: ["time", "level", "pid", "tid", "cid", "message"].map(|name| fields.intern(name)),
            parts: PARTS.map(|name| fields.intern(name)),
        }
    }

    pub(super) fn parse(&self, line: &[u8], fields: &mut Fields) -> Result<(), Mismatch> {
        let mut cursor = Cursor::new(line, fields);
        if !cursor.shape(b"0000/00/00 00:00:00") {
            return cursor.fail("a time like `2023/10/11 14:32:52`");
        }
        let time = Text::line(0, cursor.at);
        cursor.literal(b" [", "` [` of the level")?;
        let level = cursor.until(b']', "`]` after the level")?;
        cursor.literal(b" ", "a space after the level")?;
        let pid = cursor.digits("the process")?;
        cursor.literal(b"#", "`#` after the process")?;
        let tid = cursor.digits("the thread")?;
        cursor.literal(b": ", "`: ` after the thread")?;
        let cid = if cursor.pass(b"*") {
            let cid = cursor.digits("the connection")?;
            cursor.literal(b" ", "a space after the connection")?;
            Some(cid)
        } else {
            None
        };
        let [time_name, level_name, pid_name, tid_name, cid_name, message_name] = self.names;
        cursor.push(time_name, time);
        cursor.push(level_name, level);
        cursor.push(pid_name, pid);
        cursor.push(tid_name, tid);
        cursor.push(cid_name, cid);
        let (len, parts) = parts(cursor.rest());
        let (start, message) = (cursor.at, cursor.take(len));
        cursor.push(message_name, message);
        for (name, part) in self.parts.iter().zip(parts) {
            if let Some((from, to)) = part {
                cursor.push(*name, Text::line(start + from, start + to));
            }
        }
        Ok(())
    }
}

type Parts = [Option<(usize, usize)>; PARTS.len()];

/// How long the message is, and where the parts after it are. They begin at the first place from which on there is nothing
/// but parts: what a client or an application wrote into the message may look like some.
fn parts(text: &[u8]) -> (usize, Parts) {
    let mut places = memmem::find_iter(text, b", client: ").take(MOST_PLACES);
    let found = places.find_map(|at| Some((at, read_parts(text, at)?)));
    found.unwrap_or((text.len(), [None; PARTS.len()]))
}

/// The parts, each at most once and in order, from `at` to the end.
fn read_parts(text: &[u8], mut at: usize) -> Option<Parts> {
    let mut parts = [None; PARTS.len()];
    let mut next = 0;
    while at < text.len() {
        let rest = text[at..].strip_prefix(b", ")?;
        let part = next + PARTS[next..].iter().position(|name| is_part(rest, name))?;
        let start = at + 2 + PARTS[part].len() + 2;
        let (from, to, end) = part_value(text, start)?;
        parts[part] = Some((from, to));
        (at, next) = (end, part + 1);
    }
    Some(parts)
}

fn is_part(rest: &[u8], name: &str) -> bool {
    rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b": "))
}

/// Where the value at `start` is, without its quotes, and where it ends with them. A quote within it is not escaped: it ends
/// before a part or the end.
fn part_value(text: &[u8], start: usize) -> Option<(usize, usize, usize)> {
    if text.get(start) != Some(&b'"') {
        let len = memmem::find(&text[start..], b", ").unwrap_or(text.len() - start);
        return Some((start, start + len, start + len));
    }
    let from = start + 1;
    let ends = |quote: &usize| {
        let rest = &text[from + quote + 1..];
        rest.is_empty() || rest.strip_prefix(b", ").is_some_and(|rest| PARTS.iter().any(|name| is_part(rest, name)))
    };
    let len = memchr_iter(b'"', &text[from..]).find(ends)?;
    Some((from, from + len, from + len + 1))
}

#[cfg(test)]
mod tests {
    use super::super::{Format, testing::check};

    fn apache(line: &str, expected: &str) {
        check(Format::ApacheError, line, expected);
    }

    fn nginx(line: &str, expected: &str) {
        check(Format::NginxError, line, expected);
    }

    #[test]
    fn lines_of_apache_of_any_age() {
        apache(
            "[Wed Oct 11 14:32:52 2000] [error] [client 127.0.0.1] client denied by server configuration: /export/home",
            "timestamp=Wed Oct 11 14:32:52 2000|module=null|severity=error|processid=null|threadid=null|client=127.0.0.1|port=null|message=client denied by server configuration: /export/home",
        );
        apache(
            "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 4328636416] [client 72.15.99.187:58472] File does not exist: /x",
            "timestamp=Fri Sep 09 10:42:29.902022 2011|module=core|severity=error|processid=35708|threadid=4328636416|client=72.15.99.187|port=58472|message=File does not exist: /x",
        );
        apache(
            "[t] [:error] [pid 1] [client ::1] PHP Notice",
            "timestamp=t|module=null|severity=error|processid=1|threadid=null|client=::1|port=null|message=PHP Notice",
        );
        apache(
            "[t] [mpm:notice] [pid 1:tid 2] AH00489: configured -- resuming",
            "timestamp=t|module=mpm|severity=notice|processid=1|threadid=2|client=null|port=null|message=AH00489: configured -- resuming",
        );
        apache(
            "[t] [core:error] [pid 1:tid 2] (13)Permission denied: [client 10.0.0.1:99] AH00035: access denied",
            "timestamp=t|module=core|severity=error|processid=1|threadid=2|client=10.0.0.1|port=99|message=(13)Permission denied: AH00035: access denied",
        );
    }

    #[test]
    fn the_last_colon_of_an_ipv6_address_is_a_port_only_after_an_address() {
        let fields = |client: &str, port: &str| {
            format!(
                "timestamp=t|module=null|severity=e|processid=null|threadid=null|client={client}|port={port}|message=m"
            )
        };
        apache("[t] [e] [client 2001:db8::1:58472] m", &fields("2001:db8::1", "58472"));
        apache("[t] [e] [client 2001:db8:0:0:0:0:0:1] m", &fields("2001:db8:0:0:0:0:0:1", "null"));
        apache("[t] [e] [client fe80::1] m", &fields("fe80::1", "null"));
        apache("[t] [e] [client name:99] m", &fields("name", "99"));
    }

    #[test]
    fn what_is_no_line_of_apache_says_where() {
        apache("", "expected `[` of the time at byte 0");
        apache("[t", "expected `]` after the time at byte 2");
        apache("[t] e", "expected ` [` of the severity at byte 3");
        apache("[t] [e", "expected `]` after the severity at byte 6");
        apache("[t] [e] [pid x]", "expected the process at byte 13");
        apache("[t] [e] [pid 1:tid x]", "expected the thread at byte 19");
        apache("[t] [e] [pid 1 x]", "expected `]` after the process at byte 14");
        apache("[t] [e] [client x", "expected `]` after the client at byte 17");
    }

    const HEAD: &str = "time=2023/10/11 14:32:52|level=error|pid=12|tid=34|";

    #[test]
    fn lines_of_nginx_have_their_parts_at_the_end() {
        nginx(
            r#"2023/10/11 14:32:52 [error] 12#34: *90 open() "/x" failed (2: No such file or directory), client: 1.2.3.4, server: example.com, request: "GET /x HTTP/1.1", upstream: "http://u/x", host: "example.com", referrer: "http://r/""#,
            &format!(
                r#"{HEAD}cid=90|message=open() "/x" failed (2: No such file or directory)|client=1.2.3.4|server=example.com|request=GET /x HTTP/1.1|upstream=http://u/x|host=example.com|referrer=http://r/"#
            ),
        );
        nginx(
            "2023/10/11 14:32:52 [error] 12#34: signal 15 (SIGTERM) received, exiting",
            &format!("{HEAD}cid=null|message=signal 15 (SIGTERM) received, exiting"),
        );
    }

    #[test]
    fn what_only_looks_like_parts_stays_in_the_message() {
        nginx(
            r#"2023/10/11 14:32:52 [error] 12#34: *9 FastCGI sent in stderr: "x, client: 6.6.6.6" while reading, client: 1.2.3.4, server: s, request: "GET /?a="b" HTTP/1.1", host: "h""#,
            &format!(
                r#"{HEAD}cid=9|message=FastCGI sent in stderr: "x, client: 6.6.6.6" while reading|client=1.2.3.4|server=s|request=GET /?a="b" HTTP/1.1|host=h"#
            ),
        );
        nginx(
            "2023/10/11 14:32:52 [error] 12#34: x, client: a, other: b",
            &format!("{HEAD}cid=null|message=x, client: a, other: b"),
        );
    }

    #[test]
    fn what_is_no_line_of_nginx_says_where() {
        nginx("2023-10-11 14:32:52 [error] 1#1: x", "expected a time like `2023/10/11 14:32:52` at byte 0");
        nginx("2023/10/11 14:32:52 error", "expected ` [` of the level at byte 19");
        nginx("2023/10/11 14:32:52 [error", "expected `]` after the level at byte 26");
        nginx("2023/10/11 14:32:52 [error]", "expected a space after the level at byte 27");
        nginx("2023/10/11 14:32:52 [error] x", "expected the process at byte 28");
        nginx("2023/10/11 14:32:52 [error] 1:", "expected `#` after the process at byte 29");
        nginx("2023/10/11 14:32:52 [error] 1#: x", "expected the thread at byte 30");
        nginx("2023/10/11 14:32:52 [error] 1#1 x", "expected `: ` after the thread at byte 31");
        nginx("2023/10/11 14:32:52 [error] 1#1: *x", "expected the connection at byte 34");
        nginx("2023/10/11 14:32:52 [error] 1#1: *1x", "expected a space after the connection at byte 35");
    }
}
