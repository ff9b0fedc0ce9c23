//! Dynamic batching for a model that answers predictions: rows wait here for a batch, and answers
//! for their asker.
//!
//! An asker sends both servers its shares of a query of rows. Server 0 tells server 1 what has
//! arrived; server 1 cuts what both have into batches, first come first served, and tells server 0
//! which rows each has.

use super::message::MAX_QUERY_BYTES;
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use symbolon_core::word::Word;
use zeroize::Zeroizing;

/// Most bytes of all queries that wait, with their answers.
pub(super) const MOST_BYTES: usize = 8 * MAX_QUERY_BYTES;
/// Most bytes of a client's.
const MOST_BYTES_OF_CLIENT: usize = 2 * MAX_QUERY_BYTES;
/// A batch of fewer rows than this part of its lane's is left to a smaller lane, if one is idle.
const LEAST_PART: usize = 4;

/// A query: the client's serial number, and the number that the client drew for it.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub(super) struct QueryId {
    pub(super) client: String,
    pub(super) number: [u8; 16],
}

/// Rows of a query in a batch.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct BatchSlice {
    pub(super) query: QueryId,
    pub(super) first: u32,
    pub(super) rows: u16,
}

/// This server's shares of a query.
struct Query {
    rows: usize,
    posted: Instant,
    /// Whether the other server has it too.
    is_joined: bool,
    data: Zeroizing<Vec<u8>>,
    answers: Zeroizing<Vec<u8>>,
    /// Rows without answer.
    left: usize,
}

/// Rows that both servers have and no batch takes yet.
struct Ready {
    query: QueryId,
    first: usize,
    rows: usize,
    since: Instant,
}

#[derive(Default)]
struct State {
    queries: HashMap<QueryId, Query>,
    /// At server 1: queries that server 0 has, with their rows.
    elsewhere: HashMap<QueryId, usize>,
    ready: VecDeque<Ready>,
    /// Parts of each query that are in a batch: until they are answered, its number is taken.
    busy: HashMap<QueryId, usize>,
    /// At server 1: lanes that wait, with the rows of their batches.
    idle: Vec<(usize, usize)>,
    /// At server 0: each lane's batches.
    assigned: Vec<VecDeque<Vec<BatchSlice>>>,
    has_ended: bool,
}

/// The reason why a query is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum QueryRefused {
    /// The same query waits already.
    Repeated,
    /// Too many rows wait.
    Full,
    /// The session has ended.
    Ended,
}

/// The state of a query.
pub(super) enum Waiting {
    /// This server's shares of the answers.
    Answered(Zeroizing<Vec<u8>>),
    /// Some rows have no answer yet.
    Waits,
    /// It has waited too long.
    Late,
    /// The session has ended.
    Ended,
}

/// The queries of a session and the batches that are cut of them.
pub(super) struct BatchQueue {
    state: Mutex<State>,
    changed: Condvar,
    /// Rows of a batch, lane by lane.
    batches: Vec<usize>,
    /// Bytes of a row, and of its answer.
    bytes: [usize; 2],
    /// The time for which rows wait for others, unless they fill the largest batch.
    wait: Duration,
}

impl BatchQueue {
    /// Makes the queue of a session whose batches have so many rows; a row and its answer have
    /// `bytes` bytes.
    pub(super) fn new(batches: &[u16], bytes: [usize; 2], wait: Duration) -> Self {
        let batches: Vec<usize> = batches.iter().map(|rows| usize::from(*rows)).collect();
        let assigned = batches.iter().map(|_| VecDeque::new()).collect();
        Self {
            state: Mutex::new(State { assigned, ..State::default() }),
            changed: Condvar::new(),
            batches,
            bytes,
            wait,
        }
    }

    /// Takes this server's share of a query.
    pub(super) fn post(&self, id: &QueryId, data: Zeroizing<Vec<u8>>) -> Result<(), QueryRefused> {
        let (rows, mut state) = (data.len() / self.bytes[0], self.lock());
        if state.has_ended {
            return Err(QueryRefused::Ended);
        }
        if state.queries.contains_key(id) || state.busy.contains_key(id) {
            return Err(QueryRefused::Repeated);
        }
        let own = rows.saturating_mul(self.bytes[0] + self.bytes[1]);
        let bytes = |client: Option<&str>| -> usize {
            let of = state.queries.iter().filter(|(other, _)| client.is_none_or(|client| other.client == client));
            of.map(|(_, query)| query.data.len() + query.answers.len()).sum()
        };
        if bytes(None) + own > MOST_BYTES || bytes(Some(&id.client)) + own > MOST_BYTES_OF_CLIENT {
            return Err(QueryRefused::Full);
        }
        let answers = Zeroizing::new(vec![0; rows * self.bytes[1]]);
        state
            .queries
            .insert(id.clone(), Query { rows, posted: Instant::now(), is_joined: false, data, answers, left: rows });
        state.join(id);
        self.changed.notify_all();
        Ok(())
    }

