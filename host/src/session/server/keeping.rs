//! Keeps a trained model once both servers agree on its public part and version.
//!
//! Each server sends the digest of its public part, the lowest unused version, and the version
//! under which it has kept this model before, if a crash has cut off an earlier attempt. Both
//! servers keep their shares under that version, or the higher unused one, and report success or
//! failure to each other. A job whose model is not kept still releases its outputs.

use super::{Server, heartbeats::Heartbeats};
use crate::{
    model_store::{ModelStoreError, ModelVersion, PublicPart},
    net::Connection,
    session::{
        SessionError,
        message::{KeepProposal, MAX_MESSAGE_BYTES},
        models::writing_timeout,
    },
};
use symbolon_core::word::Word;

/// The version that both servers keep, or the reason why they keep none.
pub(super) type KeepOutcome = Result<u32, String>;

/// Most versions that are tried: another job of the client may keep one under the same name.
const TRIES: usize = 4;

/// The outcome of a try.
enum Try {
    Ended(KeepOutcome),
    /// The version was used meanwhile.
    Taken(String),
}

impl Server {
    /// Keeps this server's share of a trained model.
    ///
    /// # Errors
    ///
    /// If the connection to the other server fails.
    pub(super) fn keep<W: Word>(
        &self,
        public: &PublicPart,
        heartbeats: &Heartbeats<'_>,
        share: &[W],
        control: &mut Connection,
    ) -> Result<KeepOutcome, SessionError> {
        let mut outcome = Try::Taken(String::new());
        for _ in 0..TRIES {
            outcome = heartbeats.wait_for(heartbeats.other(), || self.try_keep(public, share, control))?;
            if let Try::Ended(_) = outcome {
                break;
            }
        }
        Ok(match outcome {
            Try::Ended(outcome) => outcome,
            Try::Taken(reason) => Err(reason),
        })
    }

    /// Agrees with the other server on a version and keeps it.
    fn try_keep<W: Word>(
        &self,
        public: &PublicPart,
        share: &[W],
        control: &mut Connection,
    ) -> Result<Try, SessionError> {
        let named = |error: ModelStoreError| format!("{}: {error}", self.config.role);
        let (client, name, digest) = (&public.client, &public.name, public.digest());
        let own = self.models.next_version(client, name).and_then(|next| {
            let held = self.models.version_of(client, name, &digest)?;
            Ok(KeepProposal { digest, next, held })
        });
        let own = own.map_err(named);
        let theirs: Result<KeepProposal, String> = self.exchange(control, &own, MAX_MESSAGE_BYTES)?;
        let held = own.as_ref().ok().and_then(|own| own.held);
        let version = match own.and_then(|own| agree(own, theirs?)) {
            Ok(version) => version,
            Err(reason) => return Ok(Try::Ended(Err(reason))),
        };
        let kept = match held {
            Some(held) if held == version => Ok(()),
            _ => self.models.keep(public, version, share),
        };
        let taken = matches!(kept, Err(ModelStoreError::Taken(_)));
        let kept: KeepOutcome = kept.map_err(named).map(|()| version);
        control.set_idle_timeout(writing_timeout(self.peer_timeout(), W::bytes(share).len()));
        let (other_taken, theirs): (bool, KeepOutcome) = self.exchange(control, &(taken, &kept), MAX_MESSAGE_BYTES)?;
        control.set_idle_timeout(self.peer_timeout());
        let outcome = match (kept, theirs) {
            (Ok(version), Err(reason)) => {
                // One share alone is useless. The version number stays used.
                let model = ModelVersion { name: public.name.clone(), version };
                match self.models.delete(&model, &digest, client) {
                    Ok(()) => Err(reason),
                    Err(error) => Err(format!("{reason}; {}", named(error))),
                }
            }
            (kept, _) => kept,
        };
        Ok(match outcome {
            Err(reason) if taken || other_taken => Try::Taken(reason),
            outcome => Try::Ended(outcome),
        })
    }
}

/// Returns the version that both servers keep.
fn agree(own: KeepProposal, theirs: KeepProposal) -> KeepOutcome {
    let differs =
        "model-differs: the servers would keep different public parts; compare their authorities and versions";
    match (own.held, theirs.held) {
        _ if own.digest != theirs.digest => Err(differs.to_owned()),
        (Some(a), Some(b)) if a != b => Err(differs.to_owned()),
        (Some(held), _) | (_, Some(held)) => Ok(held),
        (None, None) => Ok(own.next.max(theirs.next)),
    }
}
