//! A client's request for its releases, and a server's answer.

use super::{SessionError, message::Ask, reports::PATIENCE};
use crate::{
    intake::{manifest::Manifest, validity::UnixSeconds},
    net::{ClientTls, Config, Connection, Policy, Role, connect},
    release::ledger::{Entry, Ledger, LedgerError, Spent},
};
use serde::{Deserialize, Serialize};

/// Most entries that a server lists.
const MOST_LISTED: usize = 256;
/// Most bytes of an encoded answer.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// The outputs that a server released to a client, and the state of the client's budgets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Releases {
    /// The client's newest jobs, the last first.
    pub entries: Vec<Entry>,
    /// The amounts that the client has spent.
    pub spent: Spent,
    /// The budgets: jobs a day, outputs a manifest, `ε` in thousandths.
    pub limits: (u64, u64, Option<u32>),
}

/// Asks `server` for the outputs released to this client, and for those about `manifest` to all
/// clients.
///
/// # Errors
///
/// If the server cannot be reached or cannot read its ledger.
pub fn releases(
    config: &Config,
    tls: &ClientTls,
    server: Role,
    manifest: Option<[u8; 32]>,
) -> Result<Releases, SessionError> {
    let mut connection = connect(config.peer(server)?, tls, server, &config.timeouts)?;
    connection.set_idle_timeout(PATIENCE);
    connection.send(&Ask::Releases { manifest })?;
    let reply: Result<Releases, String> = connection.recv(MAX_ANSWER_BYTES)?;
    let _ = connection.close(); // the answer is here
    reply.map_err(|reason| SessionError::Failed { at: server, reason })
}

/// Answers a client's request.
pub(super) fn answer(
    ledger: &Ledger,
    policy: &Policy,
    manifest: Option<([u8; 32], Option<Manifest>)>,
    client: &mut Connection,
) -> Result<(), SessionError> {
    let serial = client.serial().to_owned();
    let read = || {
        let entries = ledger.entries(Some(&serial), MOST_LISTED)?;
        let (digest, manifest) = manifest.unwrap_or_default();
        let schema = manifest.map_or([0; 32], |manifest| manifest.schema);
        let spent = ledger.spent(&serial, [&digest, &schema], UnixSeconds::now())?;
        Ok(Releases {
            entries,
            spent,
            limits: (policy.jobs_per_day, policy.outputs_per_manifest, policy.epsilon_milli),
        })
    };
    let answer = read().map_err(LedgerError::Store);
    client.send(&answer.as_ref().map_err(ToString::to_string))?;
    answer.map(drop).map_err(SessionError::from)
}
