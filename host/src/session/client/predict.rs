//! A client that asks a published model for predictions: it splits its rows, sends each server one
//! share, and joins the shares of the answers.
//!
//! - **Adversary:** semi-honest, one of {server 0, server 1, dealer}. Both servers learn the
//!   client, the number of rows and the time. They learn neither rows nor answers.
//! - **Cost:** for each query a round trip to each server; 32 bytes to server 0, a word a feature
//!   to server 1, a word an answer from each.

use crate::{
    job::Job,
    kernel::HostWord,
    model_store::{ModelStoreError, ModelVersion, PublicPart},
    net::{AbortHandle, ClientTls, Config, Connection, Role, connect},
    session::{
        PredictError, STACK_BYTES, SessionError,
        message::{Answered, Ask, MAX_MESSAGE_BYTES, MAX_QUERY_BYTES, MAX_QUERY_ROWS, No, Query, SessionInfo},
        prg, random_bytes, random_seed,
    },
    train::AnswerKind,
};
use std::{
    thread,
    time::{Duration, Instant},
};
use symbolon_core::{
    prg::MaskId,
    share::{join, split},
    wipe::wipe_stack,
    word::{Word, word_bytes},
};
use zeroize::Zeroizing;

/// Connections to both servers, which answer predictions by one model.
pub struct Predictions {
    servers: [Connection; 2],
    job: Job,
    /// Public facts of the model.
    pub public: PublicPart,
    /// The kind of its answers.
    pub answer: AnswerKind,
    /// Rows of the servers' largest batch.
    pub most_rows: u16,
    idle: Duration,
}

impl Predictions {
    /// Asks both servers for predictions by `model`, of `owner` or this client's own.
    ///
    /// # Errors
    ///
    /// A server's refusal or its loss; servers that serve different versions of the model.
    pub fn open(
        config: &Config,
        tls: &ClientTls,
        owner: Option<&str>,
        model: &ModelVersion,
    ) -> Result<Self, SessionError> {
        let ask = |role| {
            let mut server = connect(config.peer(role)?, tls, role, &config.timeouts)?;
            server.send(&Ask::Predict { owner: owner.map(str::to_owned), model: model.clone() })?;
            Ok::<_, SessionError>(server)
        };
        let mut servers = [ask(Role::Server0)?, ask(Role::Server1)?];
        let mut heard = |i: usize| {
            let server: &mut Connection = &mut servers[i];
            let info: Result<SessionInfo, No> = server.recv(MAX_MESSAGE_BYTES)?;
            info.map_err(|no| no.from(server.role()))
        };
        let (a, b) = (heard(0)?, heard(1)?);
        if a.public != b.public {
            return Err(ModelStoreError::Differs(model.clone()).into());
        }
        if (a.session, a.answer) != (b.session, b.answer) {
            return Err(PredictError::Waits(model.clone()).into()); // one has begun another
        }
        let job = a.public.job().map_err(|_| ModelStoreError::Version(model.clone()))?;
        let SessionInfo { public, answer, most_rows, .. } = a;
        Ok(Self { servers, job, public, answer, most_rows, idle: config.timeouts.idle })
    }

    /// The model's job.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Most rows of a query.
    #[must_use]
    pub fn query_rows(&self) -> usize {
        let words = self.job.data.features() + self.answer.words(&self.job);
        let each = words as u64 * u64::from(self.job.numbers.ring_bits / 8);
        let rows = (MAX_QUERY_BYTES as u64 / each.max(1)).clamp(1, u64::from(MAX_QUERY_ROWS));
        usize::try_from(rows).unwrap_or(1)
    }

    /// Returns the answers for `rows`, whose words have the model's fraction bits: row after row.
    ///
    /// # Errors
    ///
    /// A server's refusal or its loss.
    ///
    /// # Panics
    ///
    /// If words are not those of the job, or are no whole rows.
    pub fn ask<W: HostWord + Word>(&mut self, rows: &[W]) -> Result<Vec<W>, SessionError> {
        let (features, answers) = (self.job.data.features(), self.answer.words(&self.job));
        assert!(W::BITS == self.job.numbers.ring_bits && rows.len().is_multiple_of(features), "words of another model");
        let mut answered = Vec::with_capacity(rows.len() / features * answers);
        for query in rows.chunks(self.query_rows() * features) {
            let sent = self.send(query, features);
            wipe_stack::<STACK_BYTES>(); // the seed
            sent?;
            let [mut own, other] = self.receive_both::<W>(query.len() / features * answers)?;
            join(&mut own, &other);
            answered.extend_from_slice(&own);
        }
        Ok(answered)
    }

    /// Receives both servers' shares of `len` words side by side: one server may refuse what the
    /// other one waits with.
    fn receive_both<W: Word>(&mut self, len: usize) -> Result<[Vec<W>; 2], SessionError> {
        let (idle, aborts) = (self.idle, self.servers.each_ref().map(Connection::abort_handle));
        let [a, b] = &mut self.servers;
        let receive = |server: &mut Connection, other: &AbortHandle| {
            receive::<W>(server, len, idle).inspect_err(|_| other.abort())
        };
        let (a, b) = thread::scope(|scope| {
            let first = scope.spawn(|| receive(a, &aborts[1]));
            let second = receive(b, &aborts[0]);
            (first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), second)
        });
        match (a, b) {
            (Ok(a), Ok(b)) => Ok([a, b]),
            // An abort follows from the other one's error.
            (Err(a), Err(b)) => Err(if a.is_abort() { b } else { a }),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    #[inline(never)] // the caller wipes the stack below its own frame
    fn send<W: Word>(&mut self, rows: &[W], features: usize) -> Result<(), SessionError> {
        let (number, seed) = (random_bytes()?, random_seed()?);
        let mut words = Zeroizing::new(rows.to_vec());
        split(&*prg(self.job.numbers.prg, &seed, &number), MaskId::default(), 0, &mut words);
        let count = u32::try_from(rows.len() / features).unwrap_or(u32::MAX);
        let query = |seed| Query { number, rows: count, seed };
        let [a, b] = &mut self.servers;
        a.send(&query(Some(Box::new(Zeroizing::new(*seed.expose())))))?;
        b.send(&query(None))?;
        Ok(b.send_bytes(W::bytes(&words))?)
    }
}

/// Receives a server's shares of `len` words of answers.
fn receive<W: Word>(server: &mut Connection, len: usize, idle: Duration) -> Result<Vec<W>, SessionError> {
    let role = server.role();
    loop {
        match server.recv(MAX_MESSAGE_BYTES)? {
            Answered::Alive => {}
            Answered::No(no) => return Err(no.from(role)),
            Answered::Shares(bytes) if bytes == (len * word_bytes::<W>()) as u64 => break,
            Answered::Shares(_) => {
                return Err(SessionError::Unexpected { from: role, wanted: "as many answers as rows" });
            }
        }
    }
    let mut share = vec![W::default(); len];
    server.set_transfer_limit(idle, Instant::now(), (len * word_bytes::<W>()) as u64);
    server.recv_exact(W::bytes_mut(&mut share))?;
    server.set_idle_timeout(idle);
    Ok(share)
}
