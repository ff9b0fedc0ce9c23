//! The key file of a device on a host.

use super::DeviceError;
use crate::secret::create_private;
use std::{fs, path::Path};
use symbolon_core::report::identity::Identity;
use zeroize::Zeroizing;

/// Reads and writes what a device is told: the same bytes that are flashed to a microcontroller.
#[derive(Debug)]
pub struct KeyFile;

impl KeyFile {
    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// [`DeviceError::File`], [`DeviceError::Key`].
    pub fn read(path: &Path) -> Result<Identity, DeviceError> {
        let failed = |error| DeviceError::File { path: path.to_owned(), error };
        let bytes = Zeroizing::new(fs::read(path).map_err(failed)?);
        Identity::from_bytes(&bytes).map_err(|error| DeviceError::Key { path: path.to_owned(), error })
    }

    /// Writes a key file that only its owner reads.
    ///
    /// # Errors
    ///
    /// [`DeviceError::File`], also if there is one.
    pub fn write(path: &Path, identity: &Identity) -> Result<(), DeviceError> {
        let bytes = Zeroizing::new(identity.to_bytes());
        create_private(path, &*bytes).map_err(|error| DeviceError::File { path: path.to_owned(), error })
    }
}
