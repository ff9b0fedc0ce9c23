//! The dealer of a session: it sees a job and nothing of its data.

use super::{
    STACK_BYTES, SessionError, SessionId,
    heartbeat::LONG_WAIT,
    message::{DealerHello, Dealt, MAX_MESSAGE_BYTES, No, Seeded},
    prg, random_seed,
    rendezvous::Rendezvous,
};
use crate::{
    engine::{
        dealer::Dealing,
        plan::{ENDLESS, hex, plan},
        secure::Fault,
    },
    job::Job,
    kernel::{HostWord, best},
    lanes::{Lane, Lanes},
    net::{AbortHandle, Connection, Refusal, Role, Timeouts},
    report::peak_rss,
    secret::Secret,
    train,
};
use std::{
    collections::HashSet,
    ops::ControlFlow,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use symbolon_core::{
    correlation::Dry,
    kernel::Nothing,
    link::Count,
    party::NoTrace,
    prg::{Prg, Seed, session_seed},
    wipe::wipe_stack,
    word::Word,
};
use zeroize::Zeroizing;

/// Sessions that deal at a time.
const MAX_SESSIONS: usize = 4;

/// What a server said when it joined.
struct Joined {
    job: Vec<u8>,
    plan_hash: [u8; 32],
    nonce: [u8; 32],
}

/// A dealer for any number of sessions, one after the other or side by side.
pub struct Dealer {
    secret: Seed,
    servers: Rendezvous<Role, Joined>,
    lanes: Rendezvous<u16, ()>,
    /// Sessions that ran or run: none runs twice.
    seen: Mutex<HashSet<SessionId>>,
    running: Mutex<usize>,
    /// Is told of the role that a session waits for, once it has waited long.
    waiting: fn(Role),
}

impl Dealer {
    /// A dealer with a fresh secret.
    ///
    /// # Errors
    ///
    /// [`SessionError::Randomness`].
    pub fn new(timeouts: &Timeouts) -> Result<Self, SessionError> {
        Ok(Self {
            secret: random_seed()?,
            servers: Rendezvous::new(timeouts.connect),
            lanes: Rendezvous::new(timeouts.connect),
            seen: Mutex::default(),
            running: Mutex::new(0),
            waiting: |_| {},
        })
    }

    /// The same; `waiting` is called once for each long wait of a session, with the missing role.
    #[must_use]
    pub fn telling_waits(self, waiting: fn(Role)) -> Self {
        Self { waiting, ..self }
    }

    /// Serves one connection of a server: joins it to its session. Server 0's own connection runs the session, on this thread.
    ///
    /// # Errors
    ///
    /// What ended the session, after both servers were told.
    pub fn serve(&self, mut connection: Connection, role: Role) -> Result<(), SessionError> {
        let hello: DealerHello = connection.recv(MAX_MESSAGE_BYTES)?;
        match (hello, role) {
            (DealerHello::Join { session, job, plan_hash, nonce }, Role::Server1) => {
                let joined = Joined { job, plan_hash, nonce };
                let mut said = false;
                let mut waits = |waited| self.say(waited, &mut said, Role::Server0);
                let offered = self.servers.offer(session, role, (connection, joined), Role::Server0, &mut waits);
                offered.map_err(|(error, connection)| tell(error, connection))
            }
            (DealerHello::Lane { session, lane }, Role::Server1) => {
                let offered = self.lanes.offer(session, lane, (connection, ()), Role::Server0, &mut |_| {});
                offered.map_err(|(error, _)| error)
            }
            (DealerHello::Join { session, job, plan_hash, nonce }, Role::Server0) => {
                let result = self.start(session, &mut connection, Joined { job, plan_hash, nonce });
                result.map_err(|error| tell(error, connection))
            }
            _ => Err(SessionError::Unexpected { from: role, wanted: "a server's request to join a session" }),
        }
    }

    /// Pairs server 0 with server 1 and deals.
    fn start(&self, session: SessionId, server0: &mut Connection, joined0: Joined) -> Result<(), SessionError> {
        let mut said = false;
        let mut go_on = |waited| self.go_on(waited, &mut said, &[&*server0]);
        let (mut server1, joined1) = self.servers.fetch(session, Role::Server1, Role::Server1, &mut go_on)?;
        let result = self.admit(session).and_then(|admitted| {
            let dealt = self.deal(session, [server0, &mut server1], [joined0, joined1]);
            drop(admitted);
            dealt
        });
        if let Err(error) = &result {
            // A lost server cannot be told.
            let _ = server1.send(&Seeded::Err(No::new(error)));
            let _ = server1.close();
        }
        result
    }

    /// A place for a session that never ran before.
    fn admit(&self, session: SessionId) -> Result<Admitted<'_>, SessionError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(session);
        if !fresh {
            return Err(SessionError::Repeated);
        }
        if *running >= MAX_SESSIONS {
            return Err(SessionError::Policy(Refusal::Places { most: MAX_SESSIONS }));
        }
        *running += 1;
        Ok(Admitted(&self.running))
    }

    /// Sends each server its seed; returns the streams of both.
    #[inline(never)] // the caller wipes the stack below its own frame
    fn send_seeds(
        &self,
        session: &SessionId,
        [server0, server1]: [&mut Connection; 2],
        joined: &[Joined; 2],
        plan_hash: &[u8; 32],
        kind: crate::job::Prg,
    ) -> Result<[Box<dyn Prg>; 2], SessionError> {
        let nonces = [&joined[0].nonce, &joined[1].nonce];
        let stream = |j, server: &mut Connection| {
            let seed = session_seed(&self.secret, nonces, session, plan_hash, j);
            server.send(&Seeded::Ok(Zeroizing::new(*seed.expose())))?;
            Ok::<_, SessionError>(prg(kind, &seed, session))
        };
        Ok([stream(0, server0)?, stream(1, server1)?])
    }

    /// Reports a long wait for `peer`, once.
    fn say(&self, waited: Duration, said: &mut bool, peer: Role) {
        if waited >= LONG_WAIT && !std::mem::replace(said, true) {
            (self.waiting)(peer);
        }
    }

    /// Checks that a session may go on to wait for server 1: not without the connections that it
    /// has, from which nothing is due.
    fn go_on(&self, waited: Duration, said: &mut bool, connections: &[&Connection]) -> Result<(), SessionError> {
        connections.iter().try_for_each(|connection| connection.check_peer())?;
        self.say(waited, said, Role::Server1);
        Ok(())
    }

    fn deal(&self, session: SessionId, servers: [&mut Connection; 2], joined: [Joined; 2]) -> Result<(), SessionError> {
        let job = Job::decode(&joined[0].job).map_err(SessionError::job(Role::Server0))?;
        let plan = plan(&job)?;
        for (peer, joined) in [(Role::Server0, &joined[0]), (Role::Server1, &joined[1])] {
            if joined.plan_hash != plan.hash {
                return Err(SessionError::Plan { peer, ours: hex(&plan.hash), theirs: hex(&joined.plan_hash) });
            }
        }
        let [server0, server1] = servers;
        let prgs = self.send_seeds(&session, [&mut *server0, &mut *server1], &joined, &plan.hash, job.numbers.prg)?;
        wipe_stack::<STACK_BYTES>();
        let (mut connections, mut said): (Vec<Connection>, _) = (Vec::new(), false);
        for lane in 0..job.lanes.lanes {
            let mut go_on = |waited| {
                let peers: Vec<_> = [&*server0, &*server1].into_iter().chain(&connections).collect();
                self.go_on(waited, &mut said, &peers)
            };
            let (connection, ()) = self.lanes.fetch(session, lane, Role::Server1, &mut go_on)?;
            connections.push(connection);
        }
        let prgs = [&*prgs[0], &*prgs[1]];
        let bytes_sent = match job.numbers.ring_bits {
            32 => deal_lanes::<u32>(&job, prgs, &mut connections),
            _ => deal_lanes::<u64>(&job, prgs, &mut connections),
        }?;
        let dealt = Dealt { bytes_sent, peak_rss_bytes: peak_rss() };
        for connection in [server0, server1] {
            connection.send(&dealt)?;
        }
        connections.into_iter().try_for_each(Connection::close)?;
        Ok(())
    }
}

