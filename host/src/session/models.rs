//! A client's requests about kept models, and a server's answers.
//!
//! `publish` and `export` first compare both servers' public parts. A request that changes a model
//! changes it at server 0 and afterwards at server 1; a repetition completes an interrupted one.
//! `retire` and `delete` also go on where only one server has the model, or where the public parts
//! differ.

use super::{
    STACK_BYTES, SessionError, SessionId,
    message::{Answer, Ask, Data, MAX_MESSAGE_BYTES, ModelsRequest, No},
    prg, random_bytes, random_seed,
    server::{piece_words, table_stream},
};
use crate::{
    job::{Invalid, Job, JobError, Rule, check_name},
    kernel::HostWord,
    model_store::{
        ListedModel, ModelEntry, ModelOrigin, ModelState, ModelStore, ModelStoreError, ModelVersion, PublicPart, Terms,
    },
    net::{ClientTls, Config, Connection, Policy, Refusal, Reveal, Role, SLOWEST_BYTES_PER_SECOND, connect},
    secret::Secret,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use symbolon_core::{
    prg::Seed,
    share::{expand, join, split},
    wipe::wipe_stack,
    word::Word,
};
use zeroize::Zeroizing;

/// Most bytes of an encoded list, or of an entry.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Both servers.
const SERVERS: [Role; 2] = [Role::Server0, Role::Server1];

/// Returns the client's models, each as server 0 and as server 1 has it.
///
/// # Errors
///
/// If a server cannot be reached or cannot read its catalogue.
pub fn list(
    config: &Config,
    tls: &ClientTls,
) -> Result<BTreeMap<ModelVersion, [Option<ListedModel>; 2]>, SessionError> {
    let mut both: BTreeMap<ModelVersion, [Option<ListedModel>; 2]> = BTreeMap::new();
    for (i, server) in SERVERS.into_iter().enumerate() {
        let listed: Vec<ListedModel> = request(config, tls, server, ModelsRequest::List)?.0;
        for listed in listed {
            let model = listed.model.clone();
            check_name(&model.name).map_err(SessionError::job(server))?;
            both.entry(model).or_default()[i] = Some(listed);
        }
    }
    Ok(both)
}

/// Returns the entry of `model` at each server; their public parts are equal.
///
/// # Errors
///
/// A server lacks the model or has another public part; a server's refusal.
pub fn show(config: &Config, tls: &ClientTls, model: &ModelVersion) -> Result<[ModelEntry; 2], SessionError> {
    agreed(config, tls, model)?;
    let entry =
        |server| Ok::<ModelEntry, SessionError>(request(config, tls, server, ModelsRequest::Show(model.clone()))?.0);
    let [a, b] = [entry(Role::Server0)?, entry(Role::Server1)?];
    let is_it = a.listed.model == *model && a.public.digest() == a.listed.digest;
    match is_it && a.public == b.public {
        true => Ok([a, b]),
        false => Err(ModelStoreError::Differs(model.clone()).into()),
    }
}

/// Publishes the client's model at both servers; with `terms`, it answers predictions on them.
///
/// # Errors
///
/// A server lacks the model or has another public part; a server's refusal.
pub fn publish(
    config: &Config,
    tls: &ClientTls,
    model: &ModelVersion,
    terms: Option<&Terms>,
) -> Result<(), SessionError> {
    let digest = agreed(config, tls, model)?;
    for server in SERVERS {
        let (model, state) = (model.clone(), ModelState::Published);
        let about = match terms {
            Some(terms) => ModelsRequest::Publish { model, digest, terms: terms.clone() },
            None => ModelsRequest::SetState { model, digest, state },
        };
        let () = request(config, tls, server, about)?.0;
    }
    Ok(())
}

/// Retires the client's model at each server that has published it.
///
/// # Errors
///
/// If no server has it; a server's refusal.
pub fn retire(config: &Config, tls: &ClientTls, model: &ModelVersion) -> Result<(), SessionError> {
    let state = ModelState::Retired;
    let held = held(config, tls, model)?;
    let is_draft = |listed: &Option<ListedModel>| listed.as_ref().is_none_or(|at| at.state == ModelState::Draft);
    let all_drafts = held.iter().all(is_draft);
    // A publication that was cut off has left a draft at one server.
    let held = held.map(|listed| listed.filter(|at| all_drafts || at.state != ModelState::Draft));
    at_each(config, tls, held, |model, digest| ModelsRequest::SetState { model, digest, state })
}

/// Deletes the client's model at each server that has it.
///
/// # Errors
///
/// If no server has it; a server's refusal.
pub fn delete(config: &Config, tls: &ClientTls, model: &ModelVersion) -> Result<(), SessionError> {
    at_each(config, tls, held(config, tls, model)?, |model, digest| ModelsRequest::Delete { model, digest })
}

/// Returns the model as each server has it; at least one does.
fn held(config: &Config, tls: &ClientTls, model: &ModelVersion) -> Result<[Option<ListedModel>; 2], SessionError> {
    list(config, tls)?.remove(model).ok_or_else(|| ModelStoreError::Unknown(model.clone()).into())
}

/// Sends a request about a model to each server that has it, with the digest that it has there.
fn at_each(
    config: &Config,
    tls: &ClientTls,
    held: [Option<ListedModel>; 2],
    about: impl Fn(ModelVersion, [u8; 32]) -> ModelsRequest,
) -> Result<(), SessionError> {
    for (server, listed) in SERVERS.into_iter().zip(held) {
        let Some(listed) = listed else { continue };
        let () = request(config, tls, server, about(listed.model, listed.digest))?.0;
    }
    Ok(())
}

/// Returns the digest of a model's public part, which both servers have.
fn agreed(config: &Config, tls: &ClientTls, model: &ModelVersion) -> Result<[u8; 32], SessionError> {
    match list(config, tls)?.remove(model).unwrap_or_default() {
        [None, None] => Err(ModelStoreError::Unknown(model.clone()).into()),
        [None, _] => Err(SessionError::ModelIncomplete { model: model.clone(), lacks: Role::Server0 }),
        [_, None] => Err(SessionError::ModelIncomplete { model: model.clone(), lacks: Role::Server1 }),
        [Some(a), Some(b)] if a.digest == b.digest => Ok(a.digest),
        [Some(_), Some(_)] => Err(ModelStoreError::Differs(model.clone()).into()),
    }
}

/// Opens the client's model, whose entry [`show`] returned, and whose job is `job`.
///
/// # Errors
///
/// A server's refusal; a share of another length.
pub fn open<W: HostWord + Word>(
    config: &Config,
    tls: &ClientTls,
    (entry, job): (&ModelEntry, &Job),
) -> Result<Vec<W>, SessionError> {
    let (model, digest) = (&entry.listed.model, entry.listed.digest);
    let share = |server| {
        let about = ModelsRequest::Open { model: model.clone(), digest };
        let (count, mut connection): (u64, _) = request(config, tls, server, about)?;
        if count != job.model_words() as u64 {
            return Err(SessionError::Unexpected { from: server, wanted: "a share of the model's length" });
        }
        let mut share = vec![W::default(); job.model_words()];
        connection.set_transfer_limit(config.timeouts.idle, Instant::now(), W::bytes(&share).len() as u64);
        connection.recv_exact(W::bytes_mut(&mut share))?;
        Ok(share)
    };
    let (mut opened, other) = (share(Role::Server0)?, share(Role::Server1)?);
    join(&mut opened, &other);
    Ok(opened)
}

/// Splits `words`, a model of `job`, and sends each server its own share. The servers keep the
/// shares under `name`. Returns name and version.
///
/// # Errors
///
/// A server's refusal. The function then deletes the share that a server has already kept.
pub fn import<W: HostWord + Word>(
    config: &Config,
    tls: &ClientTls,
    (job, name): (&Job, &str),
    words: Vec<W>,
) -> Result<ModelVersion, SessionError> {
    let (mut version, import) = (0, random_bytes()?);
    for server in SERVERS {
        let next: u32 = request(config, tls, server, ModelsRequest::Next { name: name.to_owned() })?.0;
        version = version.max(next);
    }
    let model = ModelVersion { name: name.to_owned(), version };
    let sent = send_shares(config, tls, (job, &model, import), Secret::from(words));
    wipe_stack::<STACK_BYTES>(); // the seed of server 0's share
    if let Err(error) = sent {
        take_back(config, tls, &model, import);
        return Err(error);
    }
    Ok(model)
}

/// Deletes what this import left at the servers, and nothing of another one.
fn take_back(config: &Config, tls: &ClientTls, model: &ModelVersion, import: SessionId) {
    for server in SERVERS {
        let entry: Result<(ModelEntry, _), _> = request(config, tls, server, ModelsRequest::Show(model.clone()));
        let Ok((ModelEntry { listed, public }, _)) = entry else { continue };
        if public.origin == (ModelOrigin::Imported { import }) {
            let about = ModelsRequest::Delete { model: model.clone(), digest: listed.digest };
            let _: Result<((), _), _> = request(config, tls, server, about); // the error before matters more
        }
    }
}

#[inline(never)] // the caller wipes the stack below its own frame
fn send_shares<W: HostWord + Word>(
    config: &Config,
    tls: &ClientTls,
    (job, model, import): (&Job, &ModelVersion, SessionId),
    mut words: Secret<W>,
) -> Result<(), SessionError> {
    let seed = random_seed()?;
    split(&*prg(job.numbers.prg, &seed, &import), table_stream(0), 0, &mut words);
    let encoded = job.encode().map_err(|_| SessionError::Encoding)?;
    for server in SERVERS {
        let about = ModelsRequest::Import { model: model.clone(), import, job: encoded.clone() };
        let ((), mut connection) = request(config, tls, server, about)?;
        if server == Role::Server0 {
            connection.send(&Data::Seed(Zeroizing::new(*seed.expose())))?;
        } else {
            connection.send(&Data::Words)?;
            connection.send_bytes(W::bytes(&words))?;
        }
        connection.set_idle_timeout(writing_timeout(config.timeouts.idle, W::bytes(&words).len()));
        let kept: Answer = connection.recv(MAX_MESSAGE_BYTES)?;
        kept.map_err(|no| no.from(server))?;
    }
    Ok(())
}

/// Returns the time-out of a wait while a peer writes `bytes` bytes to its disk.
pub(super) fn writing_timeout(idle: Duration, bytes: usize) -> Duration {
    idle.saturating_add(Duration::from_secs((bytes as u64).div_ceil(SLOWEST_BYTES_PER_SECOND)))
}

/// Sends a request to `server`; returns the answer and the connection, on which words may follow.
fn request<T: DeserializeOwned>(
    config: &Config,
    tls: &ClientTls,
    server: Role,
    about: ModelsRequest,
) -> Result<(T, Connection), SessionError> {
    let mut connection = connect(config.peer(server)?, tls, server, &config.timeouts)?;
    connection.send(&Ask::Models(about))?;
    let answer: Result<T, No> = connection.recv(MAX_ANSWER_BYTES)?;
    Ok((answer.map_err(|no| no.from(server))?, connection))
}

impl ModelsRequest {
    /// Returns whether a share leaves or enters the server.
    pub(super) fn moves_share(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Import { .. })
    }

    /// Returns what the request does to which model, if it changes or opens one.
    pub(super) fn change(&self) -> Option<(&'static str, ModelVersion)> {
        match self {
            Self::List | Self::Show(_) | Self::Next { .. } => None,
            Self::SetState { model, state, .. } => Some((state.name(), model.clone())),
            Self::Publish { model, .. } => Some(("published for predictions", model.clone())),
            Self::Delete { model, .. } => Some(("deleted", model.clone())),
            Self::Open { model, .. } => Some(("exported", model.clone())),
            Self::Import { model, .. } => Some(("imported", model.clone())),
        }
    }

    /// Returns the name that the request is about, if it is about one.
    fn name(&self) -> Option<&str> {
        match self {
            Self::List => None,
            Self::Next { name } => Some(name),
            Self::Show(model)
            | Self::SetState { model, .. }
            | Self::Publish { model, .. }
            | Self::Delete { model, .. }
            | Self::Open { model, .. }
            | Self::Import { model, .. } => Some(&model.name),
        }
    }
}

