//! A session of predictions: its roles meet, the weights are masked and opened once, and each lane
//! answers batches until a peer leaves or the model is retired.

use super::{
    Notice, Server,
    board::Board,
    heartbeats::Heartbeats,
    meeting::{Meeting, Met},
    served_models::{AgreedProposal, OpenSession},
};
use crate::{
    engine::{
        plan::{Cost, ServingPlan, serving_plan},
        pool::{BlockCheck, Differing, Pool},
        secure::{Fault, NetLink},
    },
    job::Job,
    kernel::{HostWord, best},
    lanes::{Lane, Lanes},
    net::{Cancel, Connection, Role},
    secret::Secret,
    session::{
        Disagreement, SessionError,
        batch_queue::{BatchQueue, BatchSlice, MOST_BYTES},
        heartbeat::beat,
        message::{BatchAssignment, QueryEvent, Work},
        veil::{Output, Veil},
    },
    train::{Batches, Predictor, Serving},
};
use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use symbolon_core::{
    correlation::{Corrections, Server as Source},
    party::{NoTrace, Role as Party},
    prg::Prg,
    word::{Word, word_bytes},
};

/// Idle time-out of a lane's corrections: the dealer sends none while the pool is full.
const LANE_IDLE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The time between two looks at dealer and cancellation.
const LOOK: Duration = Duration::from_millis(100);
/// Most bytes of a message between the servers: a batch has at most as many parts as rows.
const MESSAGE_BYTES: usize = 1 << 20;

/// Ends a session when dropped: the first thread to stop or panic ends all of them. A lane that has
/// failed would otherwise leave the other server's waiting, and its rows without answers.
struct EndOnDrop<'a> {
    queue: &'a BatchQueue,
    cancel: &'a Cancel,
}

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.queue.end();
        self.cancel.cancel();
    }
}

/// A lane's connections to dealer and auditor, where this server receives its corrections.
type Streams = (Option<Connection>, Option<Connection>);

/// The other ends of a session's lanes, and their failures.
type Ends<'a> = (&'a dyn Prg, &'a mut [Connection], Vec<Option<Pool>>, (&'a Fault, &'a Differing));

/// One lane's batches.
struct LaneBatches<'a> {
    lane: usize,
    _ends: EndOnDrop<'a>,
    open: &'a OpenSession,
    veil: &'a Veil,
    /// Server 1's messages to server 0.
    control: Option<&'a Mutex<Connection>>,
    parts: Vec<BatchSlice>,
    /// Batches that are answered.
    done: u32,
    /// Batches until the lane's request numbers end.
    left: u32,
}

impl<W: Word> Batches<W> for LaneBatches<'_> {
    fn next(&mut self, rows: &mut [W]) -> ControlFlow<()> {
        let queue = &self.open.queue;
        let Some(left) = self.left.checked_sub(1) else { return ControlFlow::Break(()) };
        self.left = left;
        let parts = match self.control {
            Some(_) => queue.next_as_leader(self.lane),
            None => queue.next_assigned(self.lane),
        };
        let Some(parts) = parts else { return ControlFlow::Break(()) };
        self.parts = parts;
        if let Some(control) = self.control {
            #[allow(clippy::cast_possible_truncation)] // lanes are few
            let batch = BatchAssignment::Batch { lane: self.lane as u16, parts: self.parts.clone() };
            if control.lock().unwrap_or_else(PoisonError::into_inner).send(&batch).is_err() {
                return ControlFlow::Break(()); // the thread that reads from server 0 sees the loss
            }
        }
        queue.fill(&self.parts, rows);
        ControlFlow::Continue(())
    }

    fn answer(&mut self, answers: &mut [W]) {
        #[allow(clippy::cast_possible_truncation)] // lanes are few
        self.veil.draw(Output::Answer { lane: self.lane as u16, batch: self.done }, answers);
        self.done += 1;
        self.open.queue.deliver(&self.parts, answers);
    }
}

