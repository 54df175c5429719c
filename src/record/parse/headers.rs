//! The header lines of the files at hand. Knows no format. Invariant: at most [`MOST_FILES`] are remembered, those used last.

use std::collections::VecDeque;

use super::super::fields::Names;
use crate::model::{Generation, Span};

/// Most files whose header is remembered. One that is forgotten is read again when its file is.
const MOST_FILES: usize = 256;

/// The first line of a file, and the names in it.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) generation: Generation,
    /// Where the line stands, its line end included.
    pub(super) span: Span,
    pub(super) names: Names,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Headers {
    /// The one used last first.
    list: VecDeque<Header>,
}

impl Headers {
    pub(super) fn knows(&self, generation: Generation) -> bool {
        self.list.iter().any(|header| header.generation == generation)
    }

    /// Remembers a header; the one not used for longest is forgotten for it.
    pub(super) fn learn(&mut self, header: Header) {
        self.list.retain(|known| known.generation != header.generation);
        self.list.truncate(MOST_FILES - 1);
        self.list.push_front(header);
    }

    pub(super) fn find(&mut self, generation: Generation) -> Option<&Header> {
        let at = self.list.iter().position(|header| header.generation == generation)?;
        if at > 0 {
            let header = self.list.remove(at)?;
            self.list.push_front(header);
        }
        self.list.front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_not_used_for_longest_is_forgotten() {
        let mut headers = Headers::default();
        let header = |n| Header { generation: Generation(n), span: Span { start: 0, end: n }, names: Names::default() };
        let most = u64::try_from(MOST_FILES).expect("a small number");
        (0..most).for_each(|n| headers.learn(header(n)));
        assert_eq!(headers.find(Generation(0)).map(|h| h.span.end), Some(0));
        headers.learn(header(most));
        assert!(headers.knows(Generation(0)) && headers.knows(Generation(most)));
        assert!(!headers.knows(Generation(1)) && headers.find(Generation(1)).is_none());
        assert_eq!(headers.list.len(), MOST_FILES);
    }
}