/// Answers a client's request.
pub(super) fn answer(
    store: &ModelStore,
    config: &Config,
    request: ModelsRequest,
    client: &mut Connection,
) -> Result<(), SessionError> {
    let serial = client.serial().to_owned();
    if let Some(Err(error)) = request.name().map(check_name) {
        return reply::<()>(client, Err(SessionError::job(Role::Client)(error)));
    }
    match request {
        ModelsRequest::List => reply(client, store.list(&serial)),
        ModelsRequest::Show(model) => reply(client, store.show(&model, &serial)),
        ModelsRequest::SetState { model, digest, state } => {
            reply(client, store.set_state(&model, &digest, &serial, state))
        }
        ModelsRequest::Publish { model, digest, terms } => {
            reply(client, store.publish(&model, &digest, &serial, &terms))
        }
        ModelsRequest::Delete { model, digest } => reply(client, store.delete(&model, &digest, &serial)),
        ModelsRequest::Next { name } => reply(client, store.next_version(&serial, &name)),
        ModelsRequest::Open { model, digest } => match openable(store, &config.policy, &model, &serial) {
            Ok(32) => send_share::<u32>(store, config, (&model, &digest), client),
            Ok(_) => send_share::<u64>(store, config, (&model, &digest), client),
            Err(error) => reply::<u64>(client, Err(error)),
        },
        ModelsRequest::Import { model, import, job } => {
            let imported = keep_import(store, config, (model, import, job), client);
            reply(client, imported)
        }
    }
}

