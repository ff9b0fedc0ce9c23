//! A server's part of a session.
//!
//! | module | what |
//! | --- | --- |
//! | `admission` | policy, schema, plan, place and ledger, before a job begins |
//! | `audit` | the auditor's agreement, before outputs leave |
//! | `dealing` | joining the session at dealer and auditor |
//! | `inputs` | the client's data |
//! | `keeping` | the model's share, kept once both servers agree |
//! | `outputs` | the shares of outputs, and progress |

mod admission;
mod audit;
mod dealing;
mod inputs;
mod keeping;
mod outputs;

use super::{
    STACK_BYTES, SessionError, SessionId,
    heartbeat::{Alive, Heart, Phase},
    message::{
        Answer, Ask, DealerHello, Keep, LaneHello, MAX_MESSAGE_BYTES, ModelsRequest, No, Order, PeerHello, Report,
        Update,
    },
    models, random_seed, receiver, releases,
    rendezvous::Rendezvous,
    reports,
    veil::{Veil, VeilSeed},
};
use crate::{
    data::{Shelf, ShelfError},
    engine::{
        plan::{Plan, hex},
        secure::{Fault, NetCorrections, NetLink},
    },
    intake::Intake,
    job::Job,
    kernel::{HostWord, best},
    lanes::{Lane, Lanes},
    model_store::{ModelStore, ModelVersion},
    net::{Cancel, ClientTls, Config, Connection, NetError, Role, Timeouts, connect_until},
    release::ledger::{Account, Entry, Ledger, LedgerError, MAX_STANDING_BYTES},
    report::peak_rss,
    secret::Secret,
    storage::{Storage, StorageConfig},
    train::{self, Inputs},
};
use admission::Admitted;
use audit::Audit;
use dealing::{Helper, Joined};
use inputs::receive_inputs;
pub(super) use inputs::{MAX_LENGTHS, piece_words, table_stream};
use keeping::KeepOutcome;
use outputs::{News, Outputs};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use symbolon_core::{
    correlation::{Corrections, Server as Source},
    link::{Error as ProtocolError, Peer},
    party::{NoTrace, Role as Party},
    prg::Prg,
    wipe::wipe_stack,
    word::{Word, word_bytes},
};
use zeroize::Zeroizing;

/// A server for any number of sessions.
pub struct Server {
    config: Config,
    tls: ClientTls,
    /// At server 0: server 1's connections.
    lanes: Rendezvous<u16, LaneHello>,
    running: Mutex<usize>,
    threads: Option<usize>,
    /// The source of stored reports; `None` if this server has none.
    shelf: Option<Arc<dyn Shelf>>,
    /// The intake of reports; `None` if this server takes none.
    intake: Option<Arc<Intake>>,
    ledger: Ledger,
    models: ModelStore,
    tell: Box<dyn Fn(Notice<'_>) + Send + Sync>,
}

/// An event of a server's jobs, for the operator's log.
#[derive(Debug)]
pub enum Notice<'a> {
    /// The job is within the policy, and begins.
    Begun {
        /// The job.
        job: &'a Job,
        /// Its hash, as policies list it.
        hash: [u8; 32],
    },
    /// The job ended.
    Ended {
        /// The job.
        job: &'a Job,
        /// The time since the job began.
        took: Duration,
        /// Whether the job succeeded; otherwise the error of [`Server::serve`] is the reason.
        well: bool,
    },
    /// The other server's ledger had entries that this one's lacked; they are charged again.
    LedgerBehind {
        /// The number of these entries.
        missing: u64,
    },
    /// A client has changed or opened a kept model.
    Model {
        /// The past participle of the command, as `published`.
        done: &'static str,
        /// The model.
        model: &'a ModelVersion,
        /// Serial number of the client's certificate.
        client: &'a str,
    },
    /// The server waits for another role.
    Waits {
        /// The job.
        job: &'a Job,
        /// Its phase, and the role for which it waits.
        alive: &'a Alive,
    },
}

/// The parts of a session beside its connections to other roles.
struct Session<'a> {
    id: SessionId,
    job: &'a Job,
    encoded: Vec<u8>,
    /// The client's wish that the model be kept.
    keep: Option<Keep>,
    /// Serial number of the client's certificate.
    client: String,
    plan: Plan,
    account: &'a Account,
    /// Cancels the connections and waits of the session.
    cancel: Cancel,
}

/// The parts of a session once all roles have met.
struct Met {
    /// This server's masks.
    prg: Box<dyn Prg>,
    dealer: Helper,
    audit: Audit,
    /// The dealer's corrections, one connection a lane; `None` where the other server receives
    /// them.
    streams: Vec<Option<Connection>>,
    /// The other server, one connection a lane.
    peers: Vec<Connection>,
    veil: Veil,
}

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

