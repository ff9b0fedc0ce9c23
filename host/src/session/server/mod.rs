//! A server: it takes jobs, runs them with its peers, and lets clients watch them.
//!
//! | module | what |
//! | --- | --- |
//! | `admission` | policy, schema, plan and ledger, before a job is taken; places for runs |
//! | `audit` | the auditor's agreement, before outputs leave |
//! | `board` | what runs tell, and clients see |
//! | `device_queries` | devices' queries, and the answers that wait for them |
//! | `dealing` | joining a session at dealer and auditor |
//! | `heartbeats` | the heartbeats of a run |
//! | `inputs` | the client's data: received, stored, read |
//! | `keeping` | the model's share, kept once both servers agree |
//! | `listing` | a client's list of its jobs |
//! | `meeting` | the start of a session: dealer, auditor, the other server |
//! | `missing` | jobs at server 0 that never arrived at server 1 |
//! | `orders` | a client's order |
//! | `outputs` | a run's checkpoints, and the shares of an epoch's outputs |
//! | `predictions` | clients that ask for predictions |
//! | `results` | the results of a job, and their release |
//! | `run` | a run: peers, training, results |
//! | `runs` | the queue, and the agreement of both servers on a run |
//! | `serving_session` | a session of predictions: peers, weights, batches |
//! | `served_models` | the models that answer predictions |
//! | `watch` | clients that watch their jobs |

mod admission;
mod audit;
mod board;
mod dealing;
mod device_queries;
mod heartbeats;
mod initial;
mod inputs;
mod keeping;
mod listing;
mod meeting;
mod missing;
mod orders;
mod outputs;
mod predictions;
mod results;
mod run;
mod runs;
mod served_models;
mod serving_session;
mod watch;

use super::{
    SessionError, SessionId,
    heartbeat::Alive,
    message::{Answer, Ask, LaneHello, MAX_MESSAGE_BYTES, ModelsRequest, No, PeerHello, Work},
    models, releases,
    rendezvous::Rendezvous,
    reports,
};
use crate::{
    data::{Shelf, ShelfError},
    engine::plan::Plan,
    intake::Intake,
    job::Job,
    job_store::{JobId, JobStore, JobStoreError, StoredJob},
    model_store::{ModelStore, ModelVersion},
    net::{Cancel, ClientTls, Config, Connection, Role, connect_until},
    release::ledger::{Account, Entry, Ledger, LedgerError, MAX_STANDING_BYTES, Quotas},
    storage::{Storage, StorageConfig},
    train::{AnswerKind, Position, Serving},
};
use admission::Taken;
use board::Board;
use device_queries::DeviceQueries;
pub(super) use inputs::{MAX_LENGTHS, piece_words, table_stream};
use meeting::Meeting;
use serde::{Serialize, de::DeserializeOwned};
use served_models::Served;
use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

/// The boards of jobs that have not ended.
type Boards = HashMap<JobId, Arc<Board>>;

