//! One followed file, as the table knows it. Knows no other file. Invariant: `acked <= read`.

use std::{path::Path, sync::Arc, time::Instant};

use super::{Pending, shores::Shores};
use crate::{
    model::{Codec, FileId, Generation, Print},
    source::handle::Handle,
};

/// What is known of a file.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one file, most combinations of which occur")]
pub(super) struct Entry<F> {
    pub(super) generation: Generation,
    pub(super) path: Arc<Path>,
    /// Where a symbolic link led when the file was first seen.
    pub(super) home: Option<Box<Path>>,
    pub(super) id: FileId,
    pub(super) codec: Codec,
    pub(super) head: Print,
    pub(super) read: u64,
    pub(super) tail: Print,
    pub(super) acked: u64,
    pub(super) acked_tail: Print,
    /// As last seen; for a compressed file, the archive's.
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) handle: Option<Handle<F>>,
    /// Renamed away, unlinked, copied or compressed: nobody is expected to write to it for long.
    pub(super) rotated: bool,
    /// It got a name that the configuration leaves out while it was followed.
    pub(super) moved_out: bool,
    /// Since when no name leads to it.
    pub(super) lost: Option<Instant>,
    pub(super) done: bool,
    /// The configuration leaves it out by now: its place is kept, and it is not read.
    pub(super) parked: bool,
    pub(super) queued: bool,
    /// Look at the bytes before the offset even if there seems to be nothing new.
    pub(super) verify: bool,
    pub(super) header_left: u32,
    /// How far a line longer than a buffer was searched for its end.
    pub(super) long_line: Option<u64>,
    /// Bytes to ask for with the next read.
    pub(super) want: usize,
    pub(super) pending: Pending,
    pub(super) refused: bool,
    /// `run --once`: read no further than this.
    pub(super) until: Option<u64>,
    pub(super) last_look: u64,
    /// Until which look it counts as active; 0: it is not in the list of those.
    pub(super) hot: u64,
    /// When it was truncated: bytes that were known and not read.
    pub(super) unread: u64,
    /// Read to its end by a handle after no name led to it any more.
    pub(super) drained: bool,
    /// It is not known yet what the destination holds of it: it is not read before.
    pub(super) doubtful: bool,
    /// What the destination holds of the bytes to come.
    pub(super) shores: Shores,
}

/// An entry of which nothing is known but its name and identity.
pub(super) fn blank<F>(path: Arc<Path>, id: FileId) -> Entry<F> {
    Entry {
        generation: Generation(0),
        path,
        home: None,
        id,
        codec: Codec::Plain,
        head: Print::default(),
        read: 0,
        tail: Print::default(),
        acked: 0,
        acked_tail: Print::default(),
        size: 0,
        mtime: 0,
        handle: None,
        rotated: false,
        moved_out: false,
        lost: None,
        done: false,
        parked: false,
        queued: false,
        verify: false,
        header_left: 0,
        long_line: None,
        want: 0,
        pending: Pending::default(),
        refused: false,
        until: None,
        last_look: 0,
        hot: 0,
        unread: 0,
        drained: false,
        doubtful: false,
        shores: Shores::default(),
    }
}
