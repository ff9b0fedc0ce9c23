//! A device's counter of boots, in a file.

use super::DeviceError;
use crate::secret::{folder_of, sync_folder};
use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// A counter that only grows, also over power cuts. While one process has raised it, no other may.
#[derive(Debug)]
pub struct BootCounter {
    path: PathBuf,
}

/// A value of the counter, which is this process's until it is dropped.
#[derive(Debug)]
pub struct Boot {
    /// The value.
    pub number: u32,
    _lock: File,
}

impl BootCounter {
    /// The counter beside a key file: the same name, ending in `.boot`.
    pub fn beside(key_file: &Path) -> Self {
        Self { path: key_file.with_extension("boot") }
    }

    /// Makes a counter that stands at 0; for provisioning.
    ///
    /// # Errors
    ///
    /// [`DeviceError::File`], also if there is one.
    pub fn create(&self) -> Result<(), DeviceError> {
        let made =
            File::create_new(&self.path).and_then(|mut file| file.write_all(b"0\n").and_then(|()| file.sync_all()));
        made.map_err(|error| self.failed(error))
    }

    /// Raises the counter, durably, and returns its new value.
    ///
    /// # Errors
    ///
    /// [`DeviceError::File`]; [`DeviceError::InUse`] while another process reports with this key;
    /// [`DeviceError::Boot`] if the file is missing or holds no number. A lost counter does not
    /// start again: servers refuse boots that they know.
    pub fn raise(&self) -> Result<Boot, DeviceError> {
        // The counter itself is replaced when it is raised; the lock needs a file that stays.
        let lock = File::create(self.path.with_extension("lock")).map_err(|error| self.failed(error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DeviceError::InUse { path: self.path.clone() }),
            Err(TryLockError::Error(error)) => return Err(self.failed(error)),
        }
        let text = match fs::read_to_string(&self.path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => String::new(),
            read => read.map_err(|error| self.failed(error))?,
        };
        let next = text.trim().parse().ok().and_then(|boot: u32| boot.checked_add(1));
        let next = next.ok_or_else(|| DeviceError::Boot { path: self.path.clone() })?;
        self.replace(next).map_err(|error| self.failed(error))?;
        Ok(Boot { number: next, _lock: lock })
    }

    /// The old file or the new one, whatever happens in between.
    fn replace(&self, boot: u32) -> io::Result<()> {
        let new = self.path.with_extension("boot.new");
        let mut file = File::create(&new)?;
        writeln!(file, "{boot}")?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        sync_folder(folder_of(&self.path))
    }

    fn failed(&self, error: io::Error) -> DeviceError {
        DeviceError::File { path: self.path.clone(), error }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_never_begins_anew() {
        let dir = std::env::temp_dir().join(format!("symbolon-boot-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let counter = BootCounter::beside(&dir.join("room.key"));
        let missing = counter.raise().unwrap_err();
        assert!(matches!(missing, DeviceError::Boot { .. }) && missing.to_string().contains("provision"), "{missing}");
        counter.create().unwrap();
        assert!(counter.create().is_err(), "a counter must not be overwritten");
        assert_eq!([(); 3].map(|()| counter.raise().unwrap().number), [1, 2, 3]);
        let held = BootCounter::beside(&dir.join("room.key")).raise().unwrap();
        assert_eq!(held.number, 4);
        assert!(matches!(counter.raise(), Err(DeviceError::InUse { .. })), "two processes, one boot");
        drop(held);
        assert_eq!(counter.raise().unwrap().number, 5);
        for bad in ["", "x", "-1", "4294967295"] {
            fs::write(dir.join("room.boot"), bad).unwrap();
            assert!(matches!(counter.raise(), Err(DeviceError::Boot { .. })), "{bad}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