    /// Server 1: server 0 has a query.
    pub(super) fn arrived(&self, id: &QueryId, rows: usize) {
        let mut state = self.lock();
        // Those that never arrive here are bounded as those that wait at server 0 are.
        state.elsewhere.insert(id.clone(), rows);
        state.join(id);
        self.changed.notify_all();
    }

    /// Server 1: server 0 has given a query up.
    pub(super) fn gone(&self, id: &QueryId) {
        let mut state = self.lock();
        state.elsewhere.remove(id);
        state.ready.retain(|ready| ready.query != *id);
        self.changed.notify_all(); // another lane may be the best for the rest
    }

    /// Gives a query up; rows that a batch has already are answered to nobody.
    pub(super) fn withdraw(&self, id: &QueryId) {
        let mut state = self.lock();
        state.queries.remove(id);
        state.ready.retain(|ready| ready.query != *id);
        self.changed.notify_all();
    }

    /// Waits for at most `most` for the answers of a query, and removes it with them. A query
    /// that has waited for `late` without an answer to any row is late.
    pub(super) fn answers(&self, id: &QueryId, [most, late]: [Duration; 2]) -> Waiting {
        let waits = |state: &mut State| !state.has_ended && state.queries.get(id).is_some_and(|query| query.left > 0);
        let waited = self.changed.wait_timeout_while(self.lock(), most, waits);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.queries.get(id) {
            Some(query) if query.left == 0 => {}
            _ if state.has_ended => return Waiting::Ended,
            Some(query) if query.left == query.rows && query.posted.elapsed() >= late => return Waiting::Late,
            _ => return Waiting::Waits,
        }
        state.queries.remove(id).map_or(Waiting::Ended, |query| Waiting::Answered(query.answers))
    }

