//! Devices over TCP: frames in COBS, of any number of devices a connection.
//!
//! A connection costs a decoder and what is on its way; the bytes that are read share a buffer on the stack.

use super::{
    Shared,
    ingress::{Stream, gather},
    news::count,
    pool::{Pool, Source},
    routes::Answer,
};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::Receiver,
    time::timeout,
};

/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;
/// A connection must bring a device's frame within this time, or is closed.
const FIRST: Duration = Duration::from_secs(30);
/// And then within this one.
const NEXT: Duration = Duration::from_secs(3600);
/// A connection that takes no byte of its answers for so long is closed.
const STUCK: Duration = Duration::from_secs(30);
/// After an error of the listener, such as too many open files.
const BREATHER: Duration = Duration::from_millis(100);

/// A connection's place among those of all sources.
struct Place {
    places: Arc<Mutex<Pool>>,
    source: Source,
}

impl Place {
    fn take(places: &Arc<Mutex<Pool>>, source: Source) -> Option<Self> {
        let is_taken = places.lock().unwrap_or_else(PoisonError::into_inner).take(source, 1);
        is_taken.then(|| Self { places: Arc::clone(places), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.source, 1);
    }
}

/// Accepts connections for ever, at most `connections` at a time, of one host about half as many.
pub(super) async fn listen(listener: TcpListener, connections: usize, shared: Arc<Shared>) {
    let places = Arc::new(Mutex::new(Pool::new(connections as u64)));
    loop {
        let Ok((socket, peer)) = listener.accept().await else {
            tokio::time::sleep(BREATHER).await;
            continue;
        };
        let Some(place) = Place::take(&places, peer.ip().into()) else {
            count(&shared.counters.refused, 1);
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // However it ends, a device connects again when it has something to say.
            let _ = serve(&socket, place.source, &shared).await;
            drop(place);
        });
    }
}

async fn serve(socket: &TcpStream, source: Source, shared: &Arc<Shared>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let (stream, answers) = Stream::open(shared, source);
    tokio::select! {
        ended = read(socket, stream) => ended,
        ended = write(socket, answers) => ended,
    }
}

async fn read(socket: &TcpStream, mut stream: Stream) -> io::Result<()> {
    let mut patience = FIRST;
    let mut heard = tokio::time::Instant::now();
    loop {
        tokio::time::timeout_at(heard + patience, socket.readable()).await??;
        match take(socket, &mut stream) {
            Ok(None) => return Ok(()),
            Ok(Some(true)) => (patience, heard) = (NEXT, tokio::time::Instant::now()),
            Ok(Some(false)) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        stream.ingress.yield_to_servers().await;
        // A peer that always has bytes must leave others their turn.
        tokio::task::yield_now().await;
    }
}

/// Reads what is there; `None` at the end.
fn take(socket: &TcpStream, stream: &mut Stream) -> io::Result<Option<bool>> {
    let mut bytes = [0; READ_BYTES];
    let len = socket.try_read(&mut bytes)?;
    Ok((len > 0).then(|| stream.take(&bytes[..len])))
}

async fn write(socket: &TcpStream, mut answers: Receiver<Answer>) -> io::Result<()> {
    let mut out = Vec::new();
    while gather(&mut answers, &mut out).await {
        let mut rest = &out[..];
        while !rest.is_empty() {
            timeout(STUCK, socket.writable()).await??;
            match socket.try_write(rest) {
                Ok(len) => rest = &rest[len..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