fn reply<T: Serialize>(
    client: &mut Connection,
    answer: Result<T, impl Into<SessionError>>,
) -> Result<(), SessionError> {
    let answer = answer.map_err(Into::into);
    let sent = client.send(&answer.as_ref().map_err(No::new));
    answer?; // this error matters more
    Ok(sent?)
}

/// Returns the ring bits of a model whose outputs the policy permits now.
fn openable(store: &ModelStore, policy: &Policy, model: &ModelVersion, client: &str) -> Result<u32, SessionError> {
    let job = store.show(model, client)?.public.job().map_err(|_| ModelStoreError::Version(model.clone()))?;
    let standard_errors = job.reveal.standard_errors.then_some(Reveal::StandardErrors);
    match [Reveal::Model].into_iter().chain(standard_errors).find(|reveal| !policy.reveals.contains(reveal)) {
        Some(reveal) => Err(SessionError::Policy(Refusal::Reveal(reveal))),
        None => Ok(job.numbers.ring_bits),
    }
}

fn send_share<W: HostWord + Word>(
    store: &ModelStore,
    config: &Config,
    (model, digest): (&ModelVersion, &[u8; 32]),
    client: &mut Connection,
) -> Result<(), SessionError> {
    let share = match store.open_share::<W>(model, digest, client.serial()) {
        Ok(share) => share,
        Err(error) => return reply::<u64>(client, Err(error)),
    };
    reply(client, Ok::<_, SessionError>(share.len() as u64))?;
    let (since, mut bytes) = (Instant::now(), 0);
    for piece in share.chunks(piece_words::<W>()) {
        bytes += W::bytes(piece).len() as u64;
        client.set_transfer_limit(config.timeouts.idle, since, bytes);
        client.send_bytes(W::bytes(piece))?;
    }
    Ok(())
}

