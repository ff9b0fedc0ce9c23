//! The records that both servers hold, and how they agree on them.
//!
//! Server 1 proposes what it holds; server 0 keeps what it holds too, stores that and answers; server 1 checks that it holds all of it, and stores it. The
//! digest names the records for good: they are never taken away. Of manifests, a server keeps the last [`MOST_MANIFESTS`](super::store::MOST_MANIFESTS).
//!
//! A name is not enough: where a device's counter of boots went back, one server may hold one session under a boot's number and the other another, and their shares join to noise. So
//! each run of numbers names its session ([`StartHeader::session`](symbolon_core::report::header::StartHeader::session)) too, and what differs is left out.
//!
//! A manifest with labels pairs each record with one report about it: the last by name that server 1 holds, those of data owners (`labels = true` in the registry there) before the device's own.
//! Both servers then read the same label.
//!
//! - **Cost:** one message each way; a run of numbers takes some 36 bytes, twice that with labels. One walk at a time: [`IntakeError::Busy`].

use super::{
    Intake, IntakeError, hex,
    registry::Devices,
    store::{
        ABOUT, AboutKey, MANIFESTS, RECORDS, RecordKey, SCHEMAS, STARTS, StoreError, StoredStart, about_key, id_of,
        record_key,
    },
    wire::{MAX_REPLY_BYTES, Wanted},
};
use crate::net::Connection;
use redb::{ReadOnlyTable, ReadTransaction};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::RangeInclusive;
use symbolon_core::report::{
    header::{DeviceId, ReportId},
    schema::SchemaHash,
};

/// Records, in the order of their names.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Whose fields the records have.
    pub schema: SchemaHash,
    /// Whose fields the reports about them have, if these are part of it.
    pub labels: Option<SchemaHash>,
    /// The records.
    pub spans: Vec<Span>,
}

/// Reports of consecutive numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Who sent them.
    pub device: u64,
    /// In which boot.
    pub boot: u32,
    /// The first one's number.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Name of their session.
    session: SessionName,
    /// The report about the first; those about the others have the numbers that follow.
    label: Option<Label>,
}

/// Random name of a session ([`StartHeader::session`](symbolon_core::report::header::StartHeader::session)).
type SessionName = [u8; 16];

/// A report about another.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
struct Label {
    /// [`ReportId::to_bytes`].
    name: [u8; ReportId::ENCODED_BYTES],
    session: SessionName,
}

impl Span {
    /// A span without labels, of a session without a name.
    #[cfg(test)]
    pub(crate) fn unlabelled(device: u64, boot: u32, first: u32, count: u32) -> Self {
        Self { device, boot, first, count, session: SessionName::default(), label: None }
    }

    pub(super) fn start(&self) -> ReportId {
        ReportId { device: DeviceId(self.device), boot: self.boot, sequence: self.first }
    }

    /// The report about the first, if labels are part of the manifest.
    pub fn label(&self) -> Option<ReportId> {
        self.label.as_ref().map(|label| ReportId::from_bytes(&label.name))
    }

    /// Keys of the records in the table, when their schema has this number.
    pub(super) fn keys(&self, schema: u32) -> RangeInclusive<RecordKey> {
        keys(schema, self.start(), self.count)
    }

    /// Keys of the reports about them.
    pub(super) fn label_keys(&self, schema: u32) -> Option<RangeInclusive<RecordKey>> {
        self.label().map(|label| keys(schema, label, self.count))
    }

    fn ends_before(&self, next: &Self) -> bool {
        (self.device, self.boot, self.first + (self.count - 1)) < (next.device, next.boot, next.first)
    }
}

/// A report, and the session that it came in.
#[derive(Clone, Copy)]
struct Named {
    id: ReportId,
    session: SessionName,
}

/// Sessions of the starts that are here; the last one is remembered, since reports of a boot follow each other.
struct Sessions {
    starts: ReadOnlyTable<(u64, u32), &'static [u8]>,
    last: Option<((DeviceId, u32), SessionName)>,
}

