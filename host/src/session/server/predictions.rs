//! Clients that ask for predictions: queries of rows in, this server's shares of the answers out.

use super::{
    Server,
    served_models::{Key, OpenSession},
};
use crate::{
    intake::validity::UnixSeconds,
    job::Prg,
    model_store::ModelVersion,
    net::{Connection, Role},
    release::ledger::LedgerError,
    session::{
        PredictError, STACK_BYTES, SessionError,
        batch_queue::{QueryId, QueryRefused, Waiting},
        heartbeat::beat,
        message::{Answered, MAX_MESSAGE_BYTES, MAX_QUERY_BYTES, MAX_QUERY_ROWS, No, Query, QueryEvent, SessionInfo},
        prg,
    },
};
use std::time::Instant;
use symbolon_core::{
    prg::{MaskId, Seed},
    wipe::wipe_stack,
};
use zeroize::Zeroizing;

impl Server {
    /// Answers a client's queries until it leaves.
    pub(super) fn predict(
        &self,
        owner: Option<String>,
        model: ModelVersion,
        client: &mut Connection,
    ) -> Result<(), SessionError> {
        let key = (owner.unwrap_or_else(|| client.serial().to_owned()), model);
        let found = self.session_for(&key, client.serial());
        let info = found.as_ref().map(|open| SessionInfo {
            session: open.session,
            public: open.public.clone(),
            answer: open.terms.answer,
            most_rows: open.most_rows,
        });
        client.send(&info.as_ref().map_err(|error| No::new(error)))?;
        drop(info);
        let open = found?;
        let numbers = open.public.job().map_err(SessionError::job(Role::Client))?.numbers.prg;
        while let Some(query) = next_query(client, self.config.timeouts.idle)? {
            let answered = self.query(&open, numbers, query, client);
            if let Err(error) = answered {
                client.send(&Answered::No(No::new(&error)))?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Finds the session of a model that this client may ask.
    fn session_for(&self, key: &Key, client: &str) -> Result<std::sync::Arc<OpenSession>, SessionError> {
        // Clients that may not ask learn nothing of the model, nor of the policy on it.
        let admits = self.models.terms(&key.1, &key.0)?.is_some_and(|terms| terms.admits(client, &key.0));
        if !admits {
            return Err(PredictError::Unserved(key.1.clone()).into());
        }
        let (_, terms, _) = self.terms_of(key)?;
        let open = self.served.session(key).filter(|open| open.terms == terms);
        open.ok_or_else(|| PredictError::Waits(key.1.clone()).into())
    }

    /// Answers a query.
    fn query(
        &self,
        open: &OpenSession,
        cipher: Prg,
        query: Query,
        client: &mut Connection,
    ) -> Result<(), SessionError> {
        let [bytes, of_answers] = open.bytes.map(|bytes| u64::from(query.rows).saturating_mul(bytes as u64));
        if query.rows == 0 || query.rows > MAX_QUERY_ROWS || bytes.saturating_add(of_answers) > MAX_QUERY_BYTES as u64 {
            return Err(PredictError::Rows { got: query.rows }.into());
        }
        let id = QueryId { client: client.serial().to_owned(), number: query.number };
        let data = self.receive_rows(bytes, cipher, query.number, query.seed, client);
        wipe_stack::<STACK_BYTES>(); // the seed
        let data = data?;
        self.spend(open, &id.client, query.rows)?;
        if let Err(no) = open.queue.post(&id, data) {
            self.quotas.give_back((&id.client, &open.digest), query.rows.into(), UnixSeconds::now());
            return Err(match no {
                QueryRefused::Repeated => PredictError::Repeated,
                QueryRefused::Full => PredictError::Full,
                QueryRefused::Ended => PredictError::Ended,
            }
            .into());
        }
        let answered = open
            .tell(&QueryEvent::Arrived { query: id.clone(), rows: query.rows })
            .and_then(|()| self.await_answers(open, &id, client));
        if answered.is_err() {
            open.queue.withdraw(&id);
            let _ = open.tell(&QueryEvent::Gone(id)); // otherwise the session ends
        }
        let answers = answered?;
        client.set_transfer_limit(self.config.timeouts.idle, Instant::now(), answers.len() as u64);
        client.send(&Answered::Shares(answers.len() as u64))?;
        client.send_bytes(&answers)?;
        Ok(())
    }

    /// Receives this server's share of the rows: a seed at server 0, words at server 1.
    #[inline(never)] // the caller wipes the stack below its own frame
    fn receive_rows(
        &self,
        bytes: u64,
        cipher: Prg,
        number: [u8; 16],
        seed: Option<Box<Zeroizing<[u8; 32]>>>,
        client: &mut Connection,
    ) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        let mut data = Zeroizing::new(vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)]);
        match (self.config.role, seed) {
            (Role::Server0, Some(seed)) => {
                prg(cipher, &Seed::from_bytes(&seed), &number).fill_bytes(MaskId::default(), 0, &mut data);
            }
            (Role::Server1, None) => {
                client.set_transfer_limit(self.config.timeouts.idle, Instant::now(), bytes);
                client.recv_exact(&mut data)?;
            }
            _ => {
                let wanted = "this server's share of the rows";
                return Err(SessionError::Unexpected { from: Role::Client, wanted });
            }
        }
        client.set_idle_timeout(self.config.timeouts.idle);
        Ok(data)
    }

    /// Takes rows of the client's quota.
    pub(super) fn spend(&self, open: &OpenSession, client: &str, rows: u32) -> Result<(), SessionError> {
        let Some(per_day) = open.terms.per_day else { return Ok(()) };
        let asked = (u64::from(rows), u64::from(per_day));
        let taken = self.quotas.take(&self.ledger, (client, &open.digest), asked, UnixSeconds::now());
        taken.map_err(LedgerError::Store)?.map_err(|left| {
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            PredictError::Quota { per_day, left }.into()
        })
    }

    fn await_answers(
        &self,
        open: &OpenSession,
        id: &QueryId,
        client: &mut Connection,
    ) -> Result<Zeroizing<Vec<u8>>, SessionError> {
        let crate::net::Timeouts { connect, idle, .. } = self.config.timeouts;
        loop {
            match open.queue.answers(id, [beat(idle), connect + idle]) {
                Waiting::Answered(answers) => return Ok(answers),
                Waiting::Ended => return Err(PredictError::Ended.into()),
                Waiting::Late => return Err(PredictError::Late.into()),
                Waiting::Waits => {
                    client.check_peer()?;
                    client.send(&Answered::Alive)?;
                }
            }
        }
    }
}

/// Receives a client's next query; `None` once it has left.
fn next_query(client: &mut Connection, idle: std::time::Duration) -> Result<Option<Query>, SessionError> {
    client.set_idle_timeout(idle);
    let received = client.recv(MAX_MESSAGE_BYTES);
    wipe_stack::<STACK_BYTES>(); // the seed
    match received {
        Ok(query) => Ok(Some(query)),
        Err(error) if error.is_closed() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
