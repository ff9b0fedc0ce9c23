//! One batch of parts: what is taken, what is refused, and why.
//!
//! Cheap checks come first, then the one that costs curve products; nothing that is not authentic changes more than a count. Curve products that came to nothing are counted: after
//! [`MOST_FAILURES`] of a batch, what needs more of them is put off, with a hint that is not final. Reports of sessions in memory need none.

use super::{
    answers::{Answers, Refusal},
    ledger::Ledger,
    queries::{Outcome, Predictions, Query},
    quota::Quotas,
    registry::Device,
    rules::Rules,
    sessions::{Session, Sessions},
    store::{Held, Record, StoreError, StoredStart, Tables, about_key, record_key},
    validity::UnixSeconds,
};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map::Entry},
};
use symbolon_core::report::{
    Reason,
    frame::Part,
    header::{DeviceId, Header, ReportId, StartHeader},
    schema::MAX_RECORD_BYTES,
    session::Receiver,
};
use zeroize::Zeroizing;

/// Keys that are tried in vain in a batch: a hundred curve products and more, some 10 ms, while all other batches wait.
const MOST_FAILURES: usize = 64;

/// A batch at work in a write transaction.
pub(super) struct Work<'a, 't> {
    pub(super) server: u8,
    pub(super) now_ms: u64,
    pub(super) now: UnixSeconds,
    pub(super) rules: &'a Rules,
    pub(super) sessions: &'a mut Sessions,
    pub(super) quotas: &'a mut Quotas,
    pub(super) tables: &'a mut Tables<'t>,
    pub(super) answers: &'a mut Answers,
    /// Devices of this batch, and units that each took from its quota.
    pub(super) touched: &'a mut BTreeMap<DeviceId, (Ledger, u64)>,
    /// Answers queries, if this server does.
    pub(super) predictions: Option<&'a dyn Predictions>,
    /// New queries, to be handed over once this is stored.
    pub(super) asked: &'a mut Vec<Query>,
    /// Curve products that came to nothing.
    pub(super) failures: usize,
}

/// Why a part ends here.
enum Stop {
    /// It is refused; the batch goes on.
    Refused(Refusal),
    /// The store failed; the batch ends.
    Store(StoreError),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason.into())
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The part of these bytes, and what it is of; number 0 for a start.
///
/// # Errors
///
/// If no answer can name it.
pub(super) fn parse(bytes: &[u8]) -> Result<(Part<'_>, ReportId), Reason> {
    let Ok((part, [])) = postcard::take_from_bytes(bytes) else { return Err(Reason::Malformed) };
    let id = match part {
        Part::Start { header, .. } => {
            let StartHeader { device, boot, .. } = StartHeader::parse(header)?;
            ReportId { device, boot, sequence: 0 }
        }
        Part::Report { header, .. } => Header::parse(header)?.id,
    };
    Ok((part, id))
}

