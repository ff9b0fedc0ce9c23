//! The gateway: devices' frames in, the two servers out, answers back.
//!
//! | module | what |
//! | --- | --- |
//! | [`news`] | what it says and counts |
//! | `pool` | room that sources share |
//! | `queue`, `spool` | parts that wait for a server, in memory and on disk |
//! | `runs` | who sent the parts on disk |
//! | `routes` | on which lines a device was last heard |
//! | `ingress` | from bytes to frames to both servers' queues |
//! | `tcp`, `serial`, `mqtt` | the lines |
//! | `courier` | a thread a server: batches out, answers in |
//!
//! - **Adversary:** the gateway, and all devices and lines, may be malicious: what passes here is sealed to the servers and authentic from end to end. The gateway holds no key of a
//!   report and reads frames and headers alone. It can delay and lose reports, and sees who sends how much when.
//! - **Guarantees:** while it runs, a part that it took leaves when its server has answered, each source's in order; while the disk cannot be
//!   read ([`news::News::Buffer`]), parts in memory overtake those on it. When it dies, parts on disk are kept, and those in memory are the devices' to send again: devices keep a report
//!   until both servers have acknowledged it, and no word of the gateway counts.
//! - **Bounds:** connections, a frame's bytes, parts in memory, bytes on disk, devices' routes, answers that wait for a line. At each bound the newest is not taken, and counted.
//! - **Fairness:** of connections, memory and disk a [`Source`] takes more while it holds less than is free: one alone ends at half, and a stranger who floods leaves room for others. A
//!   source is a host on TCP (IPv6: a network of 64 bits), a serial port, or the broker. While a server cannot keep up, the sources that bring it the most wait.
//! - **Not fair:** within a source: devices behind one address, of one IPv6 network (hosts that use link-local addresses) or of one broker share its part; a broker's own rules limit its
//!   clients. A stranger with `k` addresses leaves, while nothing is delivered, `1 / 2^k` of a room; a firewall limits addresses. What a gateway finds on its disk when it starts,
//!   or opens its file anew after any error of the disk, is nobody's: of what is left, each then may take its part again. Which part is delivered first is a matter of order alone, and so
//!   is the one thread that reads all lines.

mod courier;
mod ingress;
mod mqtt;
pub mod news;
mod pool;
mod queue;
mod routes;
mod runs;
mod serial;
mod spool;
mod tcp;

use crate::net::{
    AbortHandle, Broker, ClientTls, Config, ConfigError, ConfigFault, Identity, Lines, PrivateFileError, Role,
};
use courier::{Courier, Way};
use news::{Counters, News, Status};
pub use pool::Source;
use queue::Queue;
use routes::Routes;
use spool::Spool;
use std::{
    fmt, fs, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, runtime::Runtime, sync::Notify};

/// Figures are told this often.
const STATUS: Duration = Duration::from_secs(60);
/// On stopping, a server has this long to answer for the batch that it has.
const LAST_ANSWER: Duration = Duration::from_secs(1);
/// Who stops a gateway waits for its end no longer than this.
const LONGEST_END: Duration = Duration::from_secs(10);

/// What lines and couriers share.
struct Shared {
    queues: [Queue; 2],
    routes: Arc<Routes>,
    counters: Counters,
    aborts: [Mutex<Option<AbortHandle>>; 2],
    tell: Box<dyn Fn(News) + Send + Sync>,
}

impl Shared {
    fn status(&self) -> Status {
        self.counters.status(self.queues.each_ref().map(|queue| queue.len() as u64))
    }

    fn lock_abort(&self, server: usize) -> MutexGuard<'_, Option<AbortHandle>> {
        self.aborts[server].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A gateway that is ready to run: it listens, and has its buffer.
pub struct Gateway {
    runtime: Runtime,
    listener: Option<TcpListener>,
    address: Option<SocketAddr>,
    lines: Lines,
    password: Option<String>,
    name: String,
    couriers: Vec<Courier>,
    shared: Arc<Shared>,
    stop: StopHandle,
}

impl Gateway {
    /// Opens buffer and port. `tell` gets the news, from any thread; it must not wait long.
    ///
    /// # Errors
    ///
    /// If the configuration lacks something, the port is taken, or the buffer cannot be opened.
    pub fn open(
        config: &Config,
        identity: &Identity,
        tell: impl Fn(News) + Send + Sync + 'static,
    ) -> Result<Self, GatewayError> {
        let fault = |fault| ConfigError { file: config.file.clone(), fault };
        let lines = config.lines.clone().ok_or_else(|| fault(ConfigFault::NoLine))?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(GatewayError::System)?;
        let bind = |at: &String| {
            runtime.block_on(TcpListener::bind(at)).map_err(|error| GatewayError::Listen(at.clone(), error))
        };
        let listener = lines.tcp.as_ref().map(bind).transpose()?;
        let address = listener.as_ref().map(TcpListener::local_addr).transpose().map_err(GatewayError::System)?;
        let shared = Arc::new(Shared {
            queues: Default::default(),
            routes: Arc::default(),
            counters: Counters::default(),
            aborts: Default::default(),
            tell: Box::new(tell),
        });
        let couriers = open_couriers(config, &lines, &ClientTls::new(identity), &shared)?;
        let password = lines.mqtt.as_ref().map_or(Ok(None), Broker::password);
        let password = password.map_err(|(file, error)| GatewayError::Password(file, error))?;
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(|error| GatewayError::System(io::Error::other(error.to_string())))?;
        // Two clients of one name would push each other off the broker.
        let name = format!("symbolon-gateway-{:08x}", u32::from_le_bytes(random));
        let stop = StopHandle(Arc::default());
        Ok(Self { runtime, listener, address, lines, password, name, couriers, shared, stop })
    }

