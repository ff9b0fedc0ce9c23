//! A job's folder at a server: its share of the data, its checkpoints, and the results that wait
//! for the end.
//!
//! - `data`: the lengths of sequences; then, at server 0, the seed of its share, and at server 1
//!   the words.
//! - `initial`: this server's share of the kept model with which the job begins, and its SHA-256.
//! - `STEPS-SESSION.checkpoint`: `symbolon ckpt 1`, the session, the epoch's numbers that
//!   are about to leave, their SHA-256, and the state.
//! - `final`: `symbolon final 1`, the session, the epochs, the last outputs, this server's refreshed
//!   share of the model, and the SHA-256 of all.
//! - `model`: the share of the model, sealed to the client.
//!
//! `data` is written while the client sends it, and synced before the job exists, as `initial` is;
//! the others are written whole and renamed. The hashes detect damage, not an author.

use super::{JobStoreError, record::JobId, store::JobStore};
use crate::{
    intake::hex,
    secret::{new_private, read_private, replace_private, sync_folder},
    session::SessionId,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

const CHECKPOINT: &[u8; 16] = b"symbolon ckpt 1\n";
/// The file of the model with which a job begins.
const INITIAL: &str = "initial";
const FINAL: &[u8; 16] = b"symbolon final 1";
/// Checkpoints that a server stores of a job: among the last three of each server there is a
/// common one (see [`crate::job::Checkpoint`]).
const MOST_CHECKPOINTS: usize = 3;

/// A checkpoint's name: two servers' checkpoints fit together if their names are equal.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct CheckpointName {
    /// Steps before it.
    pub steps: u64,
    /// The session in which it was taken.
    pub session: SessionId,
}

/// This server's results, once the job has run to its end and before they leave.
pub struct Final {
    /// The session that made them.
    pub session: SessionId,
    /// Epochs that ran.
    pub epochs: u32,
    /// The encoded last outputs.
    pub outputs: Zeroizing<Vec<u8>>,
    /// The bytes of this server's refreshed share of the model; none if it does not leave the job.
    pub model: Zeroizing<Vec<u8>>,
}

/// Data that arrive. Their folder is deleted unless the job is inserted.
pub struct Upload {
    pub(super) id: JobId,
    folder: PathBuf,
    file: File,
    inserted: bool,
}

impl Upload {
    pub(super) fn begin(folder: PathBuf, id: JobId) -> Result<Self, JobStoreError> {
        let failed = |path: &Path, source| JobStoreError::Files { path: path.to_owned(), source };
        fs::create_dir(&folder).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => JobStoreError::Taken(id),
            _ => failed(&folder, source),
        })?;
        let path = folder.join("data");
        let file = new_private(&path).map_err(|source| {
            let _ = fs::remove_dir(&folder); // the error that matters is this one
            failed(&path, source)
        })?;
        Ok(Self { id, folder, file, inserted: false })
    }

    /// Appends bytes that arrived.
    ///
    /// # Errors
    ///
    /// A full disk.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), JobStoreError> {
        let path = self.folder.join("data");
        self.file.write_all(bytes).map_err(|source| JobStoreError::Files { path, source })
    }

    /// Stores the share of the model with which the job begins.
    ///
    /// # Errors
    ///
    /// A full disk.
    pub fn write_initial(&self, share: &[u8]) -> Result<(), JobStoreError> {
        let path = self.folder.join(INITIAL);
        let written = replace_private(&path, |file| {
            file.write_all(share)?;
            file.write_all(&Sha256::digest(share))
        });
        written.map_err(|source| JobStoreError::Files { path, source })
    }

    /// Puts all bytes, and the folder in `parent`, onto the disk.
    pub(super) fn sync(&mut self, parent: &Path) -> Result<(), JobStoreError> {
        let folders = [&self.folder, parent];
        let synced = self.file.sync_all().and_then(|()| folders.into_iter().try_for_each(sync_folder));
        synced.map_err(|source| JobStoreError::Files { path: self.folder.clone(), source })
    }

    pub(super) fn keep(mut self) {
        self.inserted = true;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.inserted {
            let _ = fs::remove_dir_all(&self.folder); // the next start deletes it again
        }
    }
}

/// A number of outputs, or of their bytes: a job has few.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX - 1)
}

fn hash(parts: [&[u8]; 2]) -> [u8; 32] {
    Sha256::new_with_prefix(parts[0]).chain_update(parts[1]).finalize().into()
}

impl JobStore {
    fn in_folder(&self, id: &JobId, name: &str) -> PathBuf {
        self.folder(id).join(name)
    }

    /// Returns the path of a job's data, for errors.
    #[must_use]
    pub fn data_path(&self, id: &JobId) -> PathBuf {
        self.in_folder(id, "data")
    }

    /// Returns the path of the sealed share of a job's model, for errors.
    #[must_use]
    pub fn model_path(&self, id: &JobId) -> PathBuf {
        self.in_folder(id, "model")
    }

