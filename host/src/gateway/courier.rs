//! Brings parts to a server and its answers back: a thread a server.
//!
//! One batch is on its way at a time; while the server commits it, the next gathers. While the server is away, parts move from memory to the disk, a few times a second; when it is back,
//! the disk goes first. Parts leave only when the server has answered: one that was sent when the connection broke is sent again, and so is one that the server had no room for. Of that,
//! devices hear nothing.

use super::{
    Shared,
    news::{News, count},
    queue::{Load, Queue},
    routes::Answer,
    spool::Spool,
};
use crate::{
    intake::wire::{Answers, MAX_ANSWER_BYTES},
    net::{ClientTls, Connection, NetError, Role, Timeouts, connect},
};
use std::{
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};
use symbolon_core::report::{
    Reason,
    frame::{Frame, Predicted},
    header::DeviceId,
};

/// An idle server gets an empty batch this often: both ends see that the other is there.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// While a server is away, memory goes to the disk this often.
const SPILL: Duration = Duration::from_millis(250);
/// A try to connect takes no longer than this.
const TRY: Duration = Duration::from_secs(1);
/// Pauses between tries.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// A server whose store is full is asked again after this.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// That the disk is full is told no more often.
const QUIET: Duration = Duration::from_secs(60);

/// How to reach a server.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) server: Role,
    pub(super) address: String,
    pub(super) tls: ClientTls,
    pub(super) timeouts: Timeouts,
}

/// A server's courier.
pub(super) struct Courier {
    way: Way,
    index: usize,
    spool: Spool,
    shared: Arc<Shared>,
    /// The server is away, and that was told.
    away: bool,
    full: Fullness,
    /// The disk fails, and that was told.
    broken: bool,
}

impl Courier {
    pub(super) fn new(way: Way, spool: Spool, shared: Arc<Shared>) -> Self {
        let index = usize::from(way.server == Role::Server1);
        let courier = Self { way, index, spool, shared, away: false, full: Fullness::default(), broken: false };
        courier.note_disk();
        courier
    }

    /// Runs until the gateway stops; what then waits in memory goes to the disk.
    pub(super) fn run(mut self) {
        while let Some(connection) = self.reach() {
            let (server, on_disk) = (self.way.server, self.spool.len().unwrap_or(0));
            (self.shared.tell)(News::Here { server, on_disk });
            self.shared.queues[self.index].set_here(true);
            let ended = self.serve(connection);
            self.shared.queues[self.index].set_here(false);
            if let Err(error) = ended {
                self.is_away(error);
            }
        }
        self.spill();
    }

    /// Writes parts to the disk until the server is reached; `None` if the gateway stops.
    fn reach(&mut self) -> Option<Connection> {
        let (sender, attempts) = sync_channel(1);
        let (way, shared) = (self.way.clone(), Arc::clone(&self.shared));
        let index = self.index;
        thread::spawn(move || seek(&way, &shared.queues[index], &sender));
        let queue = &Arc::clone(&self.shared).queues[self.index];
        while !queue.is_stopped() {
            match attempts.recv_timeout(SPILL) {
                Ok(Ok(connection)) => {
                    self.away = false;
                    *self.shared.lock_abort(self.index) = Some(connection.abort_handle());
                    return Some(connection);
                }
                Ok(Err(error)) => self.is_away(error),
                Err(_) => {}
            }
            self.spill();
        }
        None
    }

    /// Tells once that the server is away.
    fn is_away(&mut self, error: NetError) {
        if !std::mem::replace(&mut self.away, true) {
            (self.shared.tell)(News::Away { server: self.way.server, error: Box::new(error) });
        }
    }

    /// Delivers until the connection breaks or the gateway stops.
    fn serve(&mut self, mut connection: Connection) -> Result<(), NetError> {
        let shared = Arc::clone(&self.shared);
        let queue = &shared.queues[self.index];
        while !queue.is_stopped() {
            if queue.is_crowded() {
                self.spill();
            }
            let disk = self.oldest_on_disk();
            let is_disk = disk.is_some();
            let load = disk.unwrap_or_else(|| queue.take(KEEP_ALIVE));
            let delivered = self.deliver(&mut connection, &load);
            if let Ok(true) = delivered {
                count(&shared.counters.delivered[self.index], load.len() as u64);
                if is_disk {
                    self.forget(load.len());
                } else {
                    queue.done(&load);
                }
                continue;
            }
            if !is_disk {
                queue.put_back(load);
            }
            delivered?;
            queue.pause(FULL_PAUSE);
        }
        connection.close()
    }

