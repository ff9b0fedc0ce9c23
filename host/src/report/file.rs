//! Output files that are whole or not there.

use crate::secret::{folder_of, sync_folder};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `bytes` to `path`, at once: to a temporary file beside it, synced, then renamed over it. A reader sees the old
/// file or the new one, after a crash too. On failure the temporary file is removed and the old one is untouched. Links are
/// followed; what is no file (a pipe, `/dev/stdout`) is written in place.
///
/// # Errors
///
/// What the system said; callers name `path`.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// [`write_atomic`] for content that is streamed.
pub(super) fn write_with(path: &Path, content: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let target = fs::canonicalize(path);
    let path = target.as_deref().unwrap_or(path); // it need not exist
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return content(&mut OpenOptions::new().write(true).open(path)?);
    }
    let folder = folder_of(path);
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
    let (mut file, temporary) = create(folder, &name.to_string_lossy())?;
    let written = content(&mut file).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary.0, path));
    drop(file);
    written?;
    std::mem::forget(temporary);
    sync_folder(folder).or(Ok(())) // the file is there, and its reader may need no more
}

/// Removed unless it was renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn create(folder: &Path, name: &str) -> io::Result<(File, Temporary)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!(".{name}.{}-{number}.tmp", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    Ok((file, Temporary(path)))
}
