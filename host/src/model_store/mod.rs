//! Trained models, kept on the two servers as shares.
//!
//! | module | what |
//! | --- | --- |
//! | `entry` | a model's public part, its state, and its name |
//! | `share_file` | a server's share of the parameters |
//! | `store` | the catalogue and the files |
//! | `error` | refusals, each with a code |
//!
//! - **Secret:** a server's share of the parameters, refreshed: uniform words, the same that the
//!   client receives if the job reveals the model. Masked or opened words are never kept. Only the
//!   server's user can read the files.
//! - **Public:** everything else: name, version, job, hashes, client, times. After training, the
//!   servers compare the digest of the public part before either keeps a version.
//! - **Durability:** the share's file is on the disk before the catalogue has the version, and the
//!   catalogue has it before the server reports success. A crash can leave a file without version,
//!   which stays and is counted, but no version without file.
//! - **Failure:** if a server dies in between, only the other one has the version. Commands report
//!   such versions; only `retire` and `delete` change them.
//! - **Access:** a client is known by the serial number of its certificate. It has names, versions
//!   and limits of its own, and sees no other client's models but those that are published to it:
//!   these answer predictions on their [`Terms`].

mod entry;
mod error;
mod share_file;
mod store;
mod terms;
#[cfg(test)]
mod tests;

pub use crate::job::ModelVersion;
pub use entry::{Keep, ListedModel, ModelEntry, ModelOrigin, ModelState, PublicPart};
pub use error::ModelStoreError;
pub use store::ModelStore;
pub use terms::{Askers, Terms};
