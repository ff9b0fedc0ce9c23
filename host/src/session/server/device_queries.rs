//! Devices' queries: from the intake to the session of the model that answers devices of their
//! schema, and the answers that wait for the devices.
//!
//! The intake never waits for a peer: it leaves queries here, and a thread finds their model, takes
//! them from the model's quota, and tells server 1 of them. An answer stays for [`KEEP`], or until
//! the device's next query.

use super::{Server, served_models::OpenSession};
use crate::{
    intake::queries::{Answer, Outcome, Predictions, Query},
    job::{Format, Job},
    model_store::Askers,
    session::{
        PredictError, SessionError,
        batch_queue::{QueryId, Waiting},
        message::QueryEvent,
        random_bytes,
    },
    train::AnswerKind,
};
use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use symbolon_core::{
    report::{
        Reason,
        header::{DeviceId, ReportId},
        question::Part,
        schema::SchemaHash,
    },
    word::Word,
};
use zeroize::Zeroizing;

/// The time for which a query and its answer are kept: devices ask again within seconds.
const KEEP: Duration = Duration::from_secs(60);
/// Most queries that wait for the thread.
const MOST_WAITING: usize = 1024;
/// The time between two looks for forgotten queries.
const SWEEP: Duration = Duration::from_secs(1);

/// The newest query of each device, of those that the intake knows.
#[derive(Default)]
pub(super) struct DeviceQueries {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asked: HashMap<DeviceId, Asked>,
    waiting: VecDeque<Query>,
    /// Posted queries that no device waits for.
    left: Vec<Posted>,
    /// When forgotten queries were last looked for.
    swept: Option<Instant>,
}

struct Asked {
    id: ReportId,
    since: Instant,
    progress: Progress,
}

enum Progress {
    /// It waits for the thread.
    Waits,
    /// Its model's session has it.
    Posted(Posted),
    Answered(Answer),
    Refused(Reason),
}

/// A query in a model's session.
struct Posted {
    open: Arc<OpenSession>,
    query: QueryId,
    /// Before its shares: the head of a part.
    head: [u8; Part::HEAD_BYTES],
    /// The time after which it is late.
    late: Duration,
}

impl Posted {
    /// Takes the answer, if it has come.
    fn outcome(&self) -> Option<Result<Answer, Reason>> {
        match self.open.queue.answers(&self.query, [Duration::ZERO, self.late]) {
            Waiting::Waits => None,
            Waiting::Late | Waiting::Ended => Some(Err(Reason::Unanswered)),
            Waiting::Answered(shares) => {
                let part = Zeroizing::new([&self.head, &shares[..]].concat());
                let nonce = random_bytes().map_err(|_| Reason::Unanswered);
                Some(nonce.map(|nonce| Answer { nonce, part }))
            }
        }
    }

    /// Gives the query up, at server 1 too.
    fn withdraw(&self) {
        self.open.queue.withdraw(&self.query);
        let _ = self.open.tell(&QueryEvent::Gone(self.query.clone())); // otherwise the session ends
    }
}

impl DeviceQueries {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for queries for at most [`SWEEP`]. Returns them, and those to withdraw.
    fn next(&self) -> (VecDeque<Query>, Vec<Posted>) {
        let is_idle = |state: &mut State| state.waiting.is_empty() && state.left.is_empty();
        let waited = self.changed.wait_timeout_while(self.lock(), SWEEP, is_idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if state.swept.is_none_or(|swept| swept.elapsed() >= SWEEP) {
            state.swept = Some(Instant::now());
            let forgotten = state.asked.extract_if(|_, asked| asked.since.elapsed() >= KEEP);
            state.left.extend(forgotten.filter_map(|(_, asked)| asked.progress.posted()));
        }
        (std::mem::take(&mut state.waiting), std::mem::take(&mut state.left))
    }

    /// Notes what became of a query; a newer one may have replaced it.
    fn note(&self, id: ReportId, posted: Result<Posted, Reason>) {
        let mut state = self.lock();
        match (state.asked.get_mut(&id.device).filter(|asked| asked.id == id), posted) {
            (Some(asked), Ok(posted)) => asked.progress = Progress::Posted(posted),
            (Some(asked), Err(reason)) => asked.progress = Progress::Refused(reason),
            (None, Ok(posted)) => state.left.push(posted),
            (None, Err(_)) => {}
        }
    }
}

impl Progress {
    fn posted(self) -> Option<Posted> {
        if let Self::Posted(posted) = self { Some(posted) } else { None }
    }
}

impl Predictions for DeviceQueries {
    fn ask(&self, query: Query) {
        let (id, mut state) = (query.id, self.lock());
        // A device has one question at a time: it cannot fill the queue.
        state.waiting.retain(|waiting| waiting.id.device != id.device);
        let is_full = state.waiting.len() >= MOST_WAITING;
        let progress = if is_full { Progress::Refused(Reason::Unanswered) } else { Progress::Waits };
        let before = state.asked.insert(id.device, Asked { id, since: Instant::now(), progress });
        let left = before.and_then(|asked| asked.progress.posted());
        state.left.extend(left);
        if !is_full {
            state.waiting.push_back(query);
        }
        self.changed.notify_all();
    }

