//! A client's data at this server: a seed at server 0, words at server 1. They go to the job's
//! folder as they arrive, and each run of the job reads them from there.
//!
//! An upload has a deadline that grows with the bytes that have arrived: the idle time-out, plus a
//! second for each [`SLOWEST_BYTES_PER_SECOND`]. So a client holds its place no longer than an
//! upload at the slowest rate takes. The client reports each [`PIECE`] that it sends to server 1 to
//! server 0, with [`Data::Wait`]. Server 0 accepts no more of these messages than the data have
//! pieces. Meanwhile the servers report that they live: bytes in sockets may take longer than the
//! client's idle time-out.
//!
//! In a job with lengths of sequences, both servers first receive these, in public. A server checks
//! their counts and ranges.

use super::{Server, Session};
use crate::{
    data::Lengths,
    job::Job,
    job_store::{JobId, Upload, read_part},
    net::{Connection, Role, SLOWEST_BYTES_PER_SECOND},
    secret::Secret,
    session::{
        SessionError,
        heartbeat::{Alive, Phase},
        message::{Data, MAX_MESSAGE_BYTES, Update},
        prg,
    },
    storage::Storage,
    train::Inputs,
};
use std::{
    fs::File,
    sync::Arc,
    time::{Duration, Instant},
};
use symbolon_core::{
    prg::{MaskId, Prg, Seed},
    word::{Word, word_bytes},
};
use zeroize::Zeroizing;

/// Bytes that server 1 receives between two messages to server 0: a second's at the slowest rate.
#[allow(clippy::cast_possible_truncation)] // far below 32 bits
const PIECE: usize = SLOWEST_BYTES_PER_SECOND as usize;

/// Most lengths that are sent together.
pub(in crate::session) const MAX_LENGTHS: usize = PIECE / size_of::<u16>();

/// Data that arrive: their deadline, and the reports of it to the client.
struct Arrival<'a> {
    client: &'a mut Connection,
    idle: Duration,
    since: Instant,
    bytes_done: u64,
    bytes_planned: u64,
    last_sent: Instant,
}

impl<'a> Arrival<'a> {
    fn begin(client: &'a mut Connection, idle: Duration, bytes_planned: u64) -> Self {
        let now = Instant::now();
        client.set_transfer_limit(idle, now, PIECE as u64);
        Self { client, idle, since: now, bytes_done: 0, bytes_planned, last_sent: now }
    }

    /// Counts an arrived piece: extends the deadline, and reports to the client if that is due.
    fn advance(&mut self) -> Result<(), SessionError> {
        self.bytes_done += PIECE as u64;
        self.client.set_transfer_limit(self.idle, self.since, self.bytes_done + PIECE as u64);
        // Rarely: the client reads none of these reports while it sends, and an upload may take
        // hours.
        if self.last_sent.elapsed() < self.idle / 4 {
            return Ok(());
        }
        self.last_sent = Instant::now();
        let (bytes_planned, bytes_done) = (self.bytes_planned, self.bytes_done.min(self.bytes_planned));
        let alive = Alive { phase: Phase::Receiving, bytes_done, bytes_planned, waits_for: Some(Role::Client) };
        Ok(self.client.send(&Update::Alive(alive))?)
    }
}

/// Receives this server's share of a job's data into `upload`: at server 0 a seed, at server 1
/// words.
///
/// # Errors
///
/// The loss or the silence of the client, an upload below the slowest rate, an unexpected message,
/// or a full disk.
#[inline(never)] // the caller wipes the stack below its own frame
pub(super) fn receive<W: Word>(
    job: &Job,
    client: &mut Connection,
    (role, idle): (Role, Duration),
    upload: &mut Upload,
) -> Result<(), SessionError> {
    let lens = Inputs::<W>::lens(job).map(|len| len * word_bytes::<W>());
    let of_lengths = Lengths::bytes(&job.data);
    let mut arrival = Arrival::begin(client, idle, (of_lengths + lens.iter().sum::<usize>()) as u64);
    if of_lengths > 0 {
        receive_lengths(job, &mut arrival, upload)?;
    }
    match role {
        Role::Server0 => {
            let pieces = lens.iter().map(|len| len.div_ceil(PIECE) as u64).sum();
            receive_seed(&mut arrival, pieces, upload)?;
        }
        _ => receive_words(&mut arrival, &lens, upload)?,
    }
    client.set_idle_timeout(idle);
    Ok(())
}

/// Receives the lengths of sequences and checks their counts and ranges.
fn receive_lengths(job: &Job, arrival: &mut Arrival<'_>, upload: &mut Upload) -> Result<(), SessionError> {
    let facts = Lengths::facts(&job.data);
    let Data::Lengths { counts } = arrival.client.recv::<Data>(MAX_MESSAGE_BYTES)? else {
        return Err(SessionError::Unexpected { from: Role::Client, wanted: "the lengths of the sequences" });
    };
    for (facts, got) in facts.iter().zip(counts) {
        let want = facts.count as u64;
        if got != want {
            return Err(SessionError::LengthCount { key: facts.key, got, want });
        }
    }
    for facts in facts {
        let mut received = 0;
        while received < facts.count {
            let mut bytes = vec![0; size_of::<u16>() * MAX_LENGTHS.min(facts.count - received)];
            arrival.client.recv_exact(&mut bytes)?;
            for bytes in bytes.as_chunks().0 {
                let got = u16::from_le_bytes(*bytes);
                if !(facts.least..=facts.greatest).contains(&got) {
                    return Err(SessionError::Length { record: received as u64, got, facts });
                }
                received += 1;
            }
            upload.write(&bytes)?;
            arrival.advance()?;
        }
    }
    Ok(())
}

