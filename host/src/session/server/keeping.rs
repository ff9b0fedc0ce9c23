//! Keeps a trained model once both servers agree on its public part and version.
//!
//! Each server sends the digest of its public part and the lowest unused version. Both servers keep
//! their shares under the higher version, and report success or failure to each other. A job whose
//! model is not kept still releases its outputs.

use super::{Server, Session};
use crate::{
    model_store::{ModelOrigin, ModelStoreError, ModelVersion, PublicPart},
    net::{Connection, Role},
    session::{
        SessionError,
        heartbeat::Heart,
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
    /// Keeps this server's share of the trained model, if the client wants that.
    ///
    /// # Errors
    ///
    /// If the connection to the other server fails.
    pub(super) fn keep<W: Word>(
        &self,
        session: &Session<'_>,
        heart: &Heart<'_>,
        (epochs, share): (u32, &[W]),
        peers: &mut [Connection],
    ) -> Result<Option<KeepOutcome>, SessionError> {
        let (Some(keep), Some(peer)) = (&session.keep, peers.first_mut()) else { return Ok(None) };
        let public = PublicPart {
            name: keep.name.clone(),
            job: session.encoded.clone(),
            job_hash: session.job.hash().map_err(SessionError::job(Role::Client))?,
            origin: ModelOrigin::Trained { session: session.id, plan_hash: session.plan.hash, epochs },
            client: session.client.clone(),
            deployment: self.tls.deployment(),
        };
        let mut outcome = Try::Taken(String::new());
        for _ in 0..TRIES {
            outcome = heart.wait_for(heart.other(), || self.try_keep(&public, share, peer))?;
            if let Try::Ended(_) = outcome {
                break;
            }
        }
        Ok(Some(match outcome {
            Try::Ended(outcome) => outcome,
            Try::Taken(reason) => Err(reason),
        }))
    }

    /// Agrees with the other server on a version and keeps it.
    fn try_keep<W: Word>(&self, public: &PublicPart, share: &[W], peer: &mut Connection) -> Result<Try, SessionError> {
        let named = |error: ModelStoreError| format!("{}: {error}", self.config.role);
        let own = self.models.next_version(&public.client, &public.name).map_err(named);
        let own = own.map(|next| KeepProposal { digest: public.digest(), next });
        let theirs: Result<KeepProposal, String> = self.exchange(peer, &own, MAX_MESSAGE_BYTES)?;
        let version = match own.and_then(|own| agree(own, theirs?)) {
            Ok(version) => version,
            Err(reason) => return Ok(Try::Ended(Err(reason))),
        };
        let kept = self.models.keep(public, version, share);
        let taken = matches!(kept, Err(ModelStoreError::Taken(_)));
        let kept: KeepOutcome = kept.map_err(named).map(|()| version);
        peer.set_idle_timeout(writing_timeout(self.config.timeouts.idle, W::bytes(share).len()));
        let (other_taken, theirs): (bool, KeepOutcome) = self.exchange(peer, &(taken, &kept), MAX_MESSAGE_BYTES)?;
        peer.set_idle_timeout(self.config.timeouts.idle);
        let outcome = match (kept, theirs) {
            (Ok(version), Err(reason)) => {
                // One share alone is useless. The version number stays used.
                let model = ModelVersion { name: public.name.clone(), version };
                match self.models.delete(&model, &public.digest(), &public.client) {
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
    match own.digest == theirs.digest {
        true => Ok(own.next.max(theirs.next)),
        false => Err("model-differs: the servers would keep different public parts; compare their authorities and \
                      versions"
            .to_owned()),
    }
}