    /// Where devices connect, if they do, with the port that was taken.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// A handle that stops this gateway.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Runs until stopped. Then what waits in memory is written to the disk.
    ///
    /// # Errors
    ///
    /// If the system gives no threads.
    pub fn run(self) -> Result<(), GatewayError> {
        let Self { runtime, listener, address, lines, password, name, couriers, shared, stop } = self;
        let start = |courier: Courier| thread::Builder::new().spawn(move || courier.run());
        let threads = couriers.into_iter().map(start).collect::<io::Result<Vec<_>>>();
        if let Some(address) = address {
            (shared.tell)(News::Listening(address));
        }
        runtime.block_on(async {
            if let Some(listener) = listener {
                tokio::spawn(tcp::listen(listener, lines.connections, Arc::clone(&shared)));
            }
            for (port, line) in (0..).zip(lines.serial) {
                tokio::spawn(serial::serve(line, Source::Serial(port), Arc::clone(&shared)));
            }
            if let Some(broker) = lines.mqtt {
                tokio::spawn(mqtt::serve(broker, password, name, Arc::clone(&shared)));
            }
            tokio::spawn(tell_status(Arc::clone(&shared)));
            if threads.is_ok() {
                stop.0.wanted.notified().await;
            }
        });
        drop(runtime); // nothing is taken any more
        shared.queues.iter().for_each(Queue::stop);
        let threads = threads.map_err(GatewayError::System);
        let result = threads.map(|threads| end(threads, &shared));
        (shared.tell)(News::Status(shared.status()));
        stop.0.done();
        result
    }
}

fn open_couriers(
    config: &Config,
    lines: &Lines,
    tls: &ClientTls,
    shared: &Arc<Shared>,
) -> Result<Vec<Courier>, GatewayError> {
    let broken = |error: redb::Error| GatewayError::Buffer(lines.buffer.clone(), Box::new(error));
    fs::create_dir_all(&lines.buffer).map_err(|error| broken(error.into()))?;
    let open = |server: Role| {
        let spool = Spool::open(lines.buffer.join(format!("{server}.redb")), lines.buffer_bytes / 2).map_err(broken)?;
        let address = config.peer(server)?.to_owned();
        let way = Way { server, address, tls: tls.clone(), timeouts: config.timeouts };
        Ok(Courier::new(way, spool, Arc::clone(shared)))
    };
    [Role::Server0, Role::Server1].into_iter().map(open).collect()
}

/// Tells figures each minute and, on Unix, on SIGUSR1.
async fn tell_status(shared: Arc<Shared>) {
    let tell = || (shared.tell)(News::Status(shared.status()));
    #[cfg(unix)]
    let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::user_defined1());
    #[cfg(unix)]
    if let Ok(mut signal) = signal {
        loop {
            let _ = tokio::time::timeout(STATUS, signal.recv()).await;
            tell();
        }
    }
    loop {
        tokio::time::sleep(STATUS).await;
        tell();
    }
}

/// Waits for the couriers, and for servers that do not answer not long.
fn end(threads: Vec<JoinHandle<()>>, shared: &Shared) {
    let patience = Instant::now() + LAST_ANSWER;
    while Instant::now() < patience && !threads.iter().all(JoinHandle::is_finished) {
        thread::sleep(Duration::from_millis(5));
    }
    for server in 0..2 {
        if let Some(abort) = shared.lock_abort(server).take() {
            abort.abort();
        }
    }
    // A courier that panicked has nothing left to end.
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

/// Stops a [`Gateway`].
#[derive(Clone)]
pub struct StopHandle(Arc<Stop>);

#[derive(Default)]
struct Stop {
    wanted: Notify,
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn done(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

impl StopHandle {
    /// Stops the gateway and waits, not for ever, until it has.
    pub fn stop(&self) {
        self.0.wanted.notify_one();
        let ended = self.0.ended.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.changed.wait_timeout_while(ended, LONGEST_END, |ended| !*ended));
    }
}

/// Why a gateway does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum GatewayError {
    /// Something is missing from its file.
    Config(ConfigError),
    /// The address that devices connect to cannot be listened on.
    Listen(String, io::Error),
    /// The buffer cannot be opened.
    Buffer(PathBuf, Box<redb::Error>),
    /// The broker's password cannot be read.
    Password(PathBuf, PrivateFileError),
    /// The system gives no threads, sockets or random bytes.
    System(io::Error),
}

impl From<ConfigError> for GatewayError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::Listen(at, error) => write!(f, "gateway.tcp: cannot listen on {at}: {error}"),
            Self::Buffer(at, error) => {
                write!(f, "gateway.buffer: {}: {error}; is another gateway running?", at.display())
            }
            Self::Password(file, error) => write!(f, "gateway.mqtt.password_file: {}: {error}", file.display()),
            Self::System(error) => write!(f, "the system refuses: {error}"),
        }
    }
}

impl std::error::Error for GatewayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Buffer(_, error) => Some(error),
            Self::Password(_, error) => Some(error),
            Self::Listen(_, error) | Self::System(error) => Some(error),
        }
    }
}