    /// Opens the data of a job.
    ///
    /// # Errors
    ///
    /// [`JobStoreError::Files`].
    pub fn open_data(&self, id: &JobId) -> Result<File, JobStoreError> {
        let path = self.data_path(id);
        File::open(&path).map_err(|source| JobStoreError::Files { path, source })
    }

    /// Reads the share of the model with which a job begins into `share`, which has its length.
    ///
    /// # Errors
    ///
    /// [`JobStoreError::Damaged`], [`JobStoreError::Files`].
    pub fn read_initial(&self, id: &JobId, share: &mut [u8]) -> Result<(), JobStoreError> {
        let path = self.in_folder(id, INITIAL);
        let bytes = read_file(&path)?;
        match bytes.split_last_chunk::<32>() {
            Some((own, digest)) if own.len() == share.len() && *digest == *Sha256::digest(own) => {
                share.copy_from_slice(own);
                Ok(())
            }
            _ => Err(JobStoreError::Damaged(path)),
        }
    }

    /// Returns the names of a job's checkpoints, the latest last. Checkpoints whose session is
    /// another's are stale; they are among them.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn checkpoints(&self, id: &JobId) -> Result<Vec<CheckpointName>, JobStoreError> {
        let folder = self.folder(id);
        let failed = |source| JobStoreError::Files { path: folder.clone(), source };
        let mut names = Vec::new();
        for file in fs::read_dir(&folder).map_err(failed)? {
            let file = file.map_err(failed)?.file_name();
            names.extend(file.to_str().and_then(CheckpointName::parse));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Stores a checkpoint with the numbers that are about to leave. Deletes those before the last
    /// three, except the last earlier one of an epoch's end: the other server may have no later
    /// one. Epochs have `epoch` steps.
    ///
    /// # Errors
    ///
    /// A full disk; earlier checkpoints are then as they were.
    pub fn write_checkpoint(
        &self,
        id: &JobId,
        (name, epoch): (CheckpointName, u64),
        numbers: Option<&[u64]>,
        state: &[u8],
    ) -> Result<(), JobStoreError> {
        let path = self.in_folder(id, &name.file());
        let mut head = Zeroizing::new(CHECKPOINT.to_vec());
        head.extend_from_slice(&name.session);
        head.extend_from_slice(&numbers.map_or(u32::MAX, |numbers| count(numbers.len())).to_le_bytes());
        numbers.unwrap_or_default().iter().for_each(|number| head.extend_from_slice(&number.to_le_bytes()));
        let digest = hash([&head, &[]]);
        let written = replace_private(&path, |file| {
            file.write_all(&head)?;
            file.write_all(&digest)?;
            file.write_all(state)
        });
        written.map_err(|source| JobStoreError::Files { path, source })?;
        let names = self.checkpoints(id)?;
        let last = &names[names.len().saturating_sub(MOST_CHECKPOINTS)..];
        let ends_epoch = |other: &&CheckpointName| other.steps < name.steps && other.steps.is_multiple_of(epoch);
        let last_end = names.iter().rev().find(ends_epoch);
        for other in names.iter().filter(|other| !last.contains(other) && last_end != Some(*other)) {
            self.delete_checkpoint(id, *other);
        }
        Ok(())
    }

    /// Deletes the checkpoints at or after the one at which a run begins, but not that one: runs
    /// that got further at one server alone left them.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn delete_later_checkpoints(&self, id: &JobId, begins_at: Option<CheckpointName>) -> Result<(), JobStoreError> {
        let first = begins_at.map_or(0, |name| name.steps);
        let is_later = |name: &CheckpointName| name.steps >= first && Some(*name) != begins_at;
        self.checkpoints(id)?.into_iter().filter(is_later).for_each(|name| self.delete_checkpoint(id, name));
        Ok(())
    }

    /// Deletes a checkpoint, if it can be.
    pub fn delete_checkpoint(&self, id: &JobId, name: CheckpointName) {
        let _ = fs::remove_file(self.in_folder(id, &name.file())); // one that stays is harmless
    }

