//! Accepting connections, with an end.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::connection::{Connection, Timeouts};
use super::door::{Capacity, Door};
use super::error::{Cause, NetError, Operation, Peer};
use super::handshake::accept_if;
use super::role::Role;
use super::tls::ServerTls;

/// Pause after the operating system refused to accept, as when it has no descriptors left.
const BREATHER: Duration = Duration::from_millis(100);

/// A listening TCP socket.
#[derive(Debug)]
pub struct Listener {
    runtime: Runtime,
    socket: tokio::net::TcpListener,
    address: SocketAddr,
    stop: Arc<Stop>,
}

#[derive(Debug, Default)]
struct Stop {
    stopped: AtomicBool,
    notify: Notify,
}

/// Stops a [`Listener`] from another thread. Cloned handles stop the same one.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<Stop>);

impl StopHandle {
    /// Stops the listener, now and for good: what waits returns.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        self.0.notify.notify_one();
    }

    /// Whether it was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Acquire)
    }
}

impl Listener {
    /// Listens on `address` (`host:port`; port 0 takes a free one).
    ///
    /// # Errors
    ///
    /// If the address does not resolve, is not this machine's, or is taken.
    pub fn bind(address: &str) -> Result<Self, NetError> {
        Self::bind_io(address).map_err(|error| listen_error(address.to_owned(), error))
    }

    fn bind_io(address: &str) -> io::Result<Self> {
        let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let socket = runtime.block_on(tokio::net::TcpListener::bind(&addresses[..]))?;
        let address = socket.local_addr()?;
        Ok(Self { runtime, socket, address, stop: Arc::default() })
    }

    /// The address listened on, with the port that was taken.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A handle that stops this listener.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.stop))
    }

    /// Waits for a TCP connection; without `timeout`, for as long as it takes. `None` if the time is over, or if the
    /// listener was stopped.
    ///
    /// # Errors
    ///
    /// If the operating system refuses. It may recover: try again after a pause.
    pub fn accept(&self, timeout: Option<Duration>) -> Result<Option<TcpStream>, NetError> {
        let wait = async {
            loop {
                if self.stop.stopped.load(Ordering::Acquire) {
                    return Ok(None);
                }
                tokio::select! {
                    biased;
                    () = self.stop.notify.notified() => {}
                    accepted = self.socket.accept() => match accepted {
                        Ok((stream, _)) => return stream.into_std().map(Some),
                        // The peer was gone before it was accepted.
                        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                        Err(error) => return Err(error),
                    },
                }
            }
        };
        let result = self.runtime.block_on(async {
            match timeout {
                None => wait.await,
                Some(timeout) => tokio::time::timeout(timeout, wait).await.unwrap_or(Ok(None)),
            }
        });
        result.map_err(|error| listen_error(self.address.to_string(), error))
    }

    /// Accepts connections until stopped, each on a thread of its own, and hands them to `handler` there: authenticated,
    /// or with the error that tells why not. Connections beyond `capacity` are closed at once.
    /// Returns when stopped and all handlers have returned.
    ///
    /// # Panics
    ///
    /// If a handler panicked.
    pub fn serve<H>(&self, tls: &ServerTls, timeouts: &Timeouts, capacity: Capacity, handler: H)
    where
        H: Fn(Result<(Connection, Role), NetError>) + Sync,
    {
        let door = Door::new(capacity);
        std::thread::scope(|scope| {
            loop {
                match self.accept(None) {
                    Ok(Some(stream)) => {
                        let handler = &handler;
                        // A peer that has left already has no address.
                        let Ok(address) = stream.peer_addr() else { continue };
                        let Some(knock) = door.knock(address.ip()) else {
                            if door.reports() {
                                handler(Err(crowded(address)));
                            }
                            continue;
                        };
                        let serve = move || {
                            let result = accept_if(stream, tls, timeouts, |role| knock.enter(role));
                            drop(knock);
                            match result {
                                Ok((connection, role, _place)) => handler(Ok((connection, role))),
                                Err(error) => handler(Err(error)),
                            }
                        };
                        if let Err(error) = Builder::new().spawn_scoped(scope, serve) {
                            handler(Err(listen_error(self.address.to_string(), error)));
                        }
                    }
                    Ok(None) => return,
                    Err(error) => {
                        handler(Err(error));
                        std::thread::sleep(BREATHER);
                    }
                }
            }
        });
    }
}

fn listen_error(address: String, error: io::Error) -> NetError {
    NetError { peer: Peer { role: None, address }, operation: Operation::Listen, cause: Cause::Io(error) }
}

fn crowded(address: SocketAddr) -> NetError {
    let peer = Peer { role: None, address: address.to_string() };
    NetError { peer, operation: Operation::Handshake, cause: Cause::Crowded }
}
