//! Buffers of shares, wiped when they go, and files that only their owner reads.

use std::{
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    ops::{Deref, DerefMut},
    path::Path,
};
use symbolon_core::word::Word;
use zeroize::{Zeroize, Zeroizing};

/// Wipes all memory of the program when it is freed: also libraries' copies. rustls hands each
/// record's plaintext on in a vector of its own, and vectors that grow leave their old memory
/// behind. A message that carries a seed would outlive its session there.
pub type WipingAllocator = zeroizing_alloc::ZeroAlloc<std::alloc::System>;
/// The allocator, for a program's `#[global_allocator]`.
pub const WIPING_ALLOCATOR: WipingAllocator = zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// Words that tell something together with the other server's: overwritten when dropped, and without `Debug`.
#[derive(Default)]
pub struct Secret<W: Word>(Vec<W>);

impl<W: Word> Secret<W> {
    /// `n` zeros.
    pub fn zeros(n: usize) -> Self {
        Self(vec![W::default(); n])
    }

    /// The words, for whoever makes them public or wipes them.
    pub fn into_inner(mut self) -> Vec<W> {
        std::mem::take(&mut self.0)
    }
}

impl<W: Word> From<Vec<W>> for Secret<W> {
    fn from(words: Vec<W>) -> Self {
        Self(words)
    }
}

impl<W: Word> Deref for Secret<W> {
    type Target = [W];
    fn deref(&self) -> &[W] {
        &self.0
    }
}

impl<W: Word> DerefMut for Secret<W> {
    fn deref_mut(&mut self) -> &mut [W] {
        &mut self.0
    }
}

impl<W: Word> Drop for Secret<W> {
    fn drop(&mut self) {
        // By bytes: dry words have none, however many they are.
        W::bytes_mut(&mut self.0).zeroize();
    }
}

/// Why a file with a secret is not read.
#[derive(Debug)]
pub enum PrivateFileError {
    /// It cannot be read.
    Read(io::Error),
    /// Every user of the machine can read or change it.
    Exposed,
}

impl fmt::Display for PrivateFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Exposed => {
                f.write_str("every user can read this secret; `chmod 600` it, and replace it if others may have")
            }
        }
    }
}

impl std::error::Error for PrivateFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            Self::Exposed => None,
        }
    }
}

/// Reads a file with a secret. Refuses one that every user of the machine can read or change (on
/// Unix).
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
    let mut file = File::open(path).map_err(PrivateFileError::Read)?;
    let metadata = file.metadata().map_err(PrivateFileError::Read)?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o007 != 0 {
        return Err(PrivateFileError::Exposed);
    }
    // Room for all of it, so that no copy stays behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    file.read_to_end(&mut bytes).map_err(PrivateFileError::Read)?;
    Ok(bytes)
}

/// Makes an empty file for its owner alone (on Unix), unless there is one.
pub(crate) fn reserve_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Name of the file that [`lock_folder`] locks.
pub(crate) const LOCK_FILE: &str = "lock";

/// Locks `folder` for this process, through the file [`LOCK_FILE`]; makes a missing folder. `None`
/// if another process has the lock.
pub(crate) fn lock_folder(folder: &Path) -> io::Result<Option<File>> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(LOCK_FILE);
    reserve_private(&path)?;
    let lock = OpenOptions::new().write(true).open(path)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Writes a file for its owner alone (on Unix), onto the disk; refuses to replace one, and leaves none that is not whole.
pub(crate) fn create_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = new_private(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(path); // the error that matters is the one before
    }
    written
}

/// Replaces `path` with a file for its owner alone (on Unix): writes and syncs a temporary file
/// beside it, then renames it. A failure leaves the old file.
pub(crate) fn replace_private(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let _ = std::fs::remove_file(&temporary); // left by a crash
    let mut file = new_private(&temporary)?;
    let written = write(&mut file).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary); // the error that matters is the one before
        return written;
    }
    sync_folder(folder_of(path))
}

/// Creates a file for its owner alone (on Unix); fails if there is one.
pub(crate) fn new_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Returns the folder that a file lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a folder durable; not all systems open folders.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder).map_or(Ok(()), |folder| folder.sync_all())
}
