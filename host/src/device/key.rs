//! The key file of a device on a host.

use super::DeviceError;
use crate::secret::{create_private, read_private};
use std::path::Path;
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
    /// [`DeviceError::Private`], also if every user can read it; [`DeviceError::Key`].
    pub fn read(path: &Path) -> Result<Identity, DeviceError> {
        let bytes = read_private(path).map_err(|error| DeviceError::Private { path: path.to_owned(), error })?;
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