/// Tells a server why there is nothing for it; gives the error back.
fn tell(error: SessionError, mut server: Connection) -> SessionError {
    // A lost server cannot be told.
    let _ = server.send(&Seeded::Err(No::new(&error)));
    let _ = server.close();
    error
}

/// A running session's place; freed when dropped.
struct Admitted<'a>(&'a Mutex<usize>);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}

/// The job, dry, once a lane, each on a thread; returns the bytes sent.
fn deal_lanes<W: HostWord + Word>(
    job: &Job,
    prgs: [&dyn Prg; 2],
    connections: &mut [Connection],
) -> Result<u64, SessionError> {
    let fault = Fault::default();
    let orders = train::SharedOrders::new(connections.len());
    let aborts: Vec<AbortHandle> = connections.iter().map(Connection::abort_handle).collect();
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = (0u16..)
            .zip(connections.iter_mut())
            .map(|(lane, connection)| {
                let (fault, aborts, orders) = (fault.clone(), &aborts, &orders);
                scope.spawn(move || {
                    let done = deal_lane::<W>(job, prgs, lane, connection, orders, fault);
                    if done.is_err() {
                        // The other lanes need not wait.
                        aborts.iter().for_each(AbortHandle::abort);
                        orders.fail();
                    }
                    done
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    for result in results {
        result.map_err(|halt| match halt {
            train::Halt::Protocol { error, step } => {
                SessionError::Protocol { error, step, cause: fault.take().map(Box::new) }
            }
            train::Halt::Stopped => SessionError::Stopped,
        })?;
    }
    Ok(connections.iter().map(|c| c.traffic().payload_sent).sum())
}

fn deal_lane<W: HostWord + Word>(
    job: &Job,
    prgs: [&dyn Prg; 2],
    lane: u16,
    connection: &mut Connection,
    orders: &train::SharedOrders,
    fault: Fault,
) -> Result<(), train::Halt> {
    let mut sink = Dealing::<W>::new(prgs, best::<W>(), connection, fault);
    let own = Lane {
        link: Box::new(Count::default()),
        correlations: Box::new(Dry::new(lane, &mut sink)),
        trace: Box::new(NoTrace),
        arena: Secret::zeros(ENDLESS),
    };
    let mut lanes: Vec<Option<Lane<'_, W::Dry>>> = (0..job.lanes.lanes).map(|_| None).collect();
    lanes[usize::from(lane)] = Some(own);
    let mut lanes = Lanes::new(symbolon_core::party::Role::Server0, &Nothing, lanes, 1);
    let (orders, inputs) = (train::Orders::Shared(orders), train::Inputs::dry(job));
    train::run_in(orders, &mut lanes, job, inputs, &mut |_, _| ControlFlow::Continue(()))?;
    drop(lanes);
    sink.finish().map_err(|error| train::Halt::Protocol { error, step: job.steps_per_epoch() as u64 })
}