    fn outcome(&self, id: &ReportId) -> Option<Outcome> {
        let mut state = self.lock();
        let asked = state.asked.get_mut(&id.device).filter(|asked| asked.id == *id)?;
        if let Progress::Posted(posted) = &asked.progress
            && let Some(outcome) = posted.outcome()
        {
            let progress = outcome.map_or_else(Progress::Refused, Progress::Answered);
            let posted = std::mem::replace(&mut asked.progress, progress).posted();
            state.left.extend(posted);
        }
        Some(match &state.asked.get(&id.device)?.progress {
            Progress::Waits | Progress::Posted(_) => Outcome::Waits,
            Progress::Answered(answer) => Outcome::Answered(answer.clone()),
            Progress::Refused(reason) => Outcome::Refused(*reason),
        })
    }
}

impl Server {
    /// Hands devices' queries over to the sessions of their models. Does not return.
    pub(super) fn answer_devices(&self) {
        loop {
            let (queries, left) = self.device_queries.next();
            left.iter().for_each(Posted::withdraw);
            for query in queries {
                // A panic ends this query alone: the state that it leaves is that of the stores.
                let posted = catch_unwind(AssertUnwindSafe(|| self.post_query(&query)));
                let posted = posted.unwrap_or(Err(Reason::Unanswered));
                self.device_queries.note(query.id, posted);
            }
        }
    }

    /// Posts a query in the session of its schema's model.
    fn post_query(&self, query: &Query) -> Result<Posted, Reason> {
        let (job, open) = self.devices_model(&query.schema)?;
        let Format::Reports(reports) = &job.data.format else { return Err(Reason::NoModel) };
        if query.share.len() != reports.records.bytes as usize {
            return Err(Reason::NoModel); // its job is of another schema than it says
        }
        let data = match job.numbers.ring_bits {
            32 => row::<u32>(&job, |row| reports.codes(&query.share, row)),
            _ => row::<u64>(&job, |row| reports.codes(&query.share, row)),
        };
        let device = format!("device:{}", query.id.device);
        self.spend(&open, &device, 1).map_err(|error| match error {
            SessionError::Predict(PredictError::Quota { .. }) => Reason::Quota,
            _ => Reason::Unanswered,
        })?;
        // Shares of two starts of one boot must not be joined.
        let mut number = query.started;
        number[12..].copy_from_slice(&query.id.sequence.to_le_bytes());
        let id = QueryId { client: device, number };
        open.queue.post(&id, data).map_err(|_| Reason::Unanswered)?;
        let frac_bits = match open.terms.answer {
            AnswerKind::Class | AnswerKind::Top { .. } => Part::CLASSES,
            AnswerKind::Values { frac_bits } => u8::try_from(frac_bits).unwrap_or(Part::CLASSES),
        };
        let head = [frac_bits, u8::try_from(job.numbers.ring_bits / 8).unwrap_or(8)];
        let crate::net::Timeouts { connect, idle, .. } = self.config.timeouts;
        let posted = Posted { open, query: id, head, late: (connect + idle).min(KEEP / 2) };
        match posted.open.tell(&QueryEvent::Arrived { query: posted.query.clone(), rows: 1 }) {
            Ok(()) => Ok(posted),
            Err(_) => {
                posted.open.queue.withdraw(&posted.query);
                Err(Reason::Unanswered)
            }
        }
    }

    /// The session of the one model that is published for devices of this schema.
    fn devices_model(&self, schema: &SchemaHash) -> Result<(Job, Arc<OpenSession>), Reason> {
        let unanswered = |_| Reason::Unanswered;
        let mut found = None;
        for key in self.models.served().map_err(unanswered)? {
            let terms = self.models.terms(&key.1, &key.0).map_err(unanswered)?;
            if terms.is_none_or(|terms| terms.askers != Askers::Devices) {
                continue;
            }
            let Ok((_, terms, job)) = self.terms_of(&key) else { continue };
            let is_own = matches!(&job.data.format, Format::Reports(reports) if reports.records.schema == *schema);
            if is_own && found.replace((key, terms, job)).is_some() {
                return Err(Reason::NoModel);
            }
        }
        let (key, terms, job) = found.ok_or(Reason::NoModel)?;
        let open = self.served.session(&key).filter(|open| open.terms == terms).ok_or(Reason::Unanswered)?;
        Ok((job, open))
    }
}

/// The bytes of a row of codes.
fn row<W: Word>(job: &Job, write: impl FnOnce(&mut [W])) -> Zeroizing<Vec<u8>> {
    let mut row = Zeroizing::new(vec![W::default(); job.data.features()]);
    write(&mut row);
    Zeroizing::new(W::bytes(&row).to_vec())
}