    /// Server 1: waits until lane `lane` has a batch to do. `None` if the session has ended.
    pub(super) fn next_as_leader(&self, lane: usize) -> Option<Vec<BatchSlice>> {
        let (mut state, capacity) = (self.lock(), self.batches[lane]);
        let largest = self.batches.iter().copied().max().unwrap_or(1);
        state.idle.push((lane, capacity));
        self.changed.notify_all(); // a larger lane may have left rows to this one
        loop {
            if state.has_ended {
                return None;
            }
            let rows: usize = state.ready.iter().map(|ready| ready.rows).sum();
            let waited = state.ready.front().map_or(Duration::ZERO, |ready| ready.since.elapsed());
            let is_due = rows >= largest || waited >= self.wait;
            if rows > 0 && is_due && state.best(rows) == Some(lane) {
                state.idle.retain(|(own, _)| *own != lane);
                let parts = state.take(capacity);
                state.occupy(&parts);
                if !state.ready.is_empty() {
                    self.changed.notify_all(); // another lane is the best for the rest
                }
                return Some(parts);
            }
            state = match rows > 0 && !is_due {
                true => self.changed.wait_timeout(state, self.wait - waited).unwrap_or_else(PoisonError::into_inner).0,
                false => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Server 0: server 1 gives lane `lane` a batch. Returns whether it can be one.
    #[must_use]
    pub(super) fn assign(&self, lane: u16, parts: Vec<BatchSlice>) -> bool {
        let (mut state, lane) = (self.lock(), usize::from(lane));
        let rows: usize = parts.iter().map(|part| usize::from(part.rows)).sum();
        if self.batches.get(lane).is_none_or(|most| rows > *most) || state.assigned[lane].len() > 1 {
            return false;
        }
        state.occupy(&parts);
        state.assigned[lane].push_back(parts);
        self.changed.notify_all();
        true
    }

    /// Server 0: waits for the next batch of lane `lane`. `None` if the session has ended.
    pub(super) fn next_assigned(&self, lane: usize) -> Option<Vec<BatchSlice>> {
        let waits = |state: &mut State| !state.has_ended && state.assigned[lane].is_empty();
        let mut state = self.changed.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        if state.has_ended { None } else { state.assigned[lane].pop_front() }
    }

    /// Writes the rows of a batch; those that are gone, or that no part has, are zeros.
    pub(super) fn fill<W: Word>(&self, parts: &[BatchSlice], rows: &mut [W]) {
        rows.fill(W::default());
        let (state, [each, _]) = (self.lock(), self.bytes);
        let mut rest = W::bytes_mut(rows);
        for BatchSlice { query, first, rows } in parts {
            let (first, len) = (*first as usize * each, usize::from(*rows) * each);
            let Some((own, others)) = rest.split_at_mut_checked(len) else { return };
            if let Some(data) = state.queries.get(query).and_then(|query| query.data.get(first..first + len)) {
                own.copy_from_slice(data);
            }
            rest = others;
        }
    }

    /// Takes the answers of a batch.
    pub(super) fn deliver<W: Word>(&self, parts: &[BatchSlice], answers: &[W]) {
        let (mut state, [_, each]) = (self.lock(), self.bytes);
        let mut rest = W::bytes(answers);
        for BatchSlice { query, first, rows } in parts {
            let (first, len) = (*first as usize * each, usize::from(*rows) * each);
            let Some((own, others)) = rest.split_at_checked(len) else { return };
            rest = others;
            if let Some(busy) = state.busy.get_mut(query) {
                *busy -= 1;
                if *busy == 0 {
                    state.busy.remove(query);
                }
            }
            let Some(query) = state.queries.get_mut(query) else { continue };
            if let Some(place) = query.answers.get_mut(first..first + len) {
                place.copy_from_slice(own);
                query.left = query.left.saturating_sub(usize::from(*rows));
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Ends the session and wakes all waiting threads.
    pub(super) fn end(&self) {
        self.lock().has_ended = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Makes a query ready if both servers have it, with as many rows.
    fn join(&mut self, id: &QueryId) {
        let Some(query) = self.queries.get_mut(id) else { return };
        if self.elsewhere.get(id) == Some(&query.rows) {
            self.elsewhere.remove(id);
            if std::mem::replace(&mut query.is_joined, true) {
                return;
            }
            let ready = Ready { query: id.clone(), first: 0, rows: query.rows, since: Instant::now() };
            self.ready.push_back(ready);
        }
    }

    /// The idle lane that should take some of `rows` rows: the smallest that takes all, unless most
    /// of its batch were empty; then the largest that they fill.
    fn best(&self, rows: usize) -> Option<usize> {
        let all = self.idle.iter().filter(|(_, most)| *most >= rows).min_by_key(|(lane, most)| (*most, *lane));
        let full =
            self.idle.iter().filter(|(_, most)| *most <= rows).max_by_key(|(lane, most)| (*most, usize::MAX - lane));
        let best = match (all, full) {
            (Some(all), Some(full)) => {
                if all.1 <= LEAST_PART * rows {
                    all
                } else {
                    full
                }
            }
            (all, full) => all.or(full)?,
        };
        Some(best.0)
    }

    /// Notes the queries of a batch.
    fn occupy(&mut self, parts: &[BatchSlice]) {
        for part in parts {
            *self.busy.entry(part.query.clone()).or_default() += 1;
        }
    }

    /// Takes up to `most` rows.
    fn take(&mut self, most: usize) -> Vec<BatchSlice> {
        let (mut parts, mut left) = (Vec::new(), most);
        while left > 0
            && let Some(ready) = self.ready.front_mut()
        {
            let rows = ready.rows.min(left);
            #[allow(clippy::cast_possible_truncation)] // queries and batches are small
            let (first, own) = (ready.first as u32, rows as u16);
            parts.push(BatchSlice { query: ready.query.clone(), first, rows: own });
            (ready.first, ready.rows, left) = (ready.first + rows, ready.rows - rows, left - rows);
            if ready.rows == 0 {
                self.ready.pop_front();
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{sync::Arc, thread};

    const BATCHES: [u16; 3] = [1, 1, 8];

    fn id(number: u8) -> QueryId {
        QueryId { client: "a".to_owned(), number: [number; 16] }
    }

    /// A queue of rows of two words and answers of one.
    fn queue() -> BatchQueue {
        BatchQueue::new(&BATCHES, [16, 8], Duration::ZERO)
    }

    fn post(queue: &BatchQueue, number: u8, rows: usize) -> Result<(), QueryRefused> {
        let words: Vec<u64> = (0..2 * rows as u64).map(|i| u64::from(number) * 100 + i).collect();
        queue.post(&id(number), Zeroizing::new(u64::bytes(&words).to_vec()))
    }

    fn rows(parts: &[BatchSlice]) -> usize {
        parts.iter().map(|part| usize::from(part.rows)).sum()
    }

    /// Answers each batch of a lane by the first word of each row, until the queue ends.
    fn answer(queue: &BatchQueue, lane: usize) -> Vec<usize> {
        let (mut sizes, mut data) = (Vec::new(), vec![0u64; 2 * usize::from(BATCHES[lane])]);
        while let Some(parts) = queue.next_as_leader(lane) {
            queue.fill(&parts, &mut data);
            sizes.push(rows(&parts));
            let answers: Vec<u64> = data.chunks(2).map(|row| row[0]).collect();
            queue.deliver(&parts, &answers);
        }
        sizes
    }

    #[test]
    fn rows_that_both_have_are_answered_once_and_in_order() {
        let queue = Arc::new(queue());
        let lanes: Vec<_> = (0..3)
            .map(|lane| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || answer(&queue, lane))
            })
            .collect();
        for number in 1..=40 {
            let rows = usize::from(number) % 12 + 1;
            if number % 2 == 0 {
                queue.arrived(&id(number), rows);
            }
            post(&queue, number, rows).unwrap();
            queue.arrived(&id(number), rows);
            let Waiting::Answered(answers) = queue.answers(&id(number), [Duration::from_secs(20); 2]) else {
                panic!("waits")
            };
            let want: Vec<u64> = (0..rows as u64).map(|row| u64::from(number) * 100 + 2 * row).collect();
            assert_eq!(&answers[..], u64::bytes(&want));
        }
        queue.end();
        let sizes = lanes.into_iter().flat_map(|lane| lane.join().unwrap());
        assert_eq!(sizes.sum::<usize>(), (1..=40).map(|number| number % 12 + 1).sum::<usize>());
        assert!(matches!(queue.answers(&id(1), [Duration::ZERO; 2]), Waiting::Ended));
    }

    #[test]
    fn few_rows_leave_the_large_lane_to_others() {
        let mut state = State { idle: vec![(0, 1), (1, 1), (2, 8)], ..State::default() };
        let best = |state: &State| [1, 2, 7, 8, 20].map(|rows| state.best(rows).unwrap());
        assert_eq!(best(&state), [0, 2, 2, 2, 2]);
        assert_eq!(State { idle: vec![(0, 1), (2, 16)], ..State::default() }.best(3), Some(0));
        state.idle.pop();
        assert_eq!(best(&state), [0, 0, 0, 0, 0]);
        state.idle = vec![(2, 8)];
        assert_eq!(best(&state), [2, 2, 2, 2, 2]);
        state.idle.clear();
        assert_eq!(state.best(1), None);
    }

    #[test]
    fn a_query_of_one_server_is_never_ready() {
        let queue = queue();
        post(&queue, 1, 3).unwrap();
        assert_eq!(post(&queue, 1, 3), Err(QueryRefused::Repeated));
        queue.arrived(&id(2), 3);
        queue.arrived(&id(1), 4); // of other rows
        assert!(queue.lock().ready.is_empty());
        queue.arrived(&id(1), 3);
        assert_eq!(queue.lock().ready.len(), 1);
        queue.gone(&id(1));
        assert!(
            queue.lock().ready.is_empty()
                && matches!(queue.answers(&id(1), [Duration::ZERO, Duration::MAX]), Waiting::Waits)
        );
        assert!(matches!(queue.answers(&id(1), [Duration::ZERO; 2]), Waiting::Late));
        queue.withdraw(&id(1));
        // Rows of a query that has gone are zeros, and its answers are nobody's.
        let (parts, mut data) = (vec![BatchSlice { query: id(1), first: 0, rows: 1 }], [7u64; 16]);
        queue.fill(&parts, &mut data);
        assert_eq!(data, [0; 16]);
        queue.deliver(&parts, &[1u64; 8]);
        assert_eq!(post(&queue, 3, MOST_BYTES_OF_CLIENT / 24 + 1), Err(QueryRefused::Full));
        queue.end();
        assert_eq!(post(&queue, 4, 1), Err(QueryRefused::Ended));
        assert!(queue.next_as_leader(0).is_none() && queue.next_assigned(0).is_none());
    }

    #[test]
    fn absurd_batches_are_no_batches() {
        let queue = queue();
        let part = |first, rows| BatchSlice { query: id(1), first, rows };
        assert!(!queue.assign(3, vec![part(0, 1)]));
        assert!(!queue.assign(0, vec![part(0, 1), part(1, 1)]));
        assert!(queue.assign(2, vec![part(u32::MAX, 8)]));
        assert_eq!(post(&queue, 1, 2), Err(QueryRefused::Repeated), "a batch has the number");
        let parts = queue.next_assigned(2).unwrap();
        let mut data = [1u64; 16];
        queue.fill(&parts, &mut data);
        assert_eq!(data, [0; 16]);
        queue.deliver(&parts, &[5u64; 8]);
        post(&queue, 1, 2).unwrap();
        assert_eq!(queue.lock().queries[&id(1)].left, 2);
    }
}