/// Waits for the seed.
#[inline(never)]
fn receive_seed(arrival: &mut Arrival<'_>, pieces: u64, upload: &mut Upload) -> Result<(), SessionError> {
    let mut waits = 0;
    loop {
        match arrival.client.recv::<Data>(MAX_MESSAGE_BYTES)? {
            Data::Wait if waits == pieces => return Err(SessionError::Waits { most: pieces }),
            Data::Wait => waits += 1,
            Data::Seed(seed) => return Ok(upload.write(&*seed)?),
            Data::Words | Data::Confirm | Data::Lengths { .. } => return Err(unexpected()),
        }
        arrival.advance()?;
    }
}

/// Receives the words of tables of `lens` bytes.
fn receive_words(arrival: &mut Arrival<'_>, lens: &[usize], upload: &mut Upload) -> Result<(), SessionError> {
    let Data::Words = arrival.client.recv::<Data>(MAX_MESSAGE_BYTES)? else { return Err(unexpected()) };
    let mut piece = Zeroizing::new(vec![0; PIECE]);
    for len in lens {
        for at in (0..*len).step_by(PIECE) {
            let bytes = &mut piece[..PIECE.min(len - at)];
            arrival.client.recv_exact(bytes)?;
            upload.write(bytes)?;
            arrival.advance()?;
        }
    }
    Ok(())
}

impl Server {
    /// Reads the tables of a run: this server's share of the client's data, or its stored reports.
    pub(super) fn open_inputs<W: Word>(
        &self,
        session: &Session<'_>,
        storage: &Storage,
    ) -> Result<Inputs<W>, SessionError> {
        if session.job.data.is_stored() {
            let shelf = self.shelf.as_ref().ok_or(SessionError::Shelf(crate::data::ShelfError::None))?;
            return Ok(Inputs::stored(session.job, &**shelf, storage)?);
        }
        let (id, job) = (&session.stored.id, session.job);
        let (mut file, mut inputs) = (self.jobs.open_data(id)?, Inputs::<W>::new(job, storage)?);
        inputs.lengths = self.read_lengths(id, job, &mut file)?;
        match self.config.role {
            Role::Server0 => self.expand(id, job, &mut file, &mut inputs)?,
            _ => self.read_words(id, &mut file, &mut inputs)?,
        }
        Ok(inputs)
    }

    fn read_lengths(&self, id: &JobId, job: &Job, file: &mut File) -> Result<Lengths, SessionError> {
        let mut lengths = Lengths::default();
        if Lengths::bytes(&job.data) == 0 {
            return Ok(lengths);
        }
        for (list, facts) in lengths.lists_mut().into_iter().zip(Lengths::facts(&job.data)) {
            let mut bytes = vec![0; size_of::<u16>() * facts.count];
            read_part(file, &mut bytes, &self.jobs.data_path(id))?;
            list.extend(bytes.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)));
        }
        Ok(lengths)
    }

    /// Expands the seed of server 0's share.
    #[inline(never)] // the caller wipes the stack below its own frame
    fn expand<W: Word>(
        &self,
        id: &JobId,
        job: &Job,
        file: &mut File,
        inputs: &mut Inputs<W>,
    ) -> Result<(), SessionError> {
        let mut seed = Zeroizing::new([0; 32]);
        read_part(file, &mut *seed, &self.jobs.data_path(id))?;
        let stream: Arc<dyn Prg> = prg(job.numbers.prg, &Seed::from_bytes(&seed), id).into();
        for (i, table) in (0u32..).zip(inputs.tables()) {
            table.expand(&stream, table_stream(i));
        }
        Ok(())
    }

    /// Reads the words of server 1's share.
    fn read_words<W: Word>(&self, id: &JobId, file: &mut File, inputs: &mut Inputs<W>) -> Result<(), SessionError> {
        let storage = inputs.storage.clone();
        for table in inputs.tables() {
            let len = table.len();
            let (mut writer, mut piece) = (table.writer(), Secret::zeros(piece_words::<W>().min(len)));
            for at in (0..len).step_by(piece_words::<W>()) {
                let words = &mut piece[..piece_words::<W>().min(len - at)];
                read_part(file, W::bytes_mut(words), &self.jobs.data_path(id))?;
                writer.push(words).map_err(|_| storage.failure())?;
            }
            writer.finish().map_err(|_| storage.failure())?;
        }
        Ok(())
    }
}

/// Words of a [`PIECE`].
pub(in crate::session) fn piece_words<W: Word>() -> usize {
    PIECE / word_bytes::<W>()
}

fn unexpected() -> SessionError {
    SessionError::Unexpected { from: Role::Client, wanted: "this server's share of the data" }
}

/// Returns the name of the stream that splits table `i`.
pub(in crate::session) fn table_stream(i: u32) -> MaskId {
    MaskId { lane: 0, request: i, part: 0 }
}
