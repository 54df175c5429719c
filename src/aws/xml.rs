//! As much of XML as the Query protocol's answers need: the text of an element by its name. Knows no particular answer.
//! Invariant: whatever the input, it ends and does not panic; what is not found is absent.

/// The raw contents of every element called `name`, in order; it must not hold another of its name.
pub fn elements<'x>(xml: &'x str, name: &str) -> impl Iterator<Item = &'x str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (inside, after) = after.split_once(&close)?;
        rest = after;
        Some(inside)
    })
}

/// The text of the first element called `name`.
pub fn text(xml: &str, name: &str) -> Option<String> {
    elements(xml, name).next().map(unescape)
}

/// References to characters resolved; an unknown one stays as it is.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        // The longest are like `&#x10FFFF;`.
        let end = after.bytes().take(10).position(|b| b == b';');
        if let Some((c, end)) = end.and_then(|end| Some((character(&after[..end])?, end))) {
            out.push(c);
            rest = &after[end + 1..];
        } else {
            out.push('&');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_are_found_in_order_and_absent_ones_are_none() {
        let xml = "<?xml version=\"1.0\"?>\n<r><item><k>a</k></item><item/><item><k>b</k><v/></item></r>";
        assert_eq!(elements(xml, "item").collect::<Vec<_>>(), ["<k>a</k>", "<k>b</k><v/>"]);
        assert_eq!(elements(xml, "k").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(text(xml, "v"), None);
        assert_eq!(elements("<k>cut", "k").count(), 0);
    }

    #[test]
    fn references_become_characters() {
        for (written, meant) in [
            ("a &amp;&lt;&gt;&quot;&apos; b", "a &<>\"' b"),
            ("&#228;&#xe4;&#x1F600;", "\u{e4}\u{e4}\u{1f600}"),
            ("&amp;lt;", "&lt;"),
            ("&unknown; & &#xD800; &#;", "&unknown; & &#xD800; &#;"),
        ] {
            assert_eq!(unescape(written), meant);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(xml in "(<k>|</k>|&|;|#x?|[a-f0-9]|\\PC)*") {
            for element in elements(&xml, "k") {
                unescape(element);
            }
        }

        #[test]
        fn what_was_escaped_comes_back(text in "[a-z&<>\"';#]*") {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
            prop_assert_eq!(unescape(&escaped), text);
        }
    }
}
