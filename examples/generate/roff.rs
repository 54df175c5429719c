//! Markdown as `docs/` uses it to a page for man(7): headings, paragraphs, lists, tables, code. Knows no file.

use std::fmt::Write as _;

/// A whole page; the first heading's text is left out, for the page has a title of its own.
pub(crate) fn page(name: &str, section: u8, summary: &str, markdown: &str) -> String {
    let mut page = format!(".TH {name} {section}\n.SH NAME\n{name} \\- {summary}\n.SH DESCRIPTION\n");
    let mut lines = markdown.lines().skip_while(|line| line.starts_with("# ")).peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            page.push_str(".PP\n.RS 4\n.EX\n");
            lines.by_ref().take_while(|l| !l.starts_with("```")).for_each(|l| put(&mut page, &escaped(l)));
            page.push_str(".EE\n.RE\n");
        } else if let Some(heading) = line.strip_prefix("## ") {
            let _ = writeln!(page, ".SH {}", inline(heading).to_uppercase());
        } else if let Some(heading) = line.strip_prefix("### ") {
            let _ = writeln!(page, ".SS {}", inline(heading));
        } else if is_row(line) {
            let head = cells(line);
            lines.next_if(|l| l.trim_start().starts_with("|-"));
            while let Some(row) = lines.next_if(|l| is_row(l)) {
                table_row(&mut page, &head, &cells(row));
            }
        } else if let Some(item) = line.strip_prefix("* ") {
            page.push_str(".IP \\(bu 2\n");
            put(&mut page, &inline(item));
        } else if line.is_empty() {
            page.push_str(".PP\n");
        } else {
            put(&mut page, &inline(line));
        }
    }
    page
}

/// A line of a table, be it inside a list.
fn is_row(line: &str) -> bool {
    line.trim_start().starts_with('|')
}

/// A section whose lines stay as they are; a first line that only names it is left out.
pub(crate) fn verbatim(title: &str, text: &str) -> String {
    let mut section = format!(".SH {title}\n.nf\n");
    let named = |line: &&str| line.trim_end_matches(':').eq_ignore_ascii_case(title);
    text.lines().skip_while(named).for_each(|line| put(&mut section, &escaped(line)));
    section + ".fi\n"
}

/// A line of text; one that begins like a request of roff's is not taken for one.
fn put(page: &mut String, line: &str) {
    if line.starts_with(['.', '\'']) {
        page.push_str("\\&");
    }
    page.push_str(line);
    page.push('\n');
}

/// The first cell, then what the others say, each behind the head of its column.
fn table_row(page: &mut String, head: &[String], row: &[String]) {
    page.push_str(".TP\n");
    put(page, &inline(row.first().map_or("", String::as_str)));
    let mut rest: Vec<String> = Vec::new();
    for (title, cell) in head.iter().zip(row).skip(1).filter(|(_, cell)| !cell.is_empty()) {
        let plain = matches!(title.as_str(), "meaning" | "does" | "how" | "value" | "type");
        rest.push(if plain { inline(cell) } else { format!("{title}: {}", inline(cell)) });
    }
    put(page, &rest.join("; "));
}

/// The cells of a table's line; `\|` stands for a bar inside one.
fn cells(line: &str) -> Vec<String> {
    let line = line.replace("\\|", "\0");
    let inside = line.trim().trim_start_matches('|').trim_end_matches('|');
    inside.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// `code` and **strong** become bold, a link its text.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (i, part) in text.split('`').enumerate() {
        if i % 2 == 1 {
            let _ = write!(out, "\\fB{}\\fR", escaped(part));
        } else {
            for (j, part) in part.split("**").enumerate() {
                out.push_str(if j % 2 == 1 { "\\fB" } else { "" });
                out.push_str(&part.replace('\\', "\\e"));
                out.push_str(if j % 2 == 1 { "\\fR" } else { "" });
            }
        }
    }
    without_links(&out)
}

/// `[text](address)` becomes `text`.
fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let (Some(open), Some((_, behind))) = (before.rfind('['), after.split_once(')')) else { break };
        out.push_str(&before[..open]);
        out.push_str(&before[open + 1..]);
        rest = behind;
    }
    out + rest
}