/// A server for any number of sessions.
pub struct Server {
    config: Config,
    tls: ClientTls,
    /// At server 0: server 1's connections.
    lanes: Rendezvous<u16, LaneHello>,
    places: Arc<Mutex<Taken>>,
    threads: Option<usize>,
    /// The source of stored reports; `None` if this server has none.
    shelf: Option<Arc<dyn Shelf>>,
    /// The intake of reports; `None` if this server takes none.
    intake: Option<Arc<Intake>>,
    ledger: Ledger,
    models: ModelStore,
    jobs: JobStore,
    /// Models that answer predictions, and what clients may ask them today.
    served: Served,
    quotas: Quotas,
    device_queries: Arc<DeviceQueries>,
    boards: Mutex<Boards>,
    /// Whether the queue has something to look at.
    queue: (Mutex<bool>, Condvar),
    tell: Box<dyn Fn(Notice<'_>) + Send + Sync>,
}

/// An event of a server's jobs, for the operator's log.
#[derive(Debug)]
pub enum Notice<'a> {
    /// A run of a job begins.
    Begun {
        /// The job.
        job: &'a Job,
        /// Its number, at a server.
        number: Option<&'a JobId>,
        /// Its hash, as policies list it.
        hash: [u8; 32],
        /// The position from which it goes on.
        position: Position,
    },
    /// A run lost a peer, or a disk was full: the job will be tried again.
    Again {
        /// The job.
        job: &'a JobId,
        /// The reason.
        error: &'a SessionError,
    },
    /// A job ended without results, or is interrupted.
    Failed {
        /// The job.
        job: &'a JobId,
        /// The reason.
        error: &'a SessionError,
    },
    /// The outputs of a job, or an interrupted job, were deleted after the stated time.
    JobExpired {
        /// The job.
        job: &'a JobId,
    },
    /// A checkpoint could not be stored; the job goes on without it.
    Unstored {
        /// The job.
        job: &'a JobId,
        /// The reason.
        error: &'a JobStoreError,
    },
    /// A session of predictions begins, at this server once it takes rows.
    Serves {
        /// The model's job.
        job: &'a Job,
    },
    /// A session of predictions has ended.
    Served {
        /// The model's job.
        job: &'a Job,
        /// The time since it began.
        took: Duration,
    },
    /// A session of predictions failed, or did not begin; it is tried again.
    NotServed {
        /// The model.
        model: &'a ModelVersion,
        /// The reason.
        error: &'a SessionError,
    },
    /// A run ended.
    Ended {
        /// The job.
        job: &'a Job,
        /// Its number, at a server.
        number: Option<&'a JobId>,
        /// The time since the run began.
        took: Duration,
        /// Whether the job is done.
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
        job: &'a JobId,
        /// Its phase, and the role for which it waits.
        alive: &'a Alive,
    },
}

/// The parts of a session beside its connections to other roles.
struct Session<'a> {
    id: SessionId,
    stored: &'a StoredJob,
    job: &'a Job,
    /// The position from which the job goes on.
    position: Position,
    /// Training from there on.
    work: Work,
    /// Of that.
    plan: Plan,
    account: &'a Account,
    board: &'a Board,
    /// Cancels the connections and waits of the session.
    cancel: Cancel,
}

