//! A run of a job at this server: it meets its peers, trains from where both servers begin, and
//! releases the results.

use super::{
    Server, Session,
    board::Board,
    dealing::Helper,
    heartbeats::Heartbeats,
    meeting::Met,
    outputs::{Outputs, RunObserver},
};
use crate::{
    engine::{
        plan::plan_from,
        secure::{Fault, NetCorrections, NetLink},
    },
    job::Job,
    job_store::{CheckpointName, JobStoreError, StoredJob},
    kernel::{HostWord, best},
    lanes::{Lane, Lanes},
    net::{Cancel, Connection, NetError, Role},
    report::peak_rss,
    secret::Secret,
    session::{
        STACK_BYTES, SessionError, SessionId,
        heartbeat::{Alive, Phase},
        message::{Beginning, Report, Work},
        server::{Notice, results::Results},
    },
    storage::Storage,
    train::{self, Position, Start, State},
};
use std::time::Instant;
use symbolon_core::{
    correlation::{Corrections, Server as Source},
    link::{Count, Error as ProtocolError, Peer},
    party::{NoTrace, Role as Party},
    wipe::wipe_stack,
    word::{Word, word_bytes},
};

/// Returns the failure to report for `error`. The other server may have ended because it has lost
/// the dealer before this one noticed: where the end reaches this server while it sends, it looks
/// like a loss.
fn culprit(error: ProtocolError, fault: &Fault, dealer: &Helper) -> (ProtocolError, Option<Box<NetError>>) {
    let cause = fault.take().map(Box::new);
    if error == ProtocolError::Lost(Peer::Server)
        && let Err(SessionError::Net(lost)) = dealer.check()
    {
        return (ProtocolError::Lost(Peer::Dealer), Some(lost));
    }
    (error, cause)
}

/// Returns the failure of a run whose protocol failed after `step`.
fn halted(error: ProtocolError, step: u64, storage: &Storage, fault: &Fault, dealer: &Helper) -> SessionError {
    // What another lane lost may be a consequence.
    if let Some(fault) = storage.take_fault() {
        return fault.into();
    }
    let (error, cause) = culprit(error, fault, dealer);
    SessionError::Protocol { error, step, cause }
}

impl Server {
    /// Runs a job from `beginning` on, in a new session with the other server over `control`.
    pub(super) fn run_job(
        &self,
        stored: &StoredJob,
        board: &Board,
        cancel: &Cancel,
        (control, id): (&mut Connection, SessionId),
        beginning: Beginning,
    ) -> Result<(), SessionError> {
        let job = Job::decode(&stored.encoded).map_err(SessionError::job(Role::Client))?;
        let hash = job.hash().map_err(SessionError::job(Role::Client))?;
        let (started, account) = (Instant::now(), self.account(&stored.id)?);
        let log = |alive: &Alive| (self.tell)(Notice::Waits { job: &stored.id, alive });
        let heartbeats = Heartbeats::new(board, cancel, (self.config.role, self.config.timeouts.idle), &log);
        let checkpoint = match beginning {
            Beginning::Start => None,
            Beginning::Checkpoint(name) => Some(name),
            Beginning::Results(session) => return self.release_results(stored, &job, &heartbeats, control, session),
            Beginning::Released { session, kept } => return self.release_kept(stored, &job, session, kept),
        };
        let position = checkpoint.map_or(Position::START, |name| Position::after(name.steps));
        let plan = plan_from(&job, position)?;
        // The policy may have changed since the order.
        self.check_policy(&job, stored.encoded.len(), plan.arena_bytes)?;
        stored.from.as_ref().map_or(Ok(()), |model| self.check_listing(&job, model))?;
        (self.tell)(Notice::Begun { job: &job, number: Some(&stored.id), hash, position });
        let session = Session {
            id,
            stored,
            job: &job,
            position,
            work: Work::Train(position),
            plan,
            account: &account,
            board,
            cancel: cancel.clone(),
        };
        let result = heartbeats.beat_during(|| {
            match job.numbers.ring_bits {
                32 => self.train::<u32>(&session, checkpoint, &heartbeats, control)?,
                _ => self.train::<u64>(&session, checkpoint, &heartbeats, control)?,
            }
            self.release_results(stored, &job, &heartbeats, control, id)
        });
        let (number, took) = (Some(&stored.id), started.elapsed());
        (self.tell)(Notice::Ended { job: &job, number, took, well: result.is_ok() });
        result
    }

