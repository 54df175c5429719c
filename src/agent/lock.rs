//! Keeps two agents apart: an exclusive lock on the state directory. Knows nothing else in it.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context as _, bail};
use rustix::{fs::FlockOperation, io::Errno};

/// Held as long as it lives; the kernel lets go of it with the process, however that ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its descriptor")] File);

/// Takes the lock, making the directory if need be.
pub fn take(state_dir: &Path) -> anyhow::Result<Lock> {
    let shown = state_dir.display();
    crate::checkpoint::storage::make_folder(state_dir).with_context(|| {
        format!("{shown}: cannot make the state directory; create it for the agent's user, or set `state_dir`")
    })?;
    let path = state_dir.join("lock");
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(&path).with_context(
            || format!("{}: cannot open the lock file; give the agent's user access to it", path.display()),
        )?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let _ = (&mut file).take(20).read_to_string(&mut pid);
            bail!(
                "{shown}: another agent (pid {}) uses this state directory. Stop it, or give this one its own `state_dir`",
                pid.trim()
            );
        }
        Err(e) => return Err(e).with_context(|| format!("{}: cannot lock", path.display())),
    }
    // For people and for the message above; the lock itself does not need it.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(Lock(file))
}
