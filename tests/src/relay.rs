//! A relay between two roles that holds the certificates of both and records what they say: the whole truth about what each receives.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::wire::take_greeting;
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring::default_provider, version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use symbolon::net::{Deployment, Role};

/// Pause when neither side has anything.
const PAUSE: Duration = Duration::from_micros(200);

/// What passed on one connection.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    /// From the connecting role.
    pub asked: Vec<u8>,
    /// From the other.
    pub answered: Vec<u8>,
}

/// Passes on what `from` says to `to`, and the answers. Stops when dropped.
pub struct Relay {
    /// Who connects.
    pub from: Role,
    /// Whom it means.
    pub to: Role,
    /// Where it listens.
    pub port: u16,
    talks: Arc<Mutex<Vec<Arc<Mutex<Talk>>>>>,
    stop: Arc<AtomicBool>,
}

impl Relay {
    /// Listens in the place of `to`, which is at `port`.
    #[must_use]
    pub fn start(deployment: &Deployment, from: Role, to: Role, port: u16) -> Self {
        Self::start_flipping(deployment, from, to, port, None)
    }

    /// The same, which flips a bit of byte `flip` of each connection's answers, as a peer that
    /// deviates would.
    #[must_use]
    pub fn start_flipping(deployment: &Deployment, from: Role, to: Role, port: u16, flip: Option<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let (server, client) = (as_server(deployment, to), as_client(deployment, from));
        let (talks, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(AtomicBool::new(false)));
        let relay = Self { from, to, port: own, talks: Arc::clone(&talks), stop: Arc::clone(&stop) };
        thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                let Ok((near, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                };
                let far = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let talk = Arc::<Mutex<Talk>>::default();
                talks.lock().unwrap().push(Arc::clone(&talk));
                let near = Side { socket: near, tls: ServerConnection::new(Arc::clone(&server)).unwrap().into() };
                let name = ServerName::try_from(to.name()).unwrap();
                let far = Side { socket: far, tls: ClientConnection::new(Arc::clone(&client), name).unwrap().into() };
                let stop = Arc::clone(&stop);
                thread::spawn(move || pass(near, far, &talk, flip, &stop));
            }
        });
        relay
    }

    /// What has passed so far, connection by connection.
    #[must_use]
    pub fn talks(&self) -> Vec<Talk> {
        self.talks.lock().unwrap().iter().map(|talk| talk.lock().unwrap().clone()).collect()
    }

    /// The same without the greetings.
    #[must_use]
    pub fn talks_after_greetings(&self) -> Vec<Talk> {
        let mut talks = self.talks();
        for tape in talks.iter_mut().flat_map(|talk| [&mut talk.asked, &mut talk.answered]) {
            let mut rest = &tape[..];
            take_greeting(&mut rest);
            *tape = rest.to_vec();
        }
        talks
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Connects to `to` at `port` with the certificate of `from`, and leaves all that follows to the caller, the greeting too.
#[must_use]
pub fn speak(deployment: &Deployment, from: Role, to: Role, port: u16) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from(to.name()).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    StreamOwned::new(ClientConnection::new(as_client(deployment, from), name).unwrap(), socket)
}

type Certified = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certified(deployment: &Deployment, role: Role) -> Certified {
    let credentials = deployment.credentials(role);
    let certificate = CertificateDer::from_pem_slice(credentials.certificate.as_bytes()).unwrap();
    (vec![certificate], PrivateKeyDer::from_pem_slice(credentials.key.as_bytes()).unwrap())
}

fn as_server(deployment: &Deployment, role: Role) -> Arc<ServerConfig> {
    let (chain, key) = certified(deployment, role);
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_protocol_versions(&[&TLS13]).unwrap().with_no_client_auth();
    Arc::new(config.with_single_cert(chain, key).unwrap())
}

fn as_client(deployment: &Deployment, role: Role) -> Arc<ClientConfig> {
    let (chain, key) = certified(deployment, role);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(deployment.ca().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_protocol_versions(&[&TLS13]).unwrap().with_root_certificates(roots);
    Arc::new(config.with_client_auth_cert(chain, key).unwrap())
}

/// One side of a relayed connection.
struct Side {
    socket: TcpStream,
    tls: Connection,
}

/// What a look at a side found.
enum Found {
    Nothing,
    Something,
    End,
}

impl Side {
    fn ready(&mut self) {
        self.socket.set_nonblocking(true).unwrap();
        self.socket.set_nodelay(true).unwrap();
        self.tls.set_buffer_limit(None);
    }

    /// Reads what has arrived and appends its plaintext.
    fn read(&mut self, plain: &mut Vec<u8>) -> Found {
        let found = match self.tls.read_tls(&mut self.socket) {
            Ok(0) => Found::End,
            Ok(_) => Found::Something,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Found::Nothing,
            Err(_) => Found::End,
        };
        if self.tls.process_new_packets().is_err() {
            return Found::End;
        }
        let mut buffer = [0; 16384];
        loop {
            match self.tls.reader().read(&mut buffer) {
                Ok(0) => return Found::End, // said goodbye
                Ok(len) => plain.extend_from_slice(&buffer[..len]),
                Err(_) => return found,
            }
        }
    }

    /// Writes what the socket takes.
    fn write(&mut self) -> io::Result<bool> {
        let mut wrote = false;
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => wrote = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(wrote)
    }

    /// Says goodbye and ends.
    fn end(&mut self) {
        self.tls.send_close_notify();
        let _ = self.socket.set_nonblocking(false);
        let _ = self.socket.set_write_timeout(Some(Duration::from_secs(5)));
        while self.tls.wants_write() && self.tls.write_tls(&mut self.socket).is_ok() {}
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Passes bytes both ways until one side ends.
fn pass(mut near: Side, mut far: Side, talk: &Mutex<Talk>, flip: Option<usize>, stop: &AtomicBool) {
    near.ready();
    far.ready();
    let mut over = false;
    while !over && !stop.load(Ordering::Acquire) {
        let mut moved = false;
        for asking in [true, false] {
            let (from, to) = if asking { (&mut near, &mut far) } else { (&mut far, &mut near) };
            let mut plain = Vec::new();
            match from.read(&mut plain) {
                Found::Nothing => {}
                Found::Something => moved = true,
                Found::End => over = true,
            }
            let mut talk = talk.lock().unwrap();
            let tape = if asking { &mut talk.asked } else { &mut talk.answered };
            let flipped = flip.filter(|_| !asking).and_then(|at| plain.get_mut(at.checked_sub(tape.len())?));
            if let Some(byte) = flipped {
                *byte ^= 1;
            }
            tape.extend_from_slice(&plain);
            over |= to.tls.writer().write_all(&plain).is_err();
        }
        for side in [&mut near, &mut far] {
            match side.write() {
                Ok(wrote) => moved |= wrote,
                Err(_) => over = true,
            }
        }
        if !moved {
            thread::sleep(PAUSE);
        }
    }
    near.end();
    far.end();
}