    /// Sends a batch and passes the answers on; says whether the server had room for it.
    fn deliver(&self, connection: &mut Connection, load: &Load) -> Result<bool, NetError> {
        connection.send(&load.batch)?;
        let answers: Answers = connection.recv(MAX_ANSWER_BYTES)?;
        let (mut routed, mut lost, mut has_room) = (0, 0, true);
        for frame in answers.frames {
            let device = match Frame::decode(&frame) {
                Ok(Frame::Ack(ack)) => DeviceId(ack.device),
                Ok(Frame::Refuse(no)) if no.reason == Reason::Full.code() => {
                    has_room = false;
                    continue;
                }
                Ok(Frame::Refuse(no)) => DeviceId(no.device),
                Ok(Frame::Predicted(answer)) => match Predicted::parse(answer) {
                    Some(answer) => DeviceId(answer.device),
                    None => continue,
                },
                _ => continue,
            };
            let taken = self.shared.routes.answer(Answer { device, frame });
            *if taken { &mut routed } else { &mut lost } += 1;
        }
        count(&self.shared.counters.answers, routed);
        count(&self.shared.counters.lost_answers, lost);
        Ok(has_room)
    }

    /// The oldest parts on disk, if there are any that can be read.
    fn oldest_on_disk(&mut self) -> Option<Load> {
        if self.spool.len() == Some(0) {
            return None;
        }
        let front = self.spool.front();
        self.check(front).filter(|load| load.len() > 0)
    }

    /// The server has answered for the oldest parts on disk.
    fn forget(&mut self, parts: usize) {
        let removed = self.spool.remove(parts);
        self.check(removed);
        self.note_disk();
    }

    /// Moves what waits in memory to the disk, as far as its sources have room there.
    fn spill(&mut self) {
        let shared = Arc::clone(&self.shared);
        let spool = &mut self.spool;
        let pushed = shared.queues[self.index].drain(|parts| match parts.is_empty() {
            true => Ok(None),
            false => spool.push(parts).map(|()| spool.heaviest(parts)),
        });
        if let Some(left) = self.check(pushed)
            && self.full.is_news(left.is_some(), Instant::now())
            && let Some(source) = left
        {
            (self.shared.tell)(News::Full { server: self.way.server, source });
        }
        self.note_disk();
    }

    /// Tells of the disk's first error in a row.
    fn check<T>(&mut self, result: Result<T, redb::Error>) -> Option<T> {
        let was_broken = std::mem::replace(&mut self.broken, result.is_err());
        result
            .map_err(|error| {
                if !was_broken {
                    (self.shared.tell)(News::Buffer { server: self.way.server, error: Box::new(error) });
                }
            })
            .ok()
    }

    fn note_disk(&self) {
        if let Some(parts) = self.spool.len() {
            self.shared.counters.on_disk[self.index].store(parts, Ordering::Relaxed);
        }
    }
}

/// Whether the disk is full for a source, and since when that is known: who floods must not fill a log too.
#[derive(Default)]
struct Fullness {
    /// Each spill left something behind since this was told.
    is_told: bool,
    last: Option<Instant>,
}

impl Fullness {
    /// Notes whether a spill left something behind; says whether that is to be told.
    fn is_news(&mut self, is_left: bool, now: Instant) -> bool {
        self.is_told &= is_left;
        let is_quiet = self.last.is_some_and(|last| now.duration_since(last) < QUIET);
        let is_news = is_left && !self.is_told && !is_quiet;
        if is_news {
            *self = Self { is_told: true, last: Some(now) };
        }
        is_news
    }
}

/// Tries to connect until it succeeds, nobody waits for it any more, or the gateway stops.
fn seek(way: &Way, queue: &Queue, attempts: &SyncSender<Result<Connection, NetError>>) {
    let timeouts = Timeouts { connect: TRY.min(way.timeouts.connect), ..way.timeouts };
    let [mut pause, longest] = BACK_OFF;
    while !queue.is_stopped() {
        let attempt = connect(&way.address, &way.tls, way.server, &timeouts);
        let is_done = attempt.is_ok();
        if attempts.send(attempt).is_err() || is_done {
            return;
        }
        queue.pause(pause);
        pause = longest.min(2 * pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_as_it_begins_and_once_a_minute_at_most() {
        let (mut full, start) = (Fullness::default(), Instant::now());
        let mut told = |is_left, seconds| full.is_news(is_left, start + Duration::from_secs(seconds));
        assert!(!told(false, 0) && told(true, 1));
        // While it lasts, once.
        assert!((2..1000).all(|seconds| !told(true, seconds)));
        assert!(!told(false, 1000) && told(true, 1001));
        // One that comes and goes is told when a minute has passed.
        assert!((1002..1061).all(|seconds| !told(false, seconds) && !told(true, seconds)));
        assert!(told(true, 1061) && !told(true, 2000));
    }
}