impl Server {
    /// Answers predictions by a model until the session ends.
    pub(super) fn serve_model(&self, agreed: &AgreedProposal, control: Connection) -> Result<(), SessionError> {
        let (job, started) = (&agreed.job, Instant::now());
        let limits = &self.config.policy.limits;
        // Before the plan, which takes time.
        limits.check_memory(job.model_bytes().saturating_mul(MODEL_COPIES)).map_err(SessionError::Policy)?;
        let plan = serving_plan(job, &agreed.serving)?;
        limits.check_memory(self.serving_bytes(job, &agreed.serving, &plan)).map_err(SessionError::Policy)?;
        let result = match job.numbers.ring_bits {
            32 => self.serve_words::<u32>(agreed, &plan, control),
            _ => self.serve_words::<u64>(agreed, &plan, control),
        };
        (self.tell)(Notice::Served { job, took: started.elapsed() });
        result
    }

    /// Most bytes of memory that a session takes: copies of the model, arenas, what is dealt ahead,
    /// the rows and answers that wait.
    pub(super) fn serving_bytes(&self, job: &Job, serving: &Serving, plan: &ServingPlan) -> u64 {
        let lanes = u64::from(serving.lanes());
        let pools = plan.batches.iter().zip(&serving.batches).map(|(batch, rows)| {
            pooled(self.config.serve.pool_rows, lanes, *rows).saturating_add(1).saturating_mul(batch.dealer_bytes)
        });
        let parts = [
            job.model_bytes().saturating_mul(MODEL_COPIES),
            lanes.saturating_mul(plan.arena_bytes),
            pools.fold(plan.setup.dealer_bytes, u64::saturating_add),
            MOST_BYTES as u64,
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    fn serve_words<W: HostWord + Word>(
        &self,
        agreed: &AgreedProposal,
        plan: &ServingPlan,
        mut control: Connection,
    ) -> Result<(), SessionError> {
        let (owner, model) = &agreed.key;
        let share: Secret<W> = self.models.read_share(model, &agreed.public.digest(), owner)?;
        let Met { prg, dealer, audit, streams, checks, mut peers, veil } =
            self.meet_to_serve(agreed, plan, &mut control)?;
        let other = peers.pop().ok_or(SessionError::Stopped)?;
        let words = [agreed.job.data.features(), agreed.serving.answer.words(&agreed.job)];
        let leads = self.config.role == Role::Server1;
        // Server 1 tells server 0 of batches over `control`, server 0 server 1 of queries over
        // `other`.
        let (reads, writes) = if leads { (other, control) } else { (control, other) };
        let writes = Mutex::new(writes);
        let (seen, to_server0) = if leads { (None, Some(writes)) } else { (Some(writes), None) };
        let open = Arc::new(self.open::<W>(agreed, words, seen));
        let cancel = &agreed.cancel;
        thread::scope(|scope| {
            let (open, dealer, audit, to_server0) = (&open, &dealer, &audit, to_server0.as_ref());
            let (idle, beats) = (self.peer_timeout(), beat(self.config.timeouts.idle));
            let ends = || EndOnDrop { queue: &open.queue, cancel };
            let (heard, told, _done) = (ends(), ends(), ends());
            scope.spawn(move || {
                let _heard = heard;
                listen(open, reads, idle);
            });
            let (fault, differing) = (Fault::default(), Differing::default());
            let watched = (fault.clone(), Arc::clone(&differing));
            scope.spawn(move || {
                let _told = told;
                let is_well = || {
                    let (fault, differing) = &watched;
                    let helped = dealer.check().is_ok() && audit.check().is_ok();
                    helped && !fault.is_kept() && differing.get().is_none()
                };
                keep_alive(open, &is_well, to_server0, (cancel, beats));
            });
            let pools = self.pools(agreed, plan, (streams, checks), (&fault, &differing));
            let ends = (&*prg, &mut peers[..], pools, (&fault, &differing));
            self.answer_batches(agreed, plan, &share, (open, &veil, to_server0), ends)
        })
    }

    /// Meets dealer and other server. The last of its connections is no lane: server 0 tells of
    /// queries over it.
    fn meet_to_serve(
        &self,
        agreed: &AgreedProposal,
        plan: &ServingPlan,
        control: &mut Connection,
    ) -> Result<Met, SessionError> {
        let AgreedProposal { session, job, public, serving, cancel, .. } = agreed;
        let work = Work::Serve(serving.clone());
        let (board, nobody) = (Board::default(), |_: &_| {});
        let heartbeats = Heartbeats::new(&board, cancel, (self.config.role, self.config.timeouts.idle), &nobody);
        let lanes = serving.lanes();
        let meeting = Meeting {
            id: *session,
            job,
            encoded: &public.job,
            work: &work,
            plan_hash: plan.hash,
            lanes,
            peers: lanes + 1,
            cancel,
        };
        let met = self.meet(&meeting, &heartbeats, control)?;
        control.set_idle_timeout(self.peer_timeout());
        Ok(met)
    }

    fn open<W: Word>(
        &self,
        agreed: &AgreedProposal,
        words: [usize; 2],
        seen: Option<Mutex<Connection>>,
    ) -> OpenSession {
        let AgreedProposal { session, public, terms, serving, .. } = agreed;
        let bytes = words.map(|words| words * word_bytes::<W>());
        OpenSession {
            session: *session,
            public: public.clone(),
            digest: public.digest(),
            terms: terms.clone(),
            most_rows: serving.batches.iter().copied().max().unwrap_or(1),
            bytes,
            queue: BatchQueue::new(&serving.batches, bytes, self.config.serve.wait),
            seen,
        }
    }

    /// Receives each lane's corrections ahead, as many batches as its part of the pool has rows.
    fn pools(
        &self,
        agreed: &AgreedProposal,
        plan: &ServingPlan,
        (streams, mut checks): (Vec<Option<Connection>>, Vec<Option<Connection>>),
        (fault, differing): (&Fault, &Differing),
    ) -> Vec<Option<Pool>> {
        let lanes = streams.len().max(1) as u64;
        checks.resize_with(streams.len(), || None);
        let costs = plan.setup_dealt.iter().zip(&plan.batches).zip(&agreed.serving.batches);
        let own = (agreed.session, self.config.role);
        // Before a lane takes the dealer for lost.
        let idle = self.config.timeouts.idle - self.config.timeouts.idle / 4;
        let check = |auditor| BlockCheck::new(auditor, own, Arc::clone(differing), idle);
        let pool = |((stream, auditor), ((setup, batch), rows)): (Streams, ((&u64, &Cost), &u16))| {
            let mut stream = stream?;
            stream.set_idle_timeout(LANE_IDLE);
            let batches = pooled(self.config.serve.pool_rows, lanes, *rows);
            let wait = (batches, self.config.timeouts.idle);
            Some(Pool::new(stream, fault.clone(), [*setup, batch.dealer_bytes], wait, auditor.map(check)))
        };
        streams.into_iter().zip(checks).zip(costs).map(pool).collect()
    }

    /// Opens the weights, takes rows, and answers them until the queue ends.
    fn answer_batches<W: HostWord + Word>(
        &self,
        agreed: &AgreedProposal,
        plan: &ServingPlan,
        share: &[W],
        (open, veil, to_server0): (&Arc<OpenSession>, &Veil, Option<&Mutex<Connection>>),
        (prg, peers, mut pools, (fault, differing)): Ends<'_>,
    ) -> Result<(), SessionError> {
        let arena = usize::try_from(plan.arena_bytes).unwrap_or(usize::MAX) / word_bytes::<W>();
        let lanes = (0u16..).zip(peers.iter_mut().zip(&mut pools)).map(|(lane, (peer, pool))| {
            let corrections = pool.as_mut().map(|pool| pool as &mut (dyn Corrections<W> + Send));
            Some(Lane {
                link: Box::new(NetLink::new(peer, fault.clone())),
                correlations: Box::new(Source::new(prg, best::<W>(), lane, corrections)),
                trace: Box::new(NoTrace),
                arena: Secret::zeros(arena),
            })
        });
        let role = if self.config.role == Role::Server0 { Party::Server0 } else { Party::Server1 };
        let AgreedProposal { key, job, serving, .. } = agreed;
        let mut lanes = Lanes::new(role, best::<W>(), lanes.collect(), serving.batches.len());
        let differs = || match differing.get() {
            Some(block) => Err(SessionError::Audit(Disagreement::Corrections { release: *block })),
            None => Ok(()),
        };
        let failed = |error| {
            let lost = SessionError::Protocol { error, step: 0, cause: fault.take().map(Box::new) };
            differs().err().unwrap_or(lost)
        };
        let predictor = Predictor::open(&mut lanes, job, serving.answer, share).map_err(failed)?;
        self.served.open(key, open);
        (self.tell)(Notice::Serves { job });
        let ends = || EndOnDrop { queue: &open.queue, cancel: &agreed.cancel };
        let sources = serving.batches.iter().enumerate().map(|(lane, rows)| {
            let (control, parts) = (to_server0, Vec::new());
            let left = plan.most_batches;
            (usize::from(*rows), LaneBatches { lane, _ends: ends(), open, veil, control, parts, done: 0, left })
        });
        predictor.run(&mut lanes, sources.collect()).map_err(failed)?;
        differs()
    }
}

/// Copies of a model in a session: the share, opened and folded, each with shares and openings.
pub(super) const MODEL_COPIES: u64 = 6;

/// Batches of `rows` rows that a lane's part of the pool holds.
fn pooled(pool_rows: u64, lanes: u64, rows: u16) -> u64 {
    (pool_rows / lanes).div_ceil(u64::from(rows)).max(1)
}

/// Takes the other server's messages until it leaves, or breaks the protocol.
fn listen(open: &OpenSession, mut other: Connection, idle: Duration) {
    other.set_idle_timeout(idle);
    let queue = &open.queue;
    loop {
        let goes_on = if other.role() == Role::Server0 {
            match other.recv::<QueryEvent>(MESSAGE_BYTES) {
                Ok(QueryEvent::Arrived { query, rows }) => {
                    queue.arrived(&query, rows as usize);
                    true
                }
                Ok(QueryEvent::Gone(query)) => {
                    queue.gone(&query);
                    true
                }
                Ok(QueryEvent::Alive) => true,
                Err(_) => false,
            }
        } else {
            match other.recv::<BatchAssignment>(MESSAGE_BYTES) {
                Ok(BatchAssignment::Batch { lane, parts }) => queue.assign(lane, parts),
                Ok(BatchAssignment::Alive) => true,
                Err(_) => false,
            }
        };
        if !goes_on {
            return;
        }
    }
}

/// Tells the other server, at fixed intervals, that this one lives, until the session is no longer
/// well or is cancelled.
fn keep_alive(
    open: &OpenSession,
    is_well: &dyn Fn() -> bool,
    to_server0: Option<&Mutex<Connection>>,
    (cancel, beats): (&Cancel, Duration),
) {
    let mut last = Instant::now();
    while !cancel.is_cancelled() && is_well() {
        thread::sleep(LOOK.min(beats));
        if last.elapsed() < beats {
            continue;
        }
        last = Instant::now();
        let told = match to_server0 {
            Some(control) => {
                let mut control = control.lock().unwrap_or_else(PoisonError::into_inner);
                control.send(&BatchAssignment::Alive).map_err(SessionError::from)
            }
            None => open.tell(&QueryEvent::Alive),
        };
        if told.is_err() {
            return;
        }
    }
}