impl<'a> Session<'a> {
    /// The session as other roles meet it.
    fn meeting(&'a self) -> Meeting<'a> {
        Meeting {
            id: self.id,
            job: self.job,
            encoded: &self.stored.encoded,
            work: &self.work,
            plan_hash: self.plan.hash,
            lanes: self.job.lanes.lanes,
            peers: self.job.lanes.lanes,
            cancel: &self.cancel,
        }
    }

    /// Whether the model leaves the job: to the client, or to the store of models.
    fn model_leaves(&self) -> bool {
        self.job.reveal.model || self.stored.keep.is_some()
    }
}

impl Server {
    /// Makes the server that `config` describes. It connects to others as `tls` and runs at most
    /// `threads` lanes of a job at once.
    ///
    /// # Errors
    ///
    /// If the ledger, the store of models or the store of jobs cannot be used.
    pub fn new(config: Config, tls: ClientTls, threads: Option<usize>) -> Result<Self, SessionError> {
        Serving { answer: AnswerKind::Class, batches: config.serve.batches.clone() }.check_batches()?;
        let (lanes, places) = (Rendezvous::new(config.timeouts.connect), Arc::default());
        let ledger = Ledger::open(&config.policy_files.ledger).map_err(LedgerError::Store)?;
        let models = ModelStore::open(&config.models, config.role, tls.deployment())?;
        let jobs = JobStore::open(&config.jobs, config.role)?;
        let (shelf, intake, tell) = (None, None, Box::new(|_: Notice<'_>| {}));
        let (boards, queue) = (Mutex::default(), (Mutex::new(false), Condvar::new()));
        let (served, quotas) = (Served::default(), Quotas::default());
        let server = Self {
            lanes,
            config,
            tls,
            places,
            threads,
            shelf,
            intake,
            ledger,
            models,
            jobs,
            served,
            quotas,
            device_queries: Arc::default(),
            boards,
            queue,
            tell,
        };
        server.recover()?;
        Ok(server)
    }

    /// Adds `shelf`: jobs may then learn from its reports.
    #[must_use]
    pub fn with_shelf(self, shelf: Arc<dyn Shelf>) -> Self {
        Self { shelf: Some(shelf), ..self }
    }

    /// Adds an intake: the server takes reports from gateways, and jobs learn from the stored ones.
    /// Models that are published for devices answer their queries.
    #[must_use]
    pub fn with_intake(self, intake: Arc<Intake>) -> Self {
        let shelf: Arc<dyn Shelf> = intake.clone();
        intake.answer_by(self.device_queries.clone());
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
                    PeerHello::Run(proposal) => return self.follow(proposal, connection),
                    PeerHello::Ended { job, state } => return self.ended_at_server1(&job, state),
                    PeerHello::Missing => return self.end_missing(connection),
                    PeerHello::Serve(proposal) => return self.follow_serving(proposal, connection),
                };
                let (session, lane) = (hello.session, hello.lane);
                let offered = self.lanes.offer(session, lane, (connection, hello), Role::Server1, &mut |_| {});
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

    /// Serves a client: takes a job, or answers a request.
    fn client(&self, mut client: Connection) -> Result<(), SessionError> {
        match client.recv(MAX_MESSAGE_BYTES)? {
            Ask::Train(order) => self.order(order, client),
            Ask::Jobs(request) => self.jobs_request(request, client),
            Ask::Predict { owner, model } => {
                let result = self.predict(owner, model, &mut client);
                let closed = client.close();
                result.and(closed.map_err(SessionError::from))
            }
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
        let place = request.moves_share().then(|| self.place(0)).transpose();
        match place {
            Ok(_place) => {
                let about = request.change();
                if let ModelsRequest::Publish { model, terms, .. } = &request
                    && let Err(error) = self.check_terms(model, terms, client.serial())
                {
                    client.send(&Answer::Err(No::new(&error)))?;
                    return Err(error);
                }
                let answered = models::answer(&self.models, &self.config, request, client);
                if let Some((_, model)) = &about {
                    // Also if the client has not heard of it: the store has changed.
                    let key = (client.serial().to_owned(), model.clone());
                    self.served.end(&key);
                    self.served.forget_attempts(&key);
                    self.wake_queue();
                }
                answered?;
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

    /// The storage of a job's tables. A job with a memory limit was planned for the usual memory.
    fn storage(&self, job: &Job) -> Storage {
        Storage::new(StorageConfig { memory_bytes: self.data_memory(job), ..self.config.storage.clone() })
    }

    /// Bytes of memory for a job's tables.
    fn data_memory(&self, job: &Job) -> u64 {
        let own = self.config.storage.memory_bytes;
        job.training.memory_limit_mib.map_or(own, |_| own.min(StorageConfig::default().memory_bytes))
    }

    /// Tells that a checkpoint could not be stored.
    fn tell_unstored(&self, job: &JobId, error: &JobStoreError) {
        (self.tell)(Notice::Unstored { job, error });
    }

    /// Exchanges ledger entries about the client's releases with the other server, before this job
    /// releases anything.
    fn compare_ledgers(&self, session: &Session<'_>, control: &mut Connection) -> Result<(), SessionError> {
        if !session.job.data.is_stored() {
            return Ok(());
        }
        let ours = session.account.standing()?;
        let theirs: Vec<Entry> = self.exchange(control, &ours, MAX_STANDING_BYTES)?;
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

    /// Connects to `peer`; `cancel` ends the attempt and aborts the connection.
    fn reach(&self, cancel: &Cancel, peer: Role) -> Result<Connection, SessionError> {
        let address = self.config.peer(peer)?;
        Ok(connect_until(cancel, address, &self.tls, peer, &self.config.timeouts)?)
    }
}
