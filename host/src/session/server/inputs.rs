//! A client's data at this server: a seed at server 0, words at server 1.
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

use super::Session;
use crate::{
    data::Lengths,
    net::{Connection, Role, SLOWEST_BYTES_PER_SECOND},
    secret::Secret,
    session::{
        SessionError,
        heartbeat::{Alive, Phase},
        message::{Data, MAX_MESSAGE_BYTES, Update},
        prg,
    },
    train::Inputs,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use symbolon_core::{
    prg::{MaskId, Prg, Seed},
    word::{Word, word_bytes},
};

/// Bytes that server 1 receives between two messages to server 0: a second's at the slowest rate.
#[allow(clippy::cast_possible_truncation)] // far below 32 bits
const PIECE: usize = SLOWEST_BYTES_PER_SECOND as usize;

/// Most lengths that are sent together.
pub(in crate::session) const MAX_LENGTHS: usize = PIECE / size_of::<u16>();

/// A client's upload: its deadline, and the reports of it to the client.
struct Upload<'a> {
    client: &'a mut Connection,
    idle: Duration,
    since: Instant,
    bytes_done: u64,
    bytes_planned: u64,
    last_sent: Instant,
}

impl<'a> Upload<'a> {
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

/// Receives this server's shares of the data into `inputs`, which are zeros. Server 0 expands them
/// from a seed; server 1 receives words.
///
/// # Errors
///
/// The loss or the silence of the client, an upload below the slowest rate, or an unexpected
/// message.
#[inline(never)] // the caller wipes the stack below its own frame
pub(super) fn receive_inputs<W: Word>(
    session: &Session<'_>,
    client: &mut Connection,
    (role, idle): (Role, Duration),
    mut inputs: Inputs<W>,
) -> Result<Inputs<W>, SessionError> {
    let lens = Inputs::<W>::lens(session.job).map(|len| len * word_bytes::<W>());
    let of_lengths = Lengths::bytes(&session.job.data);
    let mut upload = Upload::begin(client, idle, (of_lengths + lens.iter().sum::<usize>()) as u64);
    if of_lengths > 0 {
        inputs.lengths = receive_lengths(session, &mut upload)?;
    }
    match role {
        Role::Server0 => {
            let pieces = lens.iter().map(|len| len.div_ceil(PIECE) as u64).sum();
            expand(session, &mut upload, pieces, &mut inputs)?;
        }
        _ => receive(&mut upload, &mut inputs)?,
    }
    client.set_idle_timeout(idle);
    Ok(inputs)
}

/// Receives the lengths of sequences and checks their counts and ranges.
fn receive_lengths(session: &Session<'_>, upload: &mut Upload<'_>) -> Result<Lengths, SessionError> {
    let facts = Lengths::facts(&session.job.data);
    let Data::Lengths { counts } = upload.client.recv::<Data>(MAX_MESSAGE_BYTES)? else {
        return Err(SessionError::Unexpected { from: Role::Client, wanted: "the lengths of the sequences" });
    };
    for (facts, got) in facts.iter().zip(counts) {
        let want = facts.count as u64;
        if got != want {
            return Err(SessionError::LengthCount { key: facts.key, got, want });
        }
    }
    let mut lengths = Lengths::default();
    for (list, facts) in lengths.lists_mut().into_iter().zip(facts) {
        list.reserve_exact(facts.count);
        while list.len() < facts.count {
            let mut bytes = vec![0; size_of::<u16>() * MAX_LENGTHS.min(facts.count - list.len())];
            upload.client.recv_exact(&mut bytes)?;
            for bytes in bytes.as_chunks().0 {
                let (record, got) = (list.len() as u64, u16::from_le_bytes(*bytes));
                if !(facts.least..=facts.greatest).contains(&got) {
                    return Err(SessionError::Length { record, got, facts });
                }
                list.push(got);
            }
            upload.advance()?;
        }
    }
    Ok(lengths)
}

/// Waits for the seed and expands it.
#[inline(never)]
fn expand<W: Word>(
    session: &Session<'_>,
    upload: &mut Upload<'_>,
    pieces: u64,
    inputs: &mut Inputs<W>,
) -> Result<(), SessionError> {
    let mut waits = 0;
    let seed = loop {
        match upload.client.recv::<Data>(MAX_MESSAGE_BYTES)? {
            Data::Wait if waits == pieces => return Err(SessionError::Waits { most: pieces }),
            Data::Wait => waits += 1,
            Data::Seed(seed) => break seed,
            Data::Words | Data::Lengths { .. } => return Err(unexpected()),
        }
        upload.advance()?;
    };
    let stream: Arc<dyn Prg> = prg(session.job.numbers.prg, &Seed::from_bytes(&seed), &session.id).into();
    for (i, table) in (0u32..).zip(inputs.tables()) {
        table.expand(&stream, table_stream(i));
    }
    Ok(())
}

/// Receives the words.
fn receive<W: Word>(upload: &mut Upload<'_>, inputs: &mut Inputs<W>) -> Result<(), SessionError> {
    let Data::Words = upload.client.recv::<Data>(MAX_MESSAGE_BYTES)? else { return Err(unexpected()) };
    let storage = inputs.storage.clone();
    for table in inputs.tables() {
        let len = table.len();
        let (mut writer, mut piece) = (table.writer(), Secret::zeros(piece_words::<W>().min(len)));
        for at in (0..len).step_by(piece_words::<W>()) {
            let words = &mut piece[..piece_words::<W>().min(len - at)];
            upload.client.recv_exact(W::bytes_mut(words))?;
            writer.push(words).map_err(|_| storage.failure())?;
            upload.advance()?;
        }
        writer.finish().map_err(|_| storage.failure())?;
    }
    Ok(())
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