    /// Reads the checkpoint at which the run begins, with the numbers of its epoch's end.
    #[allow(clippy::type_complexity)] // two parts, named above
    fn start<W: HostWord + Word>(
        &self,
        session: &Session<'_>,
        checkpoint: Option<CheckpointName>,
    ) -> Result<(Start<W>, Option<(u32, Vec<u64>)>), SessionError> {
        let id = &session.stored.id;
        self.jobs.delete_later_checkpoints(id, checkpoint)?;
        let Some(name) = checkpoint else { return Ok((self.initial(session.job, id)?, None)) };
        let read = self.jobs.read_checkpoint(id, name).map_err(SessionError::from).and_then(|(numbers, bytes)| {
            let state = State::from_bytes(session.job, &bytes).map_err(SessionError::State)?;
            let is_it = state.position() == session.position;
            let wanted = SessionError::State(train::StateError::Job);
            if is_it { Ok((numbers, state)) } else { Err(wanted) }
        });
        let (numbers, state) = read.inspect_err(|error| {
            let damaged = |error: &JobStoreError| matches!(error, JobStoreError::Damaged(_));
            match error {
                SessionError::State(_) => self.jobs.delete_checkpoint(id, name),
                SessionError::Jobs(error) if damaged(error) => self.jobs.delete_checkpoint(id, name),
                _ => {} // it may be read the next time
            }
        })?;
        let pending = numbers.map(|numbers| (session.position.epochs(session.job), numbers));
        Ok((Start::At(state), pending))
    }

    /// Trains to the end and stores this server's results.
    fn train<W: HostWord + Word>(
        &self,
        session: &Session<'_>,
        checkpoint: Option<CheckpointName>,
        heartbeats: &Heartbeats<'_>,
        control: &mut Connection,
    ) -> Result<(), SessionError> {
        let storage = self.storage(session.job);
        let (start, pending) = self.start::<W>(session, checkpoint)?;
        let inputs = self.open_inputs::<W>(session, &storage)?;
        wipe_stack::<STACK_BYTES>(); // the seed of the data's shares
        let Met { prg, dealer, audit, mut streams, mut peers, veil, .. } =
            self.meet(&session.meeting(), heartbeats, control)?;
        self.compare_ledgers(session, control)?;
        let (job, lanes, plan) = (session.job, session.job.lanes.lanes, &session.plan);
        let fault = heartbeats.fault().clone();
        let received = streams.iter_mut().enumerate().map(|(lane, stream)| {
            let corrections = NetCorrections::new(stream.as_mut()?, fault.clone()).hashing(audit.lane(lane));
            Some(corrections.reporting(heartbeats.activity().clone()))
        });
        let mut corrections: Vec<Option<_>> = received.collect();
        let arena = usize::try_from(plan.arena_bytes).unwrap_or(usize::MAX) / word_bytes::<W>();
        let own = (0u16..).zip(peers.iter_mut().zip(&mut corrections)).map(|(lane, (peer, corrections))| {
            let corrections = corrections.as_mut().map(|c| c as &mut (dyn Corrections<W> + Send));
            Some(Lane {
                link: Box::new(NetLink::new(peer, fault.clone()).reporting(heartbeats.activity().clone())),
                correlations: Box::new(Source::new(&*prg, best::<W>(), lane, corrections)),
                trace: Box::new(NoTrace),
                arena: Secret::zeros(arena),
            })
        });
        let role = if self.config.role == Role::Server0 { Party::Server0 } else { Party::Server1 };
        let mut party = Lanes::new(role, best::<W>(), own.collect(), self.threads.unwrap_or(usize::from(lanes)))
            .choosing(veil.stream());
        heartbeats.begin(Phase::Opening, plan.setup.bytes_each_way, None);
        let outputs = Outputs::new(job, &veil, self.config.role, pending);
        let mut observer = RunObserver::new(self, session, (heartbeats, control), (&dealer, audit), outputs);
        let ended = train::run(&mut party, job, inputs, start, &mut observer);
        let count = party.count();
        drop(party);
        let parameters = ended.map_err(|halt| match halt {
            train::Halt::Protocol { error, step } => halted(error, step, &storage, &fault, &dealer),
            train::Halt::Stopped => observer.error.take().unwrap_or(SessionError::Stopped),
        })?;
        self.end_training(session, heartbeats, observer, (count, parameters.into()), &dealer)
    }

    /// Stores the results of a run that has trained to the end.
    fn end_training<W: HostWord + Word>(
        &self,
        session: &Session<'_>,
        heartbeats: &Heartbeats<'_>,
        mut observer: RunObserver<'_>,
        (count, mut parameters): (Count, Secret<W>),
        dealer: &Helper,
    ) -> Result<(), SessionError> {
        observer.confirm()?;
        observer.refresh_model(&mut parameters);
        let RunObserver { alarm, epochs, seconds_train, .. } = observer;
        heartbeats.begin(Phase::Ending, 0, Some(Role::Dealer));
        let report = Report {
            bytes_sent: count.bytes,
            rounds: count.rounds,
            seconds_train,
            peak_rss_bytes: peak_rss(),
            dealer: dealer.next()?,
        };
        self.store_results(session, Results { epochs, alarm, report }, &parameters)
    }
}