impl Server {
    /// Makes the server that `config` describes. It connects to others as `tls` and runs at most
    /// `threads` lanes of a job at once.
    ///
    /// # Errors
    ///
    /// If the ledger or the store of models cannot be used.
    pub fn new(config: Config, tls: ClientTls, threads: Option<usize>) -> Result<Self, SessionError> {
        let (lanes, running) = (Rendezvous::new(config.timeouts.connect), Mutex::new(0));
        let ledger = Ledger::open(&config.policy_files.ledger).map_err(LedgerError::Store)?;
        let models = ModelStore::open(&config.models, config.role, tls.deployment())?;
        let (shelf, intake, tell) = (None, None, Box::new(|_: Notice<'_>| {}));
        Ok(Self { lanes, config, tls, running, threads, shelf, intake, ledger, models, tell })
    }

    /// Adds `shelf`: jobs may then learn from its reports.
    #[must_use]
    pub fn with_shelf(self, shelf: Arc<dyn Shelf>) -> Self {
        Self { shelf: Some(shelf), ..self }
    }

    /// Adds an intake: the server takes reports from gateways, and jobs learn from the stored ones.
    #[must_use]
    pub fn with_intake(self, intake: Arc<Intake>) -> Self {
        let shelf: Arc<dyn Shelf> = intake.clone();
        Self { shelf: Some(shelf), intake: Some(intake), ..self }
    }

    /// Sets `tell`, which is called with each event of a job.
    #[must_use]
    pub fn telling(self, tell: impl Fn(Notice<'_>) + Send + Sync + 'static) -> Self {
        Self { tell: Box::new(tell), ..self }
    }

    /// Counts the files of shares that no kept model has.
    ///
    /// # Errors
    ///
    /// If the store of models cannot be read.
    pub fn stray_shares(&self) -> Result<usize, SessionError> {
        Ok(self.models.strays()?)
    }

    /// Serves one connection: a client's order, on this thread, or a lane of server 1.
    ///
    /// # Errors
    ///
    /// The error that ended the session; the client has received it too.
    pub fn serve(&self, mut connection: Connection, role: Role) -> Result<(), SessionError> {
        match role {
            Role::Client => self.client(connection),
            Role::Gateway => match &self.intake {
                Some(intake) => Ok(intake.serve(connection)?),
                None => Err(SessionError::Shelf(ShelfError::None)),
            },
            Role::Server1 if self.config.role == Role::Server0 => {
                let hello = match connection.recv(MAX_MESSAGE_BYTES)? {
                    PeerHello::Lane(hello) => hello,
                    PeerHello::Manifest => return reports::agree(self.intake.as_deref(), &mut connection),
                };
                let (session, lane) = (hello.session, hello.lane);
                let offered = self.lanes.offer(session, lane, (connection, hello), Role::Client, &mut |_| {});
                offered.map_err(|(error, mut connection)| {
                    // The send to a lost server fails.
                    let _ = connection.send(&Answer::Err(No::new(&error)));
                    let _ = connection.close();
                    error
                })
            }
            _ => Err(SessionError::Unexpected { from: role, wanted: "an order or a lane" }),
        }
    }

    /// Serves a client: runs a job, or answers a request about reports or releases.
    fn client(&self, mut client: Connection) -> Result<(), SessionError> {
        match client.recv(MAX_MESSAGE_BYTES)? {
            Ask::Train(order) => self.session(order, client),
            Ask::Releases { manifest } => {
                let result = releases::answer(
                    &self.ledger,
                    &self.config.policy,
                    manifest.map(|digest| (digest, self.manifest(&digest))),
                    &mut client,
                );
                let closed = client.close();
                result.and(closed.map_err(SessionError::from))
            }
            Ask::Models(request) => {
                let result = self.answer_models_request(request, &mut client);
                let closed = client.close();
                result.and(closed.map_err(SessionError::from))
            }
            Ask::Reports(request) => {
                let (intake, role) = (self.intake.as_deref(), self.config.role);
                let result = reports::answer(intake, role, request, &mut client, || {
                    self.reach(&Cancel::default(), Role::Server0)
                });
                let closed = client.close();
                result.and(closed.map_err(SessionError::from))
            }
        }
    }

    /// Answers a client's request about kept models. One that moves a share holds a place: it takes
    /// memory.
    fn answer_models_request(&self, request: ModelsRequest, client: &mut Connection) -> Result<(), SessionError> {
        let place = request.moves_share().then(|| self.place()).transpose();
        match place {
            Ok(_place) => {
                let about = request.change();
                models::answer(&self.models, &self.config, request, client)?;
                if let Some((done, model)) = &about {
                    (self.tell)(Notice::Model { done, model, client: client.serial() });
                }
                Ok(())
            }
            Err(error) => {
                let _ = client.send(&Answer::Err(No::new(&error))); // the error matters more
                Err(error)
            }
        }
    }

    /// Runs a client's session to its end and reports the end to the client.
    fn session(&self, order: Order, mut client: Connection) -> Result<(), SessionError> {
        let admitted = self.admit(&order, client.serial());
        let result = match admitted {
            Ok(Admitted { job, hash, plan, place: _place, account }) => {
                let started = Instant::now();
                (self.tell)(Notice::Begun { job: &job, hash });
                let cancel = Cancel::default();
                let Order { session: id, job: encoded, keep } = order;
                let serial = client.serial().to_owned();
                let session = Session { id, job: &job, encoded, keep, client: serial, plan, account: &account, cancel };
                let result = match job.numbers.ring_bits {
                    32 => self.run::<u32>(&session, &mut client),
                    _ => self.run::<u64>(&session, &mut client),
                };
                let result = account.end().map_err(SessionError::from).and(result);
                (self.tell)(Notice::Ended { job: &job, took: started.elapsed(), well: result.is_ok() });
                if let Err(error) = &result {
                    // The lost peer may be the client.
                    let _ = client.send(&Update::No(No::new(error)));
                }
                result
            }
            Err(error) => {
                client.send(&Answer::Err(No::new(&error)))?;
                Err(error)
            }
        };
        let closed = client.close();
        result.and(closed.map_err(SessionError::from))
    }

    /// The storage of a job's tables. A job with a memory limit was planned for the usual memory.
    fn storage(&self, job: &Job) -> Storage {
        Storage::new(StorageConfig { memory_bytes: self.data_memory(job), ..self.config.storage.clone() })
    }

    /// Bytes of memory for a job's tables.
    fn data_memory(&self, job: &Job) -> u64 {
        let own = self.config.storage.memory_bytes;
        job.training.memory_limit_mib.map_or(own, |_| own.min(StorageConfig::default().memory_bytes))
    }

    fn run<W: HostWord + Word>(&self, session: &Session<'_>, client: &mut Connection) -> Result<(), SessionError> {
        let storage = self.storage(session.job);
        // Creating the tables first reports a full disk before the client sends shares.
        let tables = match session.job.data.is_stored() {
            true => None,
            false => match Inputs::<W>::new(session.job, &storage) {
                Ok(tables) => Some(tables),
                Err(error) => {
                    let error = SessionError::from(error);
                    let _ = client.send(&Answer::Err(No::new(&error))); // the error matters more
                    return Err(error);
                }
            },
        };
        client.send(&Answer::Ok(()))?;
        let (role, idle) = (self.config.role, self.config.timeouts.idle);
        let sent = tables.map(|tables| receive_inputs(session, client, (role, idle), tables)).transpose()?;
        wipe_stack::<STACK_BYTES>(); // the seed of the data's shares
        let log = |alive: &Alive| (self.tell)(Notice::Waits { job: session.job, alive });
        let heart = Heart::new(client, self.config.role, self.config.timeouts.idle, session.cancel.clone(), &log);
        let trained = heart.beat_during(|| self.train::<W>(session, sent, &storage, &heart));
        let lost = heart.into_failure();
        // A lost client cancels the session, so that other connections fail too.
        let (report, parameters, kept) = trained.map_err(|error| lost.map_or(error, SessionError::from))?;
        let model = if session.job.reveal.model { W::bytes(&parameters).len() as u64 } else { 0 };
        client.set_transfer_limit(self.config.timeouts.idle, Instant::now(), model);
        if let Some(kept) = kept {
            client.send(&Update::Kept(kept))?;
        }
        client.send(&Update::Done(report))?;
        if session.job.reveal.model {
            client.send_bytes(W::bytes(&parameters))?;
        }
        Ok(())
    }

    /// Runs the job on this server's shares: the client's, or stored ones. Returns this server's
    /// share of the model, refreshed, and the version under which the model is kept.
    fn train<W: HostWord + Word>(
        &self,
        session: &Session<'_>,
        sent: Option<Inputs<W>>,
        storage: &Storage,
        heart: &Heart<'_>,
    ) -> Result<(Report, Secret<W>, Option<KeepOutcome>), SessionError> {
        let inputs = match (sent, &self.shelf) {
            (Some(inputs), _) => inputs,
            (None, Some(shelf)) => Inputs::stored(session.job, &**shelf, storage)?,
            (None, None) => return Err(SessionError::Shelf(ShelfError::None)),
        };
        let Met { prg, dealer, audit, mut streams, mut peers, veil } = self.meet(session, heart)?;
        let (job, lanes, plan) = (session.job, session.job.lanes.lanes, &session.plan);
        let fault = Fault::default();
        let received = streams.iter_mut().enumerate().map(|(lane, stream)| {
            let corrections = NetCorrections::new(stream.as_mut()?, fault.clone()).hashing(audit.lane(lane));
            Some(corrections.reporting(heart.activity().clone()))
        });
        let mut corrections: Vec<Option<_>> = received.collect();
        let arena = usize::try_from(plan.arena_bytes).unwrap_or(usize::MAX) / word_bytes::<W>();
        let own = (0u16..).zip(peers.iter_mut().zip(&mut corrections)).map(|(lane, (peer, corrections))| {
            let corrections = corrections.as_mut().map(|c| c as &mut (dyn Corrections<W> + Send));
            Some(Lane {
                link: Box::new(NetLink::new(peer, fault.clone()).reporting(heart.activity().clone())),
                correlations: Box::new(Source::new(&*prg, best::<W>(), lane, corrections)),
                trace: Box::new(NoTrace),
                arena: Secret::zeros(arena),
            })
        });
        let role = if self.config.role == Role::Server0 { Party::Server0 } else { Party::Server1 };
        let mut party = Lanes::new(role, best::<W>(), own.collect(), self.threads.unwrap_or(usize::from(lanes)))
            .choosing(veil.stream());
        heart.begin(Phase::Opening, plan.setup.bytes_each_way, None);
        let outputs = Outputs::new(job, session.account, &veil, self.config.role);
        let mut news = News::new(heart, plan, &dealer, outputs, audit);
        let ended = train::run(&mut party, job, inputs, train::Start::Fresh, &mut news);
        let count = party.count();
        drop(party);
        let mut parameters = ended.map(Secret::from).map_err(|halt| match halt {
            // What another lane lost may be a consequence.
            train::Halt::Protocol { error, step } => {
                if let Some(fault) = storage.take_fault() {
                    return SessionError::from(fault);
                }
                let (error, cause) = culprit(error, &fault, &dealer);
                SessionError::Protocol { error, step, cause }
            }
            train::Halt::Stopped => news.error.take().unwrap_or(SessionError::Stopped),
        })?;
        news.confirm()?;
        news.account_for_model()?;
        news.refresh_model(&mut parameters, session.keep.is_some());
        heart.begin(Phase::Ending, 0, Some(heart.other()));
        let kept = self.keep(session, heart, (news.epochs, &parameters), &mut peers)?;
        heart.begin(Phase::Ending, 0, Some(Role::Dealer));
        let report = Report {
            bytes_sent: count.bytes,
            rounds: count.rounds,
            seconds_train: news.seconds_train,
            peak_rss_bytes: peak_rss(),
            dealer: dealer.next()?,
        };
        Ok((report, parameters, kept))
    }

    /// Connects to dealer, auditor and the other server, and compares ledgers with the other
    /// server.
    #[inline(never)] // the stack below its frame is wiped here
    fn meet(&self, session: &Session<'_>, heart: &Heart<'_>) -> Result<Met, SessionError> {
        heart.begin(Phase::Joining, 0, Some(Role::Dealer));
        let Joined { prg, dealer, audit } = self.join(session, heart)?;
        // Before the servers meet, so that neither blames the other for the dealer's time.
        let streams = self.open_streams(session)?;
        heart.begin(Phase::Joining, 0, Some(heart.other()));
        let mut peers = self.meet_peer(session, &dealer)?;
        let veil = self.share_veil(session, &mut peers)?;
        wipe_stack::<STACK_BYTES>(); // the veil's seed
        self.compare_ledgers(session, &mut peers)?;
        Ok(Met { prg, dealer, audit, streams, peers, veil })
    }

    /// Opens one connection a lane between the servers. Server 0 waits for them as long as client,
    /// dealer and the first lanes stay connected.
    fn meet_peer(&self, session: &Session<'_>, dealer: &Helper) -> Result<Vec<Connection>, SessionError> {
        let (ours, Timeouts { connect, idle, .. }) = (session.plan.hash, self.config.timeouts);
        let check = |LaneHello { plan_hash: theirs, keep, .. }: LaneHello| {
            if theirs != ours {
                return Err(SessionError::Plan { peer: Role::Server1, ours: hex(&ours), theirs: hex(&theirs) });
            }
            if keep == session.keep { Ok(()) } else { Err(SessionError::Orders) }
        };
        // The other server may wait for the dealer, and is the one to report that: its time-out
        // comes first.
        let patience = idle + idle / 4;
        let mut met: Vec<Connection> = Vec::new();
        for lane in 0..session.job.lanes.lanes {
            if self.config.role == Role::Server0 {
                let mut go_on = |_| {
                    if session.cancel.is_cancelled() {
                        return Err(SessionError::Stopped);
                    }
                    dealer.check()?;
                    Ok(met.iter().try_for_each(Connection::check_peer)?)
                };
                let (mut connection, theirs) = self.lanes.fetch(session.id, lane, Role::Server1, &mut go_on)?;
                session.cancel.guard(connection.abort_handle());
                let answer = check(theirs);
                connection.send(&answer.as_ref().map_err(No::new))?;
                connection.set_idle_timeout(patience);
                answer?;
                met.push(connection);
                continue;
            }
            let (mut connection, keep) = (self.reach(&session.cancel, Role::Server0)?, session.keep.clone());
            connection.set_idle_timeout(connect + idle);
            connection.send(&PeerHello::Lane(LaneHello { session: session.id, lane, plan_hash: ours, keep }))?;
            let answer: Result<Answer, NetError> = connection.recv(MAX_MESSAGE_BYTES);
            if !matches!(answer, Ok(Ok(()))) {
                dealer.check()?; // server 0 may have waited for it
            }
            answer?.map_err(|no| no.from(Role::Server0))?;
            connection.set_idle_timeout(patience);
            met.push(connection);
        }
        Ok(met)
    }

    /// Shares the seed that refreshes output shares; the dealer must not know it.
    #[inline(never)] // the caller wipes the stack below its own frame
    fn share_veil(&self, session: &Session<'_>, peers: &mut [Connection]) -> Result<Veil, SessionError> {
        let wanted = SessionError::Unexpected { from: self.config.role, wanted: "a job with lanes" };
        let first = peers.first_mut().ok_or(wanted)?;
        let seed = match self.config.role {
            Role::Server0 => {
                let seed = VeilSeed(Zeroizing::new(*random_seed()?.expose()));
                first.send(&seed)?;
                seed
            }
            _ => first.recv(MAX_MESSAGE_BYTES)?,
        };
        Ok(Veil::new(&seed, &session.id, self.config.role))
    }

    /// Exchanges ledger entries about the client's releases with the other server, before this job
    /// releases anything.
    fn compare_ledgers(&self, session: &Session<'_>, peers: &mut [Connection]) -> Result<(), SessionError> {
        let Some(first) = peers.first_mut().filter(|_| session.job.data.is_stored()) else { return Ok(()) };
        let ours = session.account.standing()?;
        let theirs: Vec<Entry> = self.exchange(first, &ours, MAX_STANDING_BYTES)?;
        let missing = session.account.reconcile(&theirs, &|digest| self.manifest(digest))?;
        if missing > 0 {
            (self.tell)(Notice::LedgerBehind { missing });
        }
        Ok(())
    }

    /// Sends `ours` to the other server and receives its counterpart of at most `most` bytes: server
    /// 0 sends first.
    fn exchange<T: DeserializeOwned>(
        &self,
        peer: &mut Connection,
        ours: &impl Serialize,
        most: usize,
    ) -> Result<T, SessionError> {
        if self.config.role == Role::Server0 {
            peer.send(ours)?;
            return Ok(peer.recv(most)?);
        }
        let theirs = peer.recv(most)?;
        peer.send(ours)?;
        Ok(theirs)
    }

    /// Opens a connection to the dealer for each lane whose corrections this server receives.
    fn open_streams(&self, session: &Session<'_>) -> Result<Vec<Option<Connection>>, SessionError> {
        (0..session.job.lanes.lanes)
            .map(|lane| {
                if receiver(lane) != self.config.role {
                    return Ok(None);
                }
                let mut connection = self.reach(&session.cancel, Role::Dealer)?;
                connection.send(&DealerHello::Lane { session: session.id, lane })?;
                Ok(Some(connection))
            })
            .collect()
    }

    /// Connects to `peer`; `cancel` ends the attempt and aborts the connection.
    fn reach(&self, cancel: &Cancel, peer: Role) -> Result<Connection, SessionError> {
        let address = self.config.peer(peer)?;
        Ok(connect_until(cancel, address, &self.tls, peer, &self.config.timeouts)?)
    }
}