impl Sessions {
    fn new(view: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Self { starts: view.open_table(STARTS)?, last: None })
    }

    /// The report's session, if its start is here.
    fn of(&mut self, id: ReportId) -> Result<Option<SessionName>, StoreError> {
        let boot = (id.device, id.boot);
        if let Some((_, session)) = self.last.filter(|(last, _)| *last == boot) {
            return Ok(Some(session));
        }
        let Some(start) = self.starts.get((id.device.0, id.boot))? else { return Ok(None) };
        let start = StoredStart::from_bytes(start.value()).ok_or(StoreError::Damaged("starts"))?;
        let session = start.header().ok_or(StoreError::Damaged("starts"))?.session;
        self.last = Some((boot, session));
        Ok(Some(session))
    }

    /// A report that is stored here, after its start.
    fn named(&mut self, id: ReportId) -> Result<Named, StoreError> {
        Ok(Named { id, session: self.of(id)?.ok_or(StoreError::Damaged("starts"))? })
    }
}

fn keys(schema: u32, first: ReportId, count: u32) -> RangeInclusive<RecordKey> {
    record_key(schema, &first)..=record_key(schema, &later(first, count.saturating_sub(1)))
}

fn later(id: ReportId, by: u32) -> ReportId {
    ReportId { sequence: id.sequence.saturating_add(by), ..id }
}

impl Manifest {
    fn new(schema: SchemaHash, labels: Option<SchemaHash>) -> Self {
        Self { schema, labels, spans: Vec::new() }
    }

    /// Appends a record.
    fn push(&mut self, Named { id, session }: Named, label: Option<Named>) {
        if let Some(last) = self.spans.last_mut() {
            let follows =
                |start: ReportId, id: ReportId| later(start, last.count) == id && id.sequence > start.sequence;
            let label_follows = match (last.label(), label) {
                (None, None) => true,
                (Some(start), Some(label)) => follows(start, label.id),
                _ => false,
            };
            if label_follows && follows(last.start(), id) {
                last.count += 1;
                return;
            }
        }
        let ReportId { device, boot, sequence } = id;
        let label = label.map(|Named { id, session }| Label { name: id.to_bytes(), session });
        self.spans.push(Span { device: device.0, boot, first: sequence, count: 1, session, label });
    }

    /// Whether a manifest can look like this: spans in order, apart, not empty, all with labels or none.
    fn is_sound(&self) -> bool {
        let fits = |first: u32, count: u32| first.checked_add(count - 1).is_some();
        let whole = |span: &Span| {
            span.count > 0
                && fits(span.first, span.count)
                && span.label.is_some() == self.labels.is_some()
                && span.label().is_none_or(|label| fits(label.sequence, span.count))
        };
        self.spans.iter().all(whole) && self.spans.is_sorted_by(|a, b| a.ends_before(b))
    }

