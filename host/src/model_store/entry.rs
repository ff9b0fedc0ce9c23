//! A model's public part, its state, and its name.

use crate::{
    job::{Job, JobError, ModelVersion},
    session::SessionId,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Separates these digests from all others.
const DIGEST_DOMAIN: &[u8] = b"symbolon model v1";

/// A client's wish that the servers keep the model.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Keep {
    /// The model's name.
    pub name: String,
    /// Whether a store without room refuses the job; otherwise the job runs, and its model is not
    /// kept.
    pub required: bool,
}

/// The source of a model's parameters.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum ModelOrigin {
    /// A job trained them.
    Trained {
        /// The job's session.
        session: SessionId,
        /// Hash of the plan.
        plan_hash: [u8; 32],
        /// Epochs that ran.
        epochs: u32,
    },
    /// A client imported them.
    Imported {
        /// Random number that identifies the import.
        import: SessionId,
    },
    /// A job trained them that began with another kept model, which the job names.
    Continued {
        /// The job's session.
        session: SessionId,
        /// Hash of the plan.
        plan_hash: [u8; 32],
        /// Epochs that ran.
        epochs: u32,
        /// Whether that model, or one before it, learned from reports.
        from_reports: bool,
    },
}

/// The public facts of a model: equal at both servers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct PublicPart {
    /// Its name.
    pub name: String,
    /// The encoded job: network, numbers, scale, columns, classes, data counts, manifest, seed.
    pub job: Vec<u8>,
    /// Hash of the job.
    pub job_hash: [u8; 32],
    /// Source of the parameters.
    pub origin: ModelOrigin,
    /// Serial number of the client's certificate, in hexadecimal.
    pub client: String,
    /// The deployment, by the hash of its authorities' certificates.
    pub deployment: [u8; 32],
}

impl PublicPart {
    /// Returns SHA-256 over the domain tag and the encoded public part.
    ///
    /// # Panics
    ///
    /// Never: all fields can be encoded.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let encoded = postcard::to_stdvec(self).expect("strings and bytes can be encoded");
        let mut hasher = Sha256::new();
        hasher.update(DIGEST_DOMAIN);
        hasher.update(encoded);
        hasher.finalize().into()
    }

    /// Returns whether the parameters learned from reports, at first or later.
    #[must_use]
    pub fn learned_from_reports(&self) -> bool {
        let before = matches!(self.origin, ModelOrigin::Continued { from_reports: true, .. });
        before || self.job().map_or(true, |job| job.data.is_stored())
    }

    /// Decodes the job.
    ///
    /// # Errors
    ///
    /// If another version of this program encoded it.
    pub fn job(&self) -> Result<Job, JobError> {
        Job::decode(&self.job)
    }
}

/// A model's state: the commands that it permits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum ModelState {
    /// New: it may be exported, published and deleted.
    Draft,
    /// Ready for use: it may be exported and retired, and is deleted by no mistake.
    Published,
    /// Withdrawn: it may be published again or deleted.
    Retired,
}

impl ModelState {
    /// Returns the name that commands print.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Retired => "retired",
        }
    }

    /// Returns whether a model of this state may enter the state `next`.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match next {
            Self::Draft => self == Self::Draft,
            Self::Published => true,
            Self::Retired => self != Self::Draft,
        }
    }
}

/// A version in a server's list.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ListedModel {
    /// Name and version.
    pub model: ModelVersion,
    /// Digest of the public part.
    pub digest: [u8; 32],
    /// The state at this server.
    pub state: ModelState,
    /// Time when this server kept it, in seconds since 1970.
    pub kept_at: i64,
    /// Words of the parameters, with running statistics and variances.
    pub words: u64,
    /// Bytes of this server's share and of the public part.
    pub bytes: u64,
}

/// A version at a server, with its public part.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// The version as the server lists it.
    pub listed: ListedModel,
    /// The public part.
    pub public: PublicPart,
}
