//! A client's questions about reports, and a server's answers.

use super::{
    SessionError,
    message::{Ask, PeerHello},
};
use crate::{
    intake::{
        Intake, IntakeError,
        devices::DeviceReports,
        manifest::Manifest,
        wire::{MAX_REPLY_BYTES, Reply, Request, Wanted},
    },
    net::{ClientTls, Config, Connection, Role, connect},
};
use std::time::Duration;

/// The longest that a server walks through its records without a word.
pub(super) const PATIENCE: Duration = Duration::from_secs(3600);

/// What became of each device's reports at `server`.
///
/// # Errors
///
/// If the server cannot be reached, or takes no reports.
pub fn devices(config: &Config, tls: &ClientTls, server: Role) -> Result<DeviceReports, SessionError> {
    match ask(config, tls, server, Request::Devices)? {
        Reply::Devices(devices) => Ok(devices),
        other => Err(unasked(server, other)),
    }
}

/// Id and name of each device that `server` knows; no record is looked at.
///
/// # Errors
///
/// If the server cannot be reached, or takes no reports.
pub fn names(config: &Config, tls: &ClientTls, server: Role) -> Result<Vec<(u64, String)>, SessionError> {
    match ask(config, tls, server, Request::Names)? {
        Reply::Names(names) => Ok(names),
        other => Err(unasked(server, other)),
    }
}

/// Has the servers make a manifest of all that both hold of what is wanted.
///
/// # Errors
///
/// If they cannot, in their words; if they do not tell the same.
pub fn freeze(config: &Config, tls: &ClientTls, wanted: Wanted) -> Result<Manifest, SessionError> {
    let made = match ask(config, tls, Role::Server1, Request::Freeze(wanted))? {
        Reply::Manifest(manifest) => manifest,
        other => return Err(unasked(Role::Server1, other)),
    };
    // Server 0 stored it first; asking costs little, and finds a deployment whose servers are mixed up.
    let other = fetch(config, tls, Role::Server0, made.digest())?;
    if other == made { Ok(made) } else { Err(SessionError::Manifests) }
}

/// The manifest of this digest, as both servers have it.
///
/// # Errors
///
/// If one does not know it.
pub fn manifest(config: &Config, tls: &ClientTls, digest: [u8; 32]) -> Result<Manifest, SessionError> {
    fetch(config, tls, Role::Server0, digest)?;
    fetch(config, tls, Role::Server1, digest)
}

fn fetch(config: &Config, tls: &ClientTls, server: Role, digest: [u8; 32]) -> Result<Manifest, SessionError> {
    match ask(config, tls, server, Request::Manifest(digest))? {
        Reply::Manifest(manifest) if manifest.digest() == digest => Ok(manifest),
        other => Err(unasked(server, other)),
    }
}

fn ask(config: &Config, tls: &ClientTls, server: Role, request: Request) -> Result<Reply, SessionError> {
    let address = config.peer(server)?;
    let mut connection = connect(address, tls, server, &config.timeouts)?;
    connection.set_idle_timeout(PATIENCE);
    connection.send(&Ask::Reports(request))?;
    let reply = connection.recv(MAX_REPLY_BYTES)?;
    // The answer is here; a goodbye that is lost takes nothing from it.
    let _ = connection.close();
    Ok(reply)
}

/// A server's no, or what does not answer the question.
fn unasked(server: Role, reply: Reply) -> SessionError {
    match reply {
        Reply::No(reason) => SessionError::Refused { by: server, reason },
        _ => SessionError::Unexpected { from: server, wanted: "the answer to a question about reports" },
    }
}

/// Answers a client; `reach` connects server 1 to server 0.
pub(super) fn answer(
    intake: Option<&Intake>,
    role: Role,
    request: Request,
    client: &mut Connection,
    reach: impl FnOnce() -> Result<Connection, SessionError>,
) -> Result<(), SessionError> {
    let replied = match intake {
        None => Err(SessionError::Shelf(crate::data::ShelfError::None)),
        Some(intake) => reply(intake, role, request, reach),
    };
    match replied {
        Ok(reply) => Ok(client.send(&reply)?),
        Err(error) => {
            client.send(&Reply::No(error.to_string()))?;
            Err(error)
        }
    }
}

fn reply(
    intake: &Intake,
    role: Role,
    request: Request,
    reach: impl FnOnce() -> Result<Connection, SessionError>,
) -> Result<Reply, SessionError> {
    match request {
        Request::Devices => Ok(Reply::Devices(intake.devices()?)),
        Request::Names => Ok(Reply::Names(intake.names())),
        Request::Manifest(digest) => Ok(Reply::Manifest(intake.manifest(&digest)?)),
        Request::Freeze(_) if role != Role::Server1 => Err(SessionError::NotServer1 { asked: role }),
        Request::Freeze(wanted) => {
            let mut server0 = reach()?;
            server0.set_idle_timeout(PATIENCE);
            server0.send(&PeerHello::Manifest)?;
            let manifest = intake.freeze(&mut server0, &wanted)?;
            let _ = server0.close(); // it has nothing to add
            Ok(Reply::Manifest(manifest))
        }
    }
}

/// At server 0: agrees with server 1.
pub(super) fn agree(intake: Option<&Intake>, server1: &mut Connection) -> Result<(), SessionError> {
    server1.set_idle_timeout(PATIENCE); // it walks before it proposes
    match intake {
        Some(intake) => Ok(intake.agree(server1)?),
        None => Ok(crate::intake::manifest::refuse(server1, &crate::data::ShelfError::None)?),
    }
}

impl From<IntakeError> for SessionError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Net(error) => Self::Net(error),
            error => Self::Intake(Box::new(error)),
        }
    }
}
