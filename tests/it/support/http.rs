//! As much of HTTP/1.1 as an SDK speaks to a server: request heads, bodies with a Content-Length, plain answers.

use std::io::{self, BufRead, Read, Write};

/// The first lines of a request.
pub(crate) struct Head {
    /// `GET`, `POST`, `CONNECT`.
    pub(crate) method: String,
    /// Path, or `host:port` for `CONNECT`.
    pub(crate) target: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The value of a header, its name given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Reads a request's head; `None` when the client closed the connection in peace.
pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut headers = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Some(Head { method, target, headers }))
}

/// Reads the body that belongs to `head`.
pub(crate) fn read_body(reader: &mut impl Read, head: &Head) -> io::Result<Vec<u8>> {
    let length = head.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

/// Writes an answer, or only the first `most` bytes of its body.
pub(crate) fn answer(out: &mut impl Write, status: u16, body: &str, most: usize) -> io::Result<()> {
    write_answer(out, status, "", body, most)
}

/// Writes an answer that says when it was given.
pub(crate) fn dated_answer(out: &mut impl Write, date: &str, status: u16, body: &str, most: usize) -> io::Result<()> {
    write_answer(out, status, &format!("Date: {date}\r\n"), body, most)
}

/// Writes an answer, or only the first `most` bytes of its body, although the head promises all of it.
fn write_answer(out: &mut impl Write, status: u16, headers: &str, body: &str, most: usize) -> io::Result<()> {
    let length = body.len();
    let mut text = format!(
        "HTTP/1.1 {status} .\r\nContent-Type: application/x-amz-json-1.1\r\nx-amzn-RequestId: 0\r\n{headers}\
         Content-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    text.extend_from_slice(&body.as_bytes()[..most.min(length)]);
    out.write_all(&text)?;
    out.flush()
}
