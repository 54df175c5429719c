//! Programs that write logs, and what rotates their files.

use std::{io::Write, sync::Arc};

use headwater::model::Print;

use super::world::{LOGS, Line, World, contents, ids};

impl World {
    pub(super) fn line(&mut self, log: usize) -> String {
        let id = u32::try_from(self.lines.len()).unwrap();
        let pad = if self.random.u8(..) < 8 { 300 } else { self.random.usize(..90) };
        let text = format!("{}{id:06}|{}\n", &LOGS[log][..3], "x".repeat(pad));
        self.lines.insert(id, Line { text: text.clone(), delivered: 0, allowed: 0 });
        text
    }

    pub(super) fn write(&mut self, log: usize, lines: u8, torn: bool) {
        if self.copying.contains(LOGS[log]) {
            return;
        }
        let mut text = self.writers[log].torn.take().map(|(_, rest)| rest).unwrap_or_default();
        for _ in 0..lines {
            text += &self.line(log);
        }
        // A writer that pauses in the middle of a line of a rotated file is taken to have left it.
        if torn && self.writes_to(log, LOGS[log]) {
            let line = self.line(log);
            let cut = self.random.usize(10..line.len());
            text += &line[..cut];
            let id = u32::try_from(self.lines.len() - 1).unwrap();
            self.writers[log].torn = Some((id, line[cut..].to_owned()));
        }
        let inode = Arc::clone(&self.writers[log].inode);
        self.sim.state().append(&inode, text.as_bytes());
    }

    /// Ends the line that was begun, so that what follows does not tear it apart.
    pub(super) fn finish_line(&mut self, log: usize) {
        if let Some((_, rest)) = self.writers[log].torn.take() {
            let inode = Arc::clone(&self.writers[log].inode);
            self.sim.state().append(&inode, rest.as_bytes());
        }
    }

    /// Gives up the line that was begun: what is written of it is all there will be.
    pub(super) fn abandon_line(&mut self, log: usize) {
        if let Some((id, rest)) = self.writers[log].torn.take() {
            let line = self.lines.get_mut(&id).expect("it was written");
            let keep = line.text.len() - rest.len();
            line.text.truncate(keep);
        }
    }

    pub(super) fn free_number(&self, log: usize) -> usize {
        let taken = |n: &usize| {
            let state = self.sim.state();
            state.exists(&format!("{}.{n}", LOGS[log])) || state.exists(&format!("{}.{n}.gz", LOGS[log]))
        };
        (1..1000).find(|n| !taken(n)).unwrap()
    }

    /// Moves `.1` to `.2` and so on, compressed ones too, to make `.1` free.
    pub(super) fn shift(&mut self, log: usize) {
        for n in (1..self.free_number(log)).rev() {
            for end in ["", ".gz"] {
                let (from, to) = (format!("{}.{n}{end}", LOGS[log]), format!("{}.{}{end}", LOGS[log], n + 1));
                let mut state = self.sim.state();
                if state.exists(&from) {
                    state.rename(&from, &to);
                }
            }
        }
    }

    pub(super) fn rename(&mut self, log: usize, reopen: bool) {
        let name = LOGS[log];
        if self.copying.contains(name) || !self.sim.state().exists(name) {
            return;
        }
        // A line is torn apart only by a writer that leaves the file for good.
        if reopen && self.random.bool() {
            self.abandon_line(log);
        } else {
            self.finish_line(log);
        }
        self.shift(log);
        self.sim.state().rename(name, &format!("{name}.1"));
        if reopen {
            self.reopen(log);
        }
    }

    pub(super) fn reopen(&mut self, log: usize) {
        if self.copying.contains(LOGS[log]) {
            return;
        }
        self.finish_line(log);
        let inode = self.sim.state().create(LOGS[log]);
        self.writers[log].inode = inode;
    }

    pub(super) fn is_copying(&self, name: &str) -> bool {
        self.copying.contains(name)
    }

    pub(super) fn writes_to(&self, log: usize, name: &str) -> bool {
        self.sim.state().inode(name).is_some_and(|i| Arc::ptr_eq(&i, &self.writers[log].inode))
    }

    pub(super) fn copy(&mut self, log: usize) {
        let name = LOGS[log];
        if !self.writes_to(log, name) || self.copying.contains(name) {
            return;
        }
        self.finish_line(log);
        self.shift(log);
        let mut state = self.sim.state();
        let data = state.inode(name).unwrap().lock().unwrap().data.clone();
        if data.is_empty() {
            return;
        }
        let now = state.now;
        state.replace(&format!("{name}.1"), data, now);
        self.copying.insert(name);
    }

    pub(super) fn truncate(&mut self, log: usize) {
        if self.copying.remove(LOGS[log]) {
            self.sim.state().truncate(LOGS[log]);
        }
    }

    /// Truncates without a copy and writes at once beyond the old length: only when nothing is lost by it.
    pub(super) fn rewrite(&mut self, log: usize, lines: u8) {
        let name = LOGS[log];
        if !self.writes_to(log, name) || self.copying.contains(name) {
            return;
        }
        self.finish_line(log);
        let inode = self.sim.state().inode(name).unwrap();
        if self.all_delivered(&inode.lock().unwrap().data) {
            self.sim.state().truncate(name);
            self.write(log, lines, false);
        }
    }

    pub(super) fn compress(&mut self, log: usize, number: usize) {
        let name = format!("{}.{number}", LOGS[log]);
        let Some(inode) = self.sim.state().inode(&name) else { return };
        if self.writes_to(log, &name) {
            return;
        }
        let (data, mtime) = {
            let inode = inode.lock().unwrap();
            (inode.data.clone(), inode.mtime)
        };
        drop(inode);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&data).unwrap();
        let mut state = self.sim.state();
        state.replace(&format!("{name}.gz"), encoder.finish().unwrap(), mtime);
        state.unlink(&name);
    }

    pub(super) fn delete(&mut self, log: usize, number: usize) {
        for name in [format!("{}.{number}", LOGS[log]), format!("{}.{number}.gz", LOGS[log])] {
            let Some(data) = contents(&self.sim, &name) else { continue };
            if !self.writes_to(log, &name) && self.all_delivered(&data) {
                self.sim.state().unlink(&name);
            }
        }
    }

    /// A writer without `O_APPEND` goes on at its old offset after its file was truncated.
    pub(super) fn hole(&mut self, log: usize) {
        let name = LOGS[log];
        if self.copying.contains(name) && self.writes_to(log, name) {
            let size = self.sim.state().inode(name).unwrap().lock().unwrap().data.len();
            self.truncate(log);
            // A hole that is all there is to know a file by makes its copy another file: a limit of exactly-once.
            let most = if self.once { Print::MAX / 2 } else { usize::MAX };
            let text = [vec![0; size.clamp(64, most)], self.line(log).into_bytes()].concat();
            let inode = Arc::clone(&self.writers[log].inode);
            self.sim.state().append(&inode, &text);
        }
    }

    pub(super) fn all_delivered(&self, data: &[u8]) -> bool {
        ids(data).all(|id| self.lines[&id].delivered > 0)
    }
}