    /// Names it for good: SHA-256 of its encoding.
    pub fn digest(&self) -> [u8; 32] {
        digest(&self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        // Encoding into memory cannot fail; a manifest that is none is unsound.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// How many records.
    pub fn records(&self) -> u64 {
        self.spans.iter().map(|span| u64::from(span.count)).sum()
    }

    /// Who sent each record, in order.
    pub fn senders(&self) -> impl Iterator<Item = DeviceId> {
        self.spans.iter().flat_map(|span| (0..span.count).map(|_| DeviceId(span.device)))
    }
}

fn digest(encoded: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(b"symbolon manifest v1").chain_update(encoded).finalize().into()
}

/// Number of a schema in this store and the bytes of its records.
pub(super) fn schema(view: &ReadTransaction, hash: &SchemaHash) -> Result<Option<(u32, u32)>, StoreError> {
    Ok(view.open_table(SCHEMAS)?.get(hash)?.map(|known| known.value()))
}

/// The first name that a report can have, and the last.
pub(super) const FIRST: ReportId = ReportId { device: DeviceId(0), boot: 0, sequence: 0 };
pub(super) const LAST: ReportId = ReportId { device: DeviceId(u64::MAX), boot: u32::MAX, sequence: u32::MAX };

/// What this server holds of what is wanted.
fn propose(view: &ReadTransaction, wanted: &Wanted, devices: &Devices) -> Result<Manifest, StoreError> {
    let mut manifest = Manifest::new(wanted.schema, wanted.labels);
    let Some((number, _)) = schema(view, &wanted.schema)? else { return Ok(manifest) };
    let records = view.open_table(RECORDS)?;
    let records = records.range::<&RecordKey>(&record_key(number, &FIRST)..=&record_key(number, &LAST))?;
    let (mut sessions, mut label_sessions) = (Sessions::new(view)?, Sessions::new(view)?);
    let Some(labels) = wanted.labels else {
        for record in records {
            manifest.push(sessions.named(id_of(record?.0.value()))?, None);
        }
        return Ok(manifest);
    };
    let Some((labels, _)) = schema(view, &labels)? else { return Ok(manifest) };
    let about = view.open_table(ABOUT)?;
    // Both are in the order of the records' names: one pass, the last label of each record wins, among owners' if there is one.
    let (first, last) = (about_key(labels, &FIRST, &FIRST), about_key(labels, &LAST, &LAST));
    let mut pairs = about.range::<&AboutKey>(&first..=&last)?;
    let mut next = || -> Result<Option<(ReportId, ReportId)>, StoreError> {
        let Some(pair) = pairs.next().transpose()? else { return Ok(None) };
        let key = pair.0.value();
        Ok(Some((id_of(&key[..20]), id_of(key))))
    };
    let is_owner = |label: &ReportId| devices.get(&label.device).is_some_and(|device| device.labels);
    let mut pair = next()?;
    for record in records {
        let id = id_of(record?.0.value());
        let mut label = None;
        while let Some((about, by)) = pair.filter(|(about, _)| *about <= id) {
            if about == id {
                label = label.max(Some((is_owner(&by), by)));
            }
            pair = next()?;
        }
        if let Some((_, label)) = label {
            manifest.push(sessions.named(id)?, Some(label_sessions.named(label)?));
        }
    }
    Ok(manifest)
}

/// What this server holds of a sound manifest.
fn held(view: &ReadTransaction, theirs: &Manifest) -> Result<Manifest, StoreError> {
    let mut ours = Manifest::new(theirs.schema, theirs.labels);
    let Some((number, _)) = schema(view, &theirs.schema)? else { return Ok(ours) };
    let labels = match &theirs.labels {
        None => None,
        Some(hash) => match schema(view, hash)? {
            None => return Ok(ours),
            known => known.map(|(number, _)| number),
        },
    };
    let (records, about) = (view.open_table(RECORDS)?, view.open_table(ABOUT)?);
    let (mut sessions, mut label_sessions) = (Sessions::new(view)?, Sessions::new(view)?);
    for span in &theirs.spans {
        let is_same = sessions.of(span.start())? == Some(span.session)
            && match (span.label(), &span.label) {
                (Some(id), Some(label)) => label_sessions.of(id)? == Some(label.session),
                _ => true,
            };
        if !is_same {
            continue;
        }
        let keys = span.keys(number);
        for record in records.range::<&RecordKey>(keys.start()..=keys.end())? {
            let id = id_of(record?.0.value());
            let label = span.label.as_ref().map(|label| {
                let first = ReportId::from_bytes(&label.name);
                Named { id: later(first, id.sequence - span.first), session: label.session }
            });
            let paired = match (labels, &label) {
                (Some(labels), Some(label)) => about.get(&about_key(labels, &id, &label.id))?.is_some(),
                _ => true,
            };
            if paired {
                ours.push(Named { id, session: span.session }, label);
            }
        }
    }
    Ok(ours)
}

/// Server 0 to server 1.
type Agreed = Result<Manifest, String>;

impl Intake {
    /// At server 1: makes a manifest with server 0, which has been told to [`Self::agree`].
    ///
    /// # Errors
    ///
    /// [`IntakeError::NoRecords`], [`IntakeError::Busy`]; if server 0 is lost or answers with anything but a part of the proposal; if it cannot be stored.
    pub fn freeze(&self, server0: &mut Connection, wanted: &Wanted) -> Result<Manifest, IntakeError> {
        self.freeze_with(wanted, |proposal| {
            server0.send(proposal)?;
            let agreed: Agreed = server0.recv(MAX_REPLY_BYTES)?;
            agreed.map_err(IntakeError::Peer)
        })
    }

    /// [`Self::freeze`] over whatever carries a proposal to [`Self::keep`] and the answer back.
    ///
    /// # Errors
    ///
    /// As [`Self::freeze`], and those of `agree`.
    pub fn freeze_with(
        &self,
        wanted: &Wanted,
        agree: impl FnOnce(&Manifest) -> Result<Manifest, IntakeError>,
    ) -> Result<Manifest, IntakeError> {
        let _walk = self.walk()?;
        let rules = self.rules();
        let proposal = self.store.read(|view| propose(view, wanted, &rules.devices))?;
        let agreed = agree(&proposal)?;
        let same = (agreed.schema, agreed.labels) == (proposal.schema, proposal.labels);
        if !same || !agreed.is_sound() || self.store.read(|view| held(view, &agreed))? != agreed {
            return Err(IntakeError::Manifest);
        }
        self.put(agreed)
    }

    /// At server 0: agrees on a manifest with server 1, which makes one.
    ///
    /// # Errors
    ///
    /// As [`Self::keep`], of which server 1 is told; if it is lost.
    pub fn agree(&self, server1: &mut Connection) -> Result<(), IntakeError> {
        let proposal: Manifest = server1.recv(MAX_REPLY_BYTES)?;
        let kept = self.keep(&proposal);
        let answer: Agreed = match &kept {
            Ok(manifest) => Ok(manifest.clone()),
            Err(error) => Err(error.to_string()),
        };
        server1.send(&answer)?;
        kept.map(drop)
    }

    /// Stores what this server holds of a proposal.
    ///
    /// # Errors
    ///
    /// [`IntakeError::Manifest`] if it is none, [`IntakeError::NoRecords`], [`IntakeError::Store`], [`IntakeError::Busy`].
    pub fn keep(&self, proposal: &Manifest) -> Result<Manifest, IntakeError> {
        let _walk = self.walk()?;
        if !proposal.is_sound() {
            return Err(IntakeError::Manifest);
        }
        let manifest = self.store.read(|view| held(view, proposal))?;
        self.put(manifest)
    }

    fn put(&self, manifest: Manifest) -> Result<Manifest, IntakeError> {
        if manifest.spans.is_empty() {
            return Err(IntakeError::NoRecords { schema: manifest.schema });
        }
        let encoded = manifest.encode();
        self.store.write(|tables| tables.put_manifest(&digest(&encoded), &encoded))?;
        Ok(manifest)
    }

    /// The manifest of this digest.
    ///
    /// # Errors
    ///
    /// [`IntakeError::NoManifest`], [`IntakeError::Store`].
    pub fn manifest(&self, digest: &[u8; 32]) -> Result<Manifest, IntakeError> {
        let stored = self.store.read(|view| stored(view, digest))?;
        stored.ok_or(IntakeError::NoManifest { digest: *digest })
    }
}

/// At a server 0 that has no intake: tells server 1, which makes a manifest.
///
/// # Errors
///
/// If server 1 is lost.
pub fn refuse(server1: &mut Connection, reason: &dyn std::error::Error) -> Result<(), IntakeError> {
    let _: Manifest = server1.recv(MAX_REPLY_BYTES)?;
    server1.send(&Agreed::Err(reason.to_string()))?;
    Ok(())
}

/// A stored manifest.
pub(super) fn stored(view: &ReadTransaction, digest: &[u8; 32]) -> Result<Option<Manifest>, StoreError> {
    let Some(stored) = view.open_table(MANIFESTS)?.get(digest)? else { return Ok(None) };
    postcard::from_bytes(stored.value()).map(Some).map_err(|_| StoreError::Damaged("manifests"))
}

/// The digest in hexadecimal, as commands take and print it.
pub fn print_digest(digest: &[u8; 32]) -> String {
    hex::print(digest)
}

/// The digest that [`print_digest`] wrote.
pub fn parse_digest(text: &str) -> Option<[u8; 32]> {
    hex::parse(text)
}