/// Receives a client's own model and keeps it.
fn keep_import(
    store: &ModelStore,
    config: &Config,
    (model, import, encoded): (ModelVersion, SessionId, Vec<u8>),
    client: &mut Connection,
) -> Result<(), SessionError> {
    let job = Job::decode(&encoded).map_err(SessionError::job(Role::Client))?;
    if job.data.is_stored() {
        // A model that devices ask was trained here, on a job that its operators have listed.
        let invalid = Invalid { key: "data.reports".to_owned(), rule: Rule::UnusedBy { by: "an import" } };
        return Err(SessionError::job(Role::Client)(JobError::Sent(invalid)));
    }
    config.policy.limits.check_memory(job.model_bytes()).map_err(SessionError::Policy)?;
    store.check_room(client.serial(), &model.name, job.model_bytes() + encoded.len() as u64)?;
    let public = PublicPart {
        name: model.name,
        job_hash: job.hash().map_err(SessionError::job(Role::Client))?,
        job: encoded,
        origin: ModelOrigin::Imported { import },
        client: client.serial().to_owned(),
        deployment: store.deployment(),
    };
    client.send(&Answer::Ok(()))?;
    let idle = config.timeouts.idle;
    match job.numbers.ring_bits {
        32 => store.keep(&public, model.version, &receive_share::<u32>(store, (&job, &import), idle, client)?)?,
        _ => store.keep(&public, model.version, &receive_share::<u64>(store, (&job, &import), idle, client)?)?,
    }
    Ok(())
}

