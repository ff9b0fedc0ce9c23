//! A job's data: split here, and sent to each server as its share.

use super::News;
use crate::{
    data::Lengths,
    job::Job,
    job_store::JobId,
    net::Connection,
    secret::Secret,
    session::{
        SessionError,
        message::Data,
        prg, random_seed,
        server::{MAX_LENGTHS, piece_words, table_stream},
    },
    train::Inputs,
};
use symbolon_core::{
    share::split,
    word::{Word, word_bytes},
};
use zeroize::Zeroizing;

/// Splits the data and sends each server its share: server 0 a seed, server 1 the words.
#[inline(never)] // the caller wipes the stack below its own frame
pub(super) fn share<W: Word>(
    job: &Job,
    id: &JobId,
    inputs: &mut Inputs<W>,
    [server0, server1]: [&mut Connection; 2],
    news: &mut dyn FnMut(News),
) -> Result<(), SessionError> {
    if Lengths::bytes(&job.data) > 0 {
        send_lengths(&inputs.lengths, [&mut *server0, &mut *server1])?;
    }
    let seed = random_seed()?;
    server1.send(&Data::Words)?;
    let stream = prg(job.numbers.prg, &seed, id);
    let (storage, mut done) = (inputs.storage.clone(), 0);
    let planned = inputs.tables().iter().map(|table| table.len() * word_bytes::<W>()).sum::<usize>() as u64;
    for (i, table) in (0u32..).zip(inputs.tables()) {
        let (len, mut piece) = (table.len(), Secret::zeros(piece_words::<W>().min(table.len())));
        for at in (0..len).step_by(piece_words::<W>()) {
            let words = &mut piece[..piece_words::<W>().min(len - at)];
            table.read(at, words).map_err(|_| storage.failure())?;
            split(&*stream, table_stream(i), at, words);
            server1.send_bytes(W::bytes(words))?;
            server0.send(&Data::Wait)?;
            done += W::bytes(words).len() as u64;
            news(News::Sharing { done, planned });
        }
    }
    server0.send(&Data::Seed(Zeroizing::new(*seed.expose())))?;
    Ok(())
}

/// Sends both servers the public lengths of the sequences, piece by piece in turn: each has a
/// deadline.
fn send_lengths(lengths: &Lengths, servers: [&mut Connection; 2]) -> Result<(), SessionError> {
    let (lists, mut servers) = (lengths.lists(), servers);
    for server in &mut servers {
        server.send(&Data::Lengths { counts: lists.map(|list| list.len() as u64) })?;
    }
    for part in lists.into_iter().flat_map(|list| list.chunks(MAX_LENGTHS)) {
        let bytes: Vec<u8> = part.iter().flat_map(|length| length.to_le_bytes()).collect();
        for server in &mut servers {
            server.send_bytes(&bytes)?;
        }
    }
    Ok(())
}