    /// Reads a checkpoint: the numbers that were about to leave, and the state.
    ///
    /// # Errors
    ///
    /// [`JobStoreError::Damaged`], [`JobStoreError::Files`].
    #[allow(clippy::type_complexity)] // two parts, named above
    pub fn read_checkpoint(
        &self,
        id: &JobId,
        name: CheckpointName,
    ) -> Result<(Option<Vec<u64>>, Zeroizing<Vec<u8>>), JobStoreError> {
        let path = self.in_folder(id, &name.file());
        let bytes = read_file(&path)?;
        let parsed = || {
            let (head, rest) = bytes.split_at_checked(CHECKPOINT.len() + 16 + 4)?;
            let (count, given) = match u32::from_le_bytes(*head.last_chunk()?) {
                u32::MAX => (0, false),
                count => (count as usize, true),
            };
            let (numbers, rest) = rest.split_at_checked(count.checked_mul(8)?)?;
            let (digest, state) = rest.split_at_checked(32)?;
            let named = head.starts_with(CHECKPOINT) && head[CHECKPOINT.len()..].starts_with(&name.session);
            if !named || hash([head, numbers]) != *digest {
                return None;
            }
            let numbers = numbers.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number)).collect();
            Some((given.then_some(numbers), Zeroizing::new(state.to_vec())))
        };
        parsed().ok_or(JobStoreError::Damaged(path))
    }

    /// Stores the results before they leave.
    ///
    /// # Errors
    ///
    /// A full disk.
    pub fn write_final(&self, id: &JobId, results: &Final) -> Result<(), JobStoreError> {
        let path = self.in_folder(id, "final");
        let mut head = Zeroizing::new(FINAL.to_vec());
        head.extend_from_slice(&results.session);
        head.extend_from_slice(&results.epochs.to_le_bytes());
        head.extend_from_slice(&count(results.outputs.len()).to_le_bytes());
        head.extend_from_slice(&results.outputs);
        let digest = hash([&head, &results.model]);
        let written = replace_private(&path, |file| {
            file.write_all(&head)?;
            file.write_all(&results.model)?;
            file.write_all(&digest)
        });
        written.map_err(|source| JobStoreError::Files { path, source })
    }

    /// Reads the results; `None` if the job has none.
    ///
    /// # Errors
    ///
    /// [`JobStoreError::Damaged`], [`JobStoreError::Files`].
    pub fn read_final(&self, id: &JobId) -> Result<Option<Final>, JobStoreError> {
        let path = self.in_folder(id, "final");
        let bytes = match read_file(&path) {
            Err(JobStoreError::Files { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let parsed = || {
            let (content, digest) = bytes.split_last_chunk::<32>()?;
            let (head, rest) = content.split_at_checked(FINAL.len() + 24)?;
            let len = u32::from_le_bytes(*head.last_chunk()?) as usize;
            let (outputs, model) = rest.split_at_checked(len)?;
            if !head.starts_with(FINAL) || hash([content, &[]]) != *digest {
                return None;
            }
            Some(Final {
                session: head[FINAL.len()..][..16].try_into().ok()?,
                epochs: u32::from_le_bytes(head[FINAL.len() + 16..][..4].try_into().ok()?),
                outputs: Zeroizing::new(outputs.to_vec()),
                model: Zeroizing::new(model.to_vec()),
            })
        };
        parsed().map(Some).ok_or(JobStoreError::Damaged(path))
    }

    /// Stores the sealed share of the model.
    ///
    /// # Errors
    ///
    /// A full disk.
    pub fn write_model(&self, id: &JobId, sealed: &[u8]) -> Result<(), JobStoreError> {
        let path = self.model_path(id);
        let written = replace_private(&path, |file| file.write_all(sealed));
        written.map_err(|source| JobStoreError::Files { path, source })
    }

    /// Opens the sealed share of the model; returns its length too.
    ///
    /// # Errors
    ///
    /// [`JobStoreError::Files`].
    pub fn open_model(&self, id: &JobId) -> Result<(File, u64), JobStoreError> {
        let path = self.model_path(id);
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        opened.map(|(len, file)| (file, len)).map_err(|source| JobStoreError::Files { path, source })
    }

    /// Deletes the files that an ended job needs no more; its sealed outputs stay.
    pub(super) fn clear(&self, id: &JobId) {
        let Ok(files) = fs::read_dir(self.folder(id)) else { return };
        for file in files.flatten().filter(|file| file.file_name() != "model") {
            let _ = fs::remove_file(file.path()); // the next start deletes it again
        }
        let _ = fs::remove_dir(self.folder(id)); // it stays if it holds the model
    }
}

/// Reads a file whole, into memory that is wiped.
fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, JobStoreError> {
    read_private(path).map_err(|error| {
        let source = match error {
            crate::secret::PrivateFileError::Read(source) => source,
            exposed @ crate::secret::PrivateFileError::Exposed => io::Error::other(exposed),
        };
        JobStoreError::Files { path: path.to_owned(), source }
    })
}

impl CheckpointName {
    fn file(&self) -> String {
        format!("{}-{}.checkpoint", self.steps, hex::print(&self.session))
    }

    fn parse(file: &str) -> Option<Self> {
        let (steps, session) = file.strip_suffix(".checkpoint")?.split_once('-')?;
        let name = Self { steps: steps.parse().ok()?, session: hex::parse(session)? };
        (name.file() == file).then_some(name)
    }
}

/// Reads a part of a job's data.
pub(crate) fn read_part(file: &mut File, bytes: &mut [u8], path: &Path) -> Result<(), JobStoreError> {
    file.read_exact(bytes).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => JobStoreError::Damaged(path.to_owned()),
        _ => JobStoreError::Files { path: path.to_owned(), source },
    })
}
