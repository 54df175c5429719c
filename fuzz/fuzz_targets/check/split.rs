//! What holds for every file that is cut into records.

use std::{ops::Range, time::Duration};

use headwater::record::{
    regex::Regex,
    split::{self, At, Flush, Multiline, Options, Oversize, Start, Token},
};

/// Bytes of the input that choose the options.
const CHOICES: usize = 4;
const STARTS: [Option<&str>; 5] = [None, Some("^[A-Z]"), Some(r"^\S"), Some("x$"), Some("")];

/// Something of the file, other than a hole.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Piece {
    span: Range<usize>,
    /// What of it is kept.
    body: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Whole,
    Truncated,
    Dropped,
    Mark,
}

/// Cuts the rest of `input` in every way that a reader may: at once and by windows, early and late, finished or not.
pub fn check(input: &[u8]) {
    let Some((choices, data)) = input.split_first_chunk::<CHOICES>() else { return };
    let [kind, max_record, max_lines, cut] = choices.map(usize::from);
    let multiline = STARTS[kind / 3 % STARTS.len()].map(|start| Multiline {
        start: Start::Search(Regex::new(start).expect("a constant")),
        timeout: Duration::from_secs(2),
        max_lines: 1 + max_lines % 8,
    });
    let oversize = [Oversize::Truncate, Oversize::Split, Oversize::Drop][kind % 3];
    let terminator = [&b"\n"[..], b"", b"<CUT>\n"][max_lines / 8 % 3].to_vec();
    let options = Options {
        skip_header_lines: 0,
        multiline,
        max_record: 64 + max_record,
        oversize,
        terminator,
        footer: None,
        partial_line_timeout: None,
    };

    let early = &data[..data.len() * cut / 255];
    let window = options.max_record + 1 + max_lines;
    let (late, _) = cut_up(&options, data, data.len(), Flush::Nothing);
    for flush in [Flush::Nothing, Flush::Lines, Flush::Everything] {
        let (pieces, end) = cut_up(&options, data, data.len(), flush);
        check_pieces(&options, data, &pieces);
        assert!(pieces.starts_with(&late), "a flush only adds");
        assert!(flush < Flush::Everything || end == data.len(), "all of a finished file is consumed");
        assert_eq!(cut_up(&options, data, window, flush).0, pieces, "chunks do not show");
    }
    for window in [early.len(), window] {
        let (pieces, _) = cut_up(&options, early, window, Flush::Nothing);
        assert!(late.starts_with(&pieces), "what follows changes what was cut: {pieces:?}, then {late:?}");
    }
}

/// The pieces of a file of which `window` bytes are in sight at a time, and where what is left begins.
fn cut_up(options: &Options, data: &[u8], window: usize, flush: Flush) -> (Vec<Piece>, usize) {
    let (mut pieces, mut pos) = (Vec::new(), 0);
    loop {
        let chunk = &data[pos..data.len().min(pos + window)];
        let at = At { start_of_file: pos == 0, end_of_file: pos + chunk.len() == data.len(), flush };
        let mut token = split::next(options, chunk, at);
        let mut most = chunk.len();
        if token == Token::LongLine {
            assert!(chunk.len() > options.max_record && !chunk.contains(&b'\n'), "a long line without its end");
            most = match data[pos..].iter().position(|&byte| byte == b'\n') {
                Some(newline) => newline + 1,
                None if flush == Flush::Everything => data.len() - pos,
                None => return (pieces, pos),
            };
            token = split::too_long(options, chunk, most);
        }
        let (len, body, kind) = match token {
            Token::Record { len, body, truncated: false } => (len, body, Kind::Whole),
            Token::Record { len, body, truncated: true } => (len, body, Kind::Truncated),
            Token::TooLong { len, keep } => (len, keep, Kind::Dropped),
            Token::ByteOrderMark { len } => (len, 0, Kind::Mark),
            Token::Hole { len } => {
                assert!(len > 0 && chunk[..len].iter().all(|&byte| byte == 0), "a hole is empty");
                pos += len;
                continue;
            }
            Token::Incomplete | Token::LongLine => return (pieces, pos),
        };
        assert!(0 < len && len <= most && body <= len, "{token:?} of {most} bytes");
        pieces.push(Piece { span: pos..pos + len, body, kind });
        pos += len;
    }
}

fn check_pieces(options: &Options, data: &[u8], pieces: &[Piece]) {
    let text = std::str::from_utf8(data).is_ok();
    let mut end = 0;
    for piece in pieces {
        let bytes = &data[piece.span.clone()];
        let body = &bytes[..piece.body];
        assert!(
            end <= piece.span.start && data[end..piece.span.start].iter().all(|&byte| byte == 0),
            "only holes between"
        );
        end = piece.span.end;
        assert!(!text || std::str::from_utf8(body).is_ok(), "a character is divided");
        match piece.kind {
            Kind::Whole => {
                assert!(body == bytes && body.len() <= options.max_record);
                check_lines(options, body);
            }
            Kind::Truncated | Kind::Dropped => {
                assert_eq!(piece.kind == Kind::Dropped, options.oversize == Oversize::Drop);
                assert!(options.oversize != Oversize::Split, "Split leaves nothing out");
                assert!(bytes.len() > options.max_record);
                assert!(body.len() + options.terminator.len() <= options.max_record);
                assert!(!bytes[..bytes.len() - 1].contains(&b'\n'), "one line");
            }
            Kind::Mark => assert!(piece.span == (0..3) && bytes == b"\xEF\xBB\xBF"),
        }
    }
}

/// Only the first line of a record may look like one, and there is but one line where records have one.
fn check_lines(options: &Options, record: &[u8]) {
    let lines: Vec<&[u8]> = record.split_inclusive(|&byte| byte == b'\n').collect();
    let most = options.multiline.as_ref().map_or(1, |multiline| multiline.max_lines);
    assert!(lines.len() <= most, "{} lines in one record", lines.len());
    let Some(multiline) = &options.multiline else { return };
    for line in &lines[1..] {
        let line = line.strip_suffix(b"\n").map_or(*line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        let Start::Search(start) = &multiline.start else { return };
        assert_eq!(start.is_match(line), Ok(false), "a record begins within another");
    }
}
