//! A server's session at the dealer and at the auditor, which both receive its seed.

use super::{Server, audit::Audit, heartbeats::Heartbeats, meeting::Meeting};
use crate::{
    net::{Connection, NetError, Role, Timeouts},
    session::{
        Disagreement, STACK_BYTES, SessionError,
        heartbeat::beat,
        message::{Call, DealerHello, Decision, Join, MAX_MESSAGE_BYTES, Paired, Reply},
        prg, random_bytes, random_seed,
    },
};
use serde::de::DeserializeOwned;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};
use symbolon_core::{
    prg::{Prg, Seed, session_seed},
    wipe::wipe_stack,
};
use zeroize::Zeroizing;

/// A session that this server has joined.
pub(super) struct Joined {
    /// This server's streams.
    pub(super) prg: Box<dyn Prg>,
    pub(super) dealer: Helper,
    pub(super) audit: Audit,
}

impl Server {
    /// Draws this server's seed for the session and joins the session at the dealer, and at the
    /// auditor if there is one. Both answer once both servers have joined with equal plans.
    pub(super) fn join(&self, session: &Meeting<'_>, heartbeats: &Heartbeats<'_>) -> Result<Joined, SessionError> {
        let (own, Timeouts { connect, idle, .. }) = (self.config.role, self.config.timeouts);
        let reach = |role| self.reach(session.cancel, role);
        let mut dealer = reach(Role::Dealer)?;
        let audited = self.config.peers.contains_key(&Role::Auditor);
        let mut auditor = audited.then(|| heartbeats.wait_for(Role::Auditor, || reach(Role::Auditor))).transpose()?;
        let hello = hello(session);
        // The moves below copy the stack: by now it must hold no seed.
        wipe_stack::<STACK_BYTES>();
        let hello = hello?;
        for helper in [Some(&mut dealer), auditor.as_mut()].into_iter().flatten() {
            // The helper may wait for the other server as long as that takes to connect.
            helper.set_idle_timeout(connect + idle);
            helper.send(&hello)?;
        }
        let DealerHello::Join(join) = hello else { unreachable!("a server joins") };
        let nonces = paired(&mut dealer, idle)?;
        if nonces[usize::from(own == Role::Server1)] != join.nonce {
            return Err(SessionError::Unexpected { from: Role::Dealer, wanted: "this server's own nonce" });
        }
        if let Some(auditor) = &mut auditor
            && heartbeats.wait_for(Role::Auditor, || paired(auditor, idle))? != nonces
        {
            return Err(SessionError::Audit(Disagreement::Nonces));
        }
        let prg = streams(session, own, &join, &nonces);
        wipe_stack::<STACK_BYTES>();
        let (dealer, auditor) = (Helper::new(dealer, idle), auditor.map(|auditor| Helper::new(auditor, idle)));
        Ok(Joined { prg, dealer, audit: Audit::new(auditor, session.id, own, session.lanes) })
    }
}

/// Makes a server's first message, with a fresh nonce and a fresh seed.
#[inline(never)] // the caller wipes the stack below its own frame
fn hello(session: &Meeting<'_>) -> Result<DealerHello, SessionError> {
    Ok(DealerHello::Join(Join {
        session: session.id,
        job: session.encoded.to_vec(),
        work: session.work.clone(),
        plan_hash: session.plan_hash,
        nonce: random_bytes()?,
        seed: Box::new(Zeroizing::new(*random_seed()?.expose())),
    }))
}

/// Derives the streams of server `own` from the seed that it drew.
#[inline(never)] // the caller wipes the stack below its own frame
fn streams(session: &Meeting<'_>, own: Role, join: &Join, nonces: &[[u8; 32]; 2]) -> Box<dyn Prg> {
    let (drawn, number) = (Seed::from_bytes(&join.seed), u8::from(own == Role::Server1));
    let seed = session_seed(&drawn, [&nonces[0], &nonces[1]], &session.id, &session.plan_hash, number);
    prg(session.job.numbers.prg, &seed, &session.id)
}

/// Receives both servers' nonces, once the other server has joined too.
fn paired(helper: &mut Connection, idle: Duration) -> Result<[[u8; 32]; 2], SessionError> {
    let paired: Paired = helper.recv(MAX_MESSAGE_BYTES)?;
    helper.set_idle_timeout(idle);
    paired.map_err(|no| no.from(helper.role()))
}

/// A connection to the dealer or the auditor, which this server asks for results. A thread reports
/// to it, at fixed intervals until this is dropped, that this server lives.
pub(super) struct Helper {
    state: Arc<Mutex<State>>,
    /// Ends the thread when dropped.
    _joined: mpsc::Sender<()>,
}

struct State {
    connection: Connection,
    failed: Option<NetError>,
}

impl Helper {
    fn new(connection: Connection, idle: Duration) -> Self {
        let state = Arc::new(Mutex::new(State { connection, failed: None }));
        let (joined, ended) = mpsc::channel();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            while ended.recv_timeout(beat(idle)) == Err(mpsc::RecvTimeoutError::Timeout) {
                // While the job's thread waits for a result, the helper knows that this server
                // lives.
                let Ok(mut state) = shared.try_lock() else { continue };
                if let Err(error) = state.connection.send(&Call::Alive) {
                    state.failed = Some(error); // the job's thread finds it when it asks next
                    return;
                }
            }
        });
        Self { state, _joined: joined }
    }

    /// Checks, without waiting, that the helper is still connected.
    ///
    /// # Errors
    ///
    /// The loss of the helper.
    pub(super) fn check(&self) -> Result<(), SessionError> {
        let mut state = self.lock();
        match state.failed.take() {
            Some(error) => Err(error.into()),
            None => Ok(state.connection.check_peer()?),
        }
    }

    /// Passes on the client's decision.
    ///
    /// # Errors
    ///
    /// The loss of the helper.
    pub(super) fn decided(&self, decision: Decision) -> Result<(), SessionError> {
        let mut state = self.lock();
        match state.failed.take() {
            Some(error) => Err(error.into()),
            None => Ok(state.connection.send(&Call::Decided(decision))?),
        }
    }

    /// Asks for the next result and waits for it.
    ///
    /// # Errors
    ///
    /// The helper's reason for a missing result; the loss of the helper, or its silence for the
    /// idle time-out.
    pub(super) fn next<T: DeserializeOwned>(&self) -> Result<T, SessionError> {
        let mut state = self.lock();
        if let Some(error) = state.failed.take() {
            return Err(error.into());
        }
        let connection = &mut state.connection;
        connection.send(&Call::Next)?;
        loop {
            match connection.recv(MAX_MESSAGE_BYTES)? {
                Reply::Alive => {}
                Reply::Next(result) => return Ok(result),
                Reply::No(no) => return Err(no.from(connection.role())),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
