//! The common part of dealer and auditor: it pairs both servers of a session, and answers them
//! until the session ends.
//!
//! Server 0's connection runs the session, on its own thread. While its lanes run, a session holds
//! a place, within the role's limits.

use super::{
    STACK_BYTES, SessionError, SessionId,
    attend::{Attended, Expected, Replies, attended},
    heartbeat::LONG_WAIT,
    message::{DealerHello, Join, MAX_MESSAGE_BYTES, No, Paired, Work},
    prg,
    rendezvous::Rendezvous,
    server::Notice,
};
use crate::{
    engine::{
        memory::CONNECTION_BYTES,
        plan::{hex, plan_from, serving_plan},
    },
    job::Job,
    net::{Config, Connection, Limits, Refusal, Role},
    train::{self, Position},
};
use serde::Serialize;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use symbolon_core::{
    prg::{Prg, Seed, session_seed},
    wipe::wipe_stack,
};

/// Pairs the servers of sessions.
pub(super) struct Pairing {
    limits: Limits,
    idle: Duration,
    servers: Rendezvous<Role, Join>,
    /// Sessions whose lanes run, and whether they are of predictions. Each holds a place; no two
    /// have the same number.
    running: Mutex<HashMap<SessionId, bool>>,
    /// Called once for each long wait of a session, with the missing role.
    pub(super) waiting: fn(Role),
    /// Called when a job begins and when it ends.
    pub(super) tell: Box<dyn Fn(Notice<'_>) + Send + Sync>,
}

/// A session that both servers have joined with the same plan.
pub(super) struct Session<'a> {
    pub(super) id: SessionId,
    pub(super) job: Job,
    pub(super) work: Work,
    /// Batches of a lane, of predictions.
    pub(super) most_batches: u32,
    /// Bytes dealt to each lane of predictions, at the beginning and for a batch.
    pub(super) blocks: Vec<[u64; 2]>,
    hash: [u8; 32],
    /// Both servers' streams.
    pub(super) prgs: [Box<dyn Prg>; 2],
    _place: Place<'a>,
}

/// Most sessions of predictions at a time.
const MOST_SERVED: usize = 16;

/// The parts of a plan that its dealer needs.
struct Planned {
    hash: [u8; 32],
    deal_bytes: u64,
    most_batches: u32,
    blocks: Vec<[u64; 2]>,
}

impl Planned {
    fn new(job: &Job, work: &Work) -> Result<Self, SessionError> {
        match work {
            Work::Train(position) => {
                let plan = plan_from(job, *position)?;
                Ok(Self { hash: plan.hash, deal_bytes: plan.deal_bytes, most_batches: 0, blocks: Vec::new() })
            }
            Work::Serve(serving) => {
                serving.check(job)?;
                let plan = serving_plan(job, serving)?;
                let blocks = plan.setup_dealt.iter().zip(&plan.batches);
                Ok(Self {
                    hash: plan.hash,
                    deal_bytes: plan.deal_bytes,
                    most_batches: plan.most_batches,
                    blocks: blocks.map(|(setup, batch)| [*setup, batch.dealer_bytes]).collect(),
                })
            }
        }
    }
}

impl Session<'_> {
    /// The position from which training goes on.
    pub(super) fn position(&self) -> Position {
        match self.work {
            Work::Train(position) => position,
            Work::Serve(_) => Position::START,
        }
    }
}