/// Receives this server's share of an imported model.
fn receive_share<W: HostWord + Word>(
    store: &ModelStore,
    (job, import): (&Job, &SessionId),
    idle: Duration,
    client: &mut Connection,
) -> Result<Secret<W>, SessionError> {
    let mut share = Secret::zeros(job.model_words());
    let received = match store.server() {
        0 => expand_share(job, import, idle, client, &mut share),
        _ => receive_words(idle, client, &mut share),
    };
    wipe_stack::<STACK_BYTES>(); // the seed
    received.map(|()| share)
}

/// Expands server 0's share from its seed.
#[inline(never)] // the caller wipes the stack below its own frame
fn expand_share<W: Word>(
    job: &Job,
    import: &SessionId,
    idle: Duration,
    client: &mut Connection,
    share: &mut [W],
) -> Result<(), SessionError> {
    client.set_transfer_limit(idle, Instant::now(), 0);
    let Data::Seed(seed) = client.recv::<Data>(MAX_MESSAGE_BYTES)? else { return Err(unexpected()) };
    let stream = prg(job.numbers.prg, &Seed::from_bytes(&seed), import);
    expand(&*stream, table_stream(0), 0, share);
    Ok(())
}

/// Receives server 1's words, with a deadline that grows with those that have arrived.
fn receive_words<W: HostWord + Word>(
    idle: Duration,
    client: &mut Connection,
    share: &mut [W],
) -> Result<(), SessionError> {
    let (since, mut bytes) = (Instant::now(), 0);
    client.set_transfer_limit(idle, since, bytes);
    let Data::Words = client.recv::<Data>(MAX_MESSAGE_BYTES)? else { return Err(unexpected()) };
    for piece in share.chunks_mut(piece_words::<W>()) {
        bytes += W::bytes(piece).len() as u64;
        client.set_transfer_limit(idle, since, bytes);
        client.recv_exact(W::bytes_mut(piece))?;
    }
    Ok(())
}

fn unexpected() -> SessionError {
    SessionError::Unexpected { from: Role::Client, wanted: "this server's share of the model" }
}