impl<'a> Work<'a, '_> {
    /// Takes a part of a device that is known, or refuses it.
    pub(super) fn part(&mut self, part: &Part<'_>, id: ReportId) -> Result<(), StoreError> {
        let result = match part {
            Part::Start { server, header, .. } => self.start(*server, header, part, id),
            Part::Report { server, sealed, .. } => self.report(*server, sealed.len(), part, id),
        };
        match result {
            Ok(()) => Ok(()),
            Err(Stop::Refused(refusal)) => {
                self.answers.refuse(id, refusal);
                self.count(id.device, refusal.reason)
            }
            Err(Stop::Store(error)) => Err(error),
        }
    }

    /// Counts a refusal for the device.
    fn count(&mut self, device: DeviceId, reason: Reason) -> Result<(), StoreError> {
        self.ledger(device)?.refuse(reason);
        Ok(())
    }

    /// Takes one unit of the device's quota.
    fn charge(&mut self, device: &Device, id: DeviceId) -> Result<bool, StoreError> {
        let Some(rate) = device.reports_per_hour else { return Ok(true) };
        self.ledger(id)?; // from here on it is touched
        if !self.quotas.take(id, rate, self.now_ms) {
            return Ok(false);
        }
        if let Some((_, taken)) = self.touched.get_mut(&id) {
            *taken += 1;
        }
        Ok(true)
    }

    /// Whether curve products may be spent on a part that may be forged.
    fn has_patience(&self) -> Result<(), Reason> {
        if self.failures < MOST_FAILURES { Ok(()) } else { Err(Reason::Quota) }
    }

    fn ledger(&mut self, device: DeviceId) -> Result<&mut Ledger, StoreError> {
        match self.touched.entry(device) {
            Entry::Occupied(entry) => Ok(&mut entry.into_mut().0),
            Entry::Vacant(entry) => Ok(&mut entry.insert((self.tables.ledger(device)?, 0)).0),
        }
    }

    /// The device, if it may send this server anything.
    fn device(&self, server: u8, id: DeviceId) -> Result<&'a Device, Reason> {
        let device = self.rules.device(id)?;
        if server == self.server { Ok(device) } else { Err(Reason::OtherServer) }
    }

    fn start(&mut self, server: u8, header: &[u8], part: &Part<'_>, id: ReportId) -> Result<(), Stop> {
        let (device, rules) = (self.device(server, id.device)?, self.rules);
        let header = StartHeader::parse(header)?;
        let schema = rules.schema(device, &header.schema)?;
        let server_key = header.keys[usize::from(self.server)];
        let secret = rules.key(server_key, self.now)?;
        match self.tables.start(id.device, id.boot)? {
            // As before: the answer was lost, or somebody repeats it; both may have it again.
            Some(known) if known.part(server) == *part => {
                self.session(id)?;
                self.answers.confirm(id.device, id.boot);
                return Ok(());
            }
            Some(_) => return Err(Reason::ReplayedBoot.into()),
            None => {}
        }
        if self.ledger(id.device)?.newest_boot.is_some_and(|newest| id.boot <= newest) {
            return Err(Reason::ReplayedBoot.into());
        }

        let mut keys = device.keys(self.now).peekable();
        keys.peek().ok_or(Reason::Revoked)?;
        self.has_patience()?;
        let mut accepted = None;
        for key in keys {
            match Receiver::accept(self.server, secret, key, part) {
                Ok(receiver) => {
                    accepted = Some((receiver, *key));
                    break;
                }
                Err(_) => self.failures += 1,
            }
        }
        let (receiver, device_key) = accepted.ok_or(Reason::Forged)?;
        // Each start stays in the store: a device that starts on and on fills it no faster than with reports.
        if !self.charge(device, id.device)? {
            self.failures += 1;
            return Err(Reason::Quota.into());
        }

        let stored = StoredStart::new(part, device_key).ok_or(Reason::Malformed)?;
        self.tables.put_start(id.device, id.boot, &stored)?;
        let layout = *schema.layout();
        let number = self.tables.schema(&header.schema, layout.record_bytes())?;
        let now_ms = self.now_ms;
        let ledger = self.ledger(id.device)?;
        ledger.newest_boot = Some(id.boot);
        ledger.last_ms = ledger.last_ms.max(now_ms);
        let (started, schema) = (header.session, header.schema);
        let session = Session { receiver, started, schema, number, layout, device_key, server_key };
        self.sessions.insert(id.device, id.boot, session);
        self.answers.confirm(id.device, id.boot);
        Ok(())
    }

    fn report(&mut self, server: u8, sealed: usize, part: &Part<'_>, id: ReportId) -> Result<(), Stop> {
        let device = self.device(server, id.device)?;
        if sealed > MAX_RECORD_BYTES {
            return Err(Reason::Length.into());
        }
        let is_derived = self.sessions.peek(id.device, id.boot).is_none();
        let session = self.session(id)?;
        let mut share = [0; MAX_RECORD_BYTES];
        let share = &mut share[..session.layout.record_bytes()];
        let header = match session.receiver.open(&session.layout, part, share) {
            Ok(header) => header,
            Err(reason) => {
                self.failures += usize::from(is_derived);
                return Err(reason.into());
            }
        };

        // From here on it is the device's own word.
        let (number, schema) = (session.number, session.schema);
        if id.is_query() {
            let (started, share) = (session.started, Zeroizing::new(share.to_vec()));
            return self.query(device, Query { id, started, schema, share });
        }
        let authentic = |reason| Stop::Refused(Refusal { reason, authentic: true });
        let (key, record) = (record_key(number, &id), Record::encode(header.time_ms, share, header.about));
        match self.tables.held(&key, &record)? {
            Held::Other => return Err(authentic(Reason::ReplayedSequence)),
            Held::Same => {
                let ledger = self.ledger(id.device)?;
                ledger.duplicates = ledger.duplicates.saturating_add(1);
            }
            Held::No => {
                if let Some(about) = header.about {
                    self.may_label(device, id.device, &schema, about)?.map_err(authentic)?;
                }
                if !self.charge(device, id.device)? {
                    return Err(authentic(Reason::Quota));
                }
                self.tables.put_record(&key, &record)?;
                if let Some(about) = header.about {
                    self.tables.put_about(&about_key(number, &about, &id))?;
                }
                let now_ms = self.now_ms;
                let ledger = self.ledger(id.device)?;
                ledger.stored = ledger.stored.saturating_add(1);
                ledger.hear(&header, now_ms);
            }
        }
        self.answers.hold(id);
        Ok(())
    }

    /// Takes an authentic query, or answers one that came before.
    fn query(&mut self, device: &Device, query: Query) -> Result<(), Stop> {
        let (id, authentic) = (query.id, |reason| Stop::Refused(Refusal { reason, authentic: true }));
        let predictions = self.predictions.ok_or_else(|| authentic(Reason::NoModel))?;
        match (id.boot, id.sequence).cmp(&self.tables.newest_query(id.device)?) {
            Ordering::Less => Err(authentic(Reason::ReplayedQuery)),
            // Twice in this batch: it is handed over below.
            Ordering::Equal if self.asked.iter().any(|asked| asked.id == id) => Ok(()),
            Ordering::Equal => match predictions.outcome(&id) {
                None => Err(authentic(Reason::ReplayedQuery)),
                Some(Outcome::Refused(reason)) => Err(authentic(reason)),
                Some(Outcome::Waits) => Ok(()),
                Some(Outcome::Answered(answer)) => {
                    self.answers.predict(id, answer);
                    Ok(())
                }
            },
            Ordering::Greater => {
                if !self.charge(device, id.device)? {
                    return Err(authentic(Reason::Quota));
                }
                self.tables.put_query(&id)?;
                let now_ms = self.now_ms;
                let ledger = self.ledger(id.device)?;
                ledger.last_ms = ledger.last_ms.max(now_ms);
                self.asked.push(query);
                Ok(())
            }
        }
    }

    /// Whether a device may send a label about this report: about its own, or as a data owner; and for the same task, as far as the report's boot is known here. Without the
    /// schema of that boot, which an operator may have taken away for a moment, it is undecided: [`Reason::Schema`], which is not final.
    fn may_label(
        &self,
        device: &Device,
        own: DeviceId,
        schema: &[u8; 32],
        about: ReportId,
    ) -> Result<Result<(), Reason>, StoreError> {
        if about.sequence == 0 || (about.device != own && !device.labels) {
            return Ok(Err(Reason::About));
        }
        let Some(start) = self.tables.start(about.device, about.boot)? else { return Ok(Ok(())) };
        let Part::Start { header, .. } = start.part(self.server) else { return Ok(Err(Reason::About)) };
        let Ok(other) = StartHeader::parse(header) else { return Ok(Err(Reason::About)) };
        let task = |hash| self.rules.known_schema(hash).map(|schema| schema.task());
        Ok(match (task(&other.schema), task(schema)) {
            (Some(other), Some(own)) if other == own => Ok(()),
            (Some(_), Some(_)) => Err(Reason::About),
            _ => Err(Reason::Schema),
        })
    }

    /// The session of this boot, which may have to be derived again; permitted now.
    fn session(&mut self, id: ReportId) -> Result<&Session, Stop> {
        let device = self.rules.device(id.device)?;
        if self.sessions.get(id.device, id.boot).is_none() {
            let start = self.tables.start(id.device, id.boot)?.ok_or(Reason::NoSession)?;
            self.has_patience()?;
            let session = self.derive(device, &start)?;
            self.sessions.insert(id.device, id.boot, session);
        }
        let session = self.sessions.peek(id.device, id.boot).ok_or(Reason::NoSession)?;
        self.rules.schema(device, &session.schema)?;
        self.rules.key(session.server_key, self.now)?;
        if device.has_key(&session.device_key, self.now) { Ok(session) } else { Err(Reason::Revoked.into()) }
    }

    /// The session of a start that was accepted before.
    fn derive(&mut self, device: &Device, start: &StoredStart) -> Result<Session, Stop> {
        let part = start.part(self.server);
        let Part::Start { header, .. } = part else { return Err(Reason::NoSession.into()) };
        let header = StartHeader::parse(header)?;
        let schema = self.rules.schema(device, &header.schema)?;
        let server_key = header.keys[usize::from(self.server)];
        let secret = self.rules.key(server_key, self.now)?;
        let layout = *schema.layout();
        let receiver = Receiver::accept(self.server, secret, &start.key, &part)?;
        let number = self.tables.schema(&header.schema, layout.record_bytes())?;
        let (started, schema, device_key) = (header.session, header.schema, start.key);
        Ok(Session { receiver, started, schema, number, layout, device_key, server_key })
    }

    /// Writes what became of the devices.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        for (device, (ledger, _)) in &*self.touched {
            self.tables.put_ledger(*device, ledger)?;
        }
        Ok(())
    }
}