impl Pairing {
    /// Makes the pairing of the role that `config` describes.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            limits: config.policy.limits,
            idle: config.timeouts.idle,
            servers: Rendezvous::new(config.timeouts.connect),
            running: Mutex::default(),
            waiting: |_| {},
            tell: Box::new(|_| {}),
        }
    }

    /// Logs a long wait for `peer` once; `said` notes that.
    pub(super) fn say(&self, waited: Duration, said: &mut bool, peer: Role) {
        if waited >= LONG_WAIT && !std::mem::replace(said, true) {
            (self.waiting)(peer);
        }
    }

    /// Receives a server's first message, which may carry a seed.
    pub(super) fn receive(connection: &mut Connection) -> Result<DealerHello, SessionError> {
        #[inline(never)]
        fn receive(connection: &mut Connection) -> Result<DealerHello, SessionError> {
            Ok(connection.recv(MAX_MESSAGE_BYTES)?)
        }
        let hello = receive(connection);
        wipe_stack::<STACK_BYTES>();
        hello
    }

    /// Joins a server to its session. On server 0's thread, `work` runs the session's lanes. The
    /// servers receive its replies when they ask for them: as many as `expected` says.
    ///
    /// # Errors
    ///
    /// The error that ended the session; the servers have received it too.
    pub(super) fn join<T: Serialize + Send>(
        &self,
        role: Role,
        connection: Connection,
        join: Join,
        expected: impl FnOnce(&Job, Position) -> Expected,
        work: impl FnOnce(Session<'_>, &Attended, &Replies<T>) -> Result<(), SessionError>,
    ) -> Result<(), SessionError> {
        if role == Role::Server1 {
            let mut said = false;
            let mut waits = |waited| self.say(waited, &mut said, Role::Server0);
            let offered = self.servers.offer(join.session, role, (connection, join), Role::Server0, &mut waits);
            return offered.map_err(|(error, connection)| refuse(error, [connection]));
        }
        let (mut servers, joined) = self.pair(connection, join)?;
        let session = match self.begin(joined, &mut servers) {
            Ok(session) => session,
            Err(error) => return Err(refuse(error, servers)),
        };
        let started = Instant::now();
        let job = session.job.clone();
        let position = session.position();
        let serves = matches!(session.work, Work::Serve(_));
        (self.tell)(match serves {
            false => Notice::Begun { job: &job, number: None, hash: session.hash, position },
            true => Notice::Serves { job: &job },
        });
        let expected = expected(&job, position);
        let work = |attended: &Attended, replies: &Replies<T>| work(session, attended, replies);
        let result = attended(servers, (&job, position, expected), self.idle, work);
        if serves {
            // It ends as the servers leave.
            (self.tell)(Notice::Served { job: &job, took: started.elapsed() });
            return result.or_else(|error| if error.is_passing() { Ok(()) } else { Err(error) });
        }
        (self.tell)(Notice::Ended { job: &job, number: None, took: started.elapsed(), well: result.is_ok() });
        result
    }

    /// Waits for server 1 as long as server 0 stays connected.
    fn pair(&self, server0: Connection, join: Join) -> Result<([Connection; 2], [Join; 2]), SessionError> {
        let mut said = false;
        let mut go_on = |waited| {
            self.say(waited, &mut said, Role::Server1);
            Ok(server0.check_peer()?)
        };
        match self.servers.fetch(join.session, Role::Server1, Role::Server1, &mut go_on) {
            Ok((server1, join1)) => Ok(([server0, server1], [join, join1])),
            Err(error) => Err(refuse(error, [server0])),
        }
    }

    /// Checks that both servers have joined with the job's plan as it is computed here. Then sends
    /// both nonces to the servers and derives their streams.
    fn begin(&self, joined: [Join; 2], servers: &mut [Connection; 2]) -> Result<Session<'_>, SessionError> {
        let id = joined[0].session;
        let job = Job::decode(&joined[0].job).map_err(SessionError::job(Role::Server0))?;
        let hash = job.hash().map_err(SessionError::job(Role::Server0))?;
        let place = self.place(id, matches!(joined[0].work, Work::Serve(_)))?;
        let lanes = joined[0].work.lanes(&job);
        self.limits.check_memory(memory_bytes(&job, lanes, 0)).map_err(SessionError::Policy)?;
        let work = joined[0].work.clone();
        let Planned { hash: plan_hash, deal_bytes, most_batches, blocks } = Planned::new(&job, &work)?;
        self.limits.check_memory(memory_bytes(&job, lanes, deal_bytes)).map_err(SessionError::Policy)?;
        for (peer, joined) in [Role::Server0, Role::Server1].into_iter().zip(&joined) {
            if joined.plan_hash != plan_hash {
                return Err(SessionError::Plan { peer, ours: hex(&plan_hash), theirs: hex(&joined.plan_hash) });
            }
        }
        let nonces = joined.each_ref().map(|join| join.nonce);
        for server in servers {
            server.send(&Paired::Ok(nonces))?;
        }
        let prgs = streams(&joined, &job);
        wipe_stack::<STACK_BYTES>(); // the servers' seeds
        Ok(Session { id, job, work, most_batches, blocks, hash, prgs, _place: place })
    }

    /// Takes a place for session `id`. Sessions of predictions have places of their own.
    fn place(&self, id: SessionId, serves: bool) -> Result<Place<'_>, SessionError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let most = if serves { MOST_SERVED } else { self.limits.places };
        if running.contains_key(&id) {
            return Err(SessionError::Repeated);
        }
        if running.values().filter(|own| **own == serves).count() >= most {
            return Err(SessionError::Policy(Refusal::Places { most }));
        }
        running.insert(id, serves);
        Ok(Place { running: &self.running, id })
    }
}

/// Derives both servers' streams from the seeds that the servers drew.
#[inline(never)] // the caller wipes the stack below its own frame
fn streams(joined: &[Join; 2], job: &Job) -> [Box<dyn Prg>; 2] {
    let nonces = [&joined[0].nonce, &joined[1].nonce];
    let stream = |number: u8| {
        let Join { session, plan_hash, seed, .. } = &joined[usize::from(number)];
        let seed = session_seed(&Seed::from_bytes(seed), nonces, session, plan_hash, number);
        prg(job.numbers.prg, &seed, session)
    };
    [stream(0), stream(1)]
}

/// Sends the servers the reason why their session does not begin, and returns it.
fn refuse<const N: usize>(error: SessionError, servers: [Connection; N]) -> SessionError {
    for mut server in servers {
        // The send to a lost server fails.
        let _ = server.send(&Paired::Err(No::new(&error)));
        let _ = server.close();
    }
    error
}

/// A running session's place; free again when dropped.
struct Place<'a> {
    running: &'a Mutex<HashMap<SessionId, bool>>,
    id: SessionId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Returns the memory that a job takes at this role:
/// - two epochs' orders of records, which the lanes share;
/// - each lane's buffer of `deal_bytes`, and its tiles;
/// - the buffers of connections: to both servers, and one a lane.
fn memory_bytes(job: &Job, lanes: u16, deal_bytes: u64) -> u64 {
    let (orders, lanes) = (2 * size_of::<u32>() * job.data.train_records, u64::from(lanes));
    lanes
        .saturating_mul(deal_bytes.saturating_add(train::dry_bytes(job) + CONNECTION_BYTES))
        .saturating_add(orders as u64 + 2 * CONNECTION_BYTES)
}
