//! Two servers that note what they are sent, devices that seal nothing, and a gateway between.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};
use symbolon::{
    gateway::{
        Gateway, StopHandle,
        news::{News, Status},
    },
    intake::wire::{Answers, Batch, MAX_BATCH_BYTES},
    net::{
        AbortHandle, Capacity, Config, Deployment, Hosts, Listener, Role, ServerTls, StopHandle as ListenerStop,
        Timeouts,
    },
};
use symbolon_core::report::{
    Reason,
    frame::{Ack, Decoder, Frame, Part, Refuse},
    header::{DeviceId, Header, ReportId, StartHeader},
};

pub const SERVERS: [Role; 2] = [Role::Server0, Role::Server1];
/// Longer than anything takes, even on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A directory of one test's own, removed at its end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("symbolon-gateway-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that acknowledges everything.
pub struct Server {
    pub address: SocketAddr,
    /// Names of the parts that came, in order.
    pub got: Arc<Mutex<Vec<ReportId>>>,
    /// Its store is full: it takes nothing.
    pub is_full: Arc<AtomicBool>,
    stop: ListenerStop,
    aborts: Arc<Mutex<Vec<AbortHandle>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(deployment: &Deployment, role: Role, address: &str) -> Self {
        let listener = Listener::bind(address).unwrap();
        let tls = ServerTls::new(&deployment.identity(role).unwrap(), &[Role::Gateway]);
        let (address, stop) = (listener.local_addr(), listener.stop_handle());
        let (got, aborts) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<AbortHandle>>>::default());
        let (notes, handles) = (Arc::clone(&got), Arc::clone(&aborts));
        let is_full = Arc::<AtomicBool>::default();
        let full = Arc::clone(&is_full);
        let serve = move || {
            listener.serve(&tls, &Timeouts::default(), Capacity::default(), |accepted| {
                let Ok((mut connection, _)) = accepted else { return };
                handles.lock().unwrap().push(connection.abort_handle());
                while let Ok(Batch { parts }) = connection.recv(MAX_BATCH_BYTES) {
                    let names: Vec<_> = parts.iter().map(|part| name(part, role)).collect();
                    let is_full = full.load(Ordering::Relaxed);
                    let answer = if is_full { no_room } else { ack };
                    let frames = names.iter().map(|name| answer(role, *name)).collect();
                    if !is_full {
                        notes.lock().unwrap().extend(names);
                    }
                    if connection.send(&Answers { frames }).is_err() {
                        return;
                    }
                }
            });
        };
        Self { address, got, is_full, stop, aborts, thread: Some(thread::spawn(serve)) }
    }

    pub fn count(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    /// Starts again where it was.
    pub fn again(deployment: &Deployment, role: Role, address: SocketAddr) -> Self {
        Self::start(deployment, role, &address.to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.stop();
        let Some(thread) = self.thread.take() else { return };
        // A connection may still be in its handshake now, and begin to be served after the others have ended.
        while !thread.is_finished() {
            self.aborts.lock().unwrap().iter().for_each(AbortHandle::abort);
            thread::sleep(Duration::from_millis(5));
        }
        let _ = thread.join();
    }
}

fn name(part: &[u8], role: Role) -> ReportId {
    let part: Part<'_> = postcard::from_bytes(part).unwrap();
    let index = u8::from(role == Role::Server1);
    match part {
        Part::Start { server, header, .. } => {
            assert_eq!(server, index);
            let header = StartHeader::parse(header).unwrap();
            ReportId { device: header.device, boot: header.boot, sequence: 0 }
        }
        Part::Report { server, header, sealed, .. } => {
            assert_eq!((server, sealed.is_empty()), (index, index == 0));
            Header::parse(header).unwrap().id
        }
    }
}

fn ack(role: Role, name: ReportId) -> Vec<u8> {
    let frame = Frame::Ack(Ack {
        server: u8::from(role == Role::Server1),
        device: name.device.0,
        boot: name.boot,
        from: name.sequence,
        held: 1,
        tag: [7; 16],
    });
    frame.encode(&mut [0; 128]).unwrap().to_vec()
}

fn no_room(role: Role, name: ReportId) -> Vec<u8> {
    let frame = Frame::Refuse(Refuse {
        server: u8::from(role == Role::Server1),
        device: name.device.0,
        boot: name.boot,
        sequence: name.sequence,
        reason: Reason::Full.code(),
        tag: [0; 16],
    });
    frame.encode(&mut [0; 128]).unwrap().to_vec()
}

/// A gateway on threads of its own, and what it says.
pub struct Running {
    pub address: Option<SocketAddr>,
    stop: StopHandle,
    news: Mutex<mpsc::Receiver<News>>,
    heard: Mutex<Vec<News>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts a gateway with this `[gateway]` section, in `dir`.
    pub fn start(deployment: &Deployment, servers: [SocketAddr; 2], dir: &Path, section: &str) -> Self {
        let text = format!(
            "role = \"gateway\"\n[peers]\nserver0 = \"{}\"\nserver1 = \"{}\"\n\
             [tls]\ncertificate = \"c\"\nkey = \"k\"\nca = \"a\"\n[timeouts]\nidle_ms = 60000\n[gateway]\n{section}\n",
            servers[0], servers[1]
        );
        let config = Config::parse(&text, &dir.join("gateway.toml")).unwrap();
        let (sender, news) = mpsc::channel();
        let tell = move |news| drop(sender.send(news));
        let gateway = Gateway::open(&config, &deployment.identity(Role::Gateway).unwrap(), tell).unwrap();
        let (address, stop) = (gateway.local_addr(), gateway.stop_handle());
        let thread = Some(thread::spawn(|| gateway.run().unwrap()));
        Self { address, stop, news: Mutex::new(news), heard: Mutex::default(), thread }
    }

    /// Whether the gateway has said so.
    pub fn has_said(&self, wanted: impl Fn(&News) -> bool) -> bool {
        let mut heard = self.heard.lock().unwrap();
        heard.extend(self.news.lock().unwrap().try_iter());
        heard.iter().any(wanted)
    }

    /// How often the gateway has said so.
    pub fn count(&self, wanted: impl Fn(&News) -> bool) -> usize {
        self.has_said(|_| false);
        self.heard.lock().unwrap().iter().filter(|news| wanted(news)).count()
    }

    /// Waits until the gateway says so.
    pub fn says(&self, what: &str, wanted: impl Fn(&News) -> bool) {
        until(what, || self.has_said(&wanted));
    }

    /// Forgets what it said so far.
    pub fn hush(&self) {
        self.has_said(|_| true);
        self.heard.lock().unwrap().clear();
    }

    pub fn device(&self, id: u64) -> Device {
        Device::connect(self.address.unwrap(), id)
    }

    /// A device at this address, one of those that lead back to this host.
    pub fn device_from(&self, host: Ipv4Addr, id: u64) -> Device {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let socket = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind((host, 0).into()).unwrap();
            socket.connect(self.address.unwrap()).await.unwrap().into_std().unwrap()
        });
        socket.set_nonblocking(false).unwrap();
        Device::on(socket, id)
    }

    /// Stops it; returns its last figures.
    pub fn stop(mut self) -> Status {
        self.end();
        self.has_said(|_| true);
        let heard = self.heard.lock().unwrap();
        let last = heard.iter().rev().find_map(|news| match news {
            News::Status(status) => Some(*status),
            _ => None,
        });
        last.unwrap()
    }

    fn end(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.end();
        }
    }
}

/// What a device sends: number 0 is a start.
pub fn frame_of(id: ReportId, record: &[u8], scratch: &mut Vec<u8>) -> Vec<u8> {
    scratch.resize(2 * record.len() + 512, 0);
    let mut tag = [0; 16];
    tag[..4].copy_from_slice(&id.sequence.to_le_bytes());
    if id.sequence == 0 {
        let header = StartHeader { device: id.device, boot: id.boot, schema: [1; 32], keys: [1, 2], session: [3; 16] }
            .to_bytes();
        let frame = Frame::Start { header: &header, enc: [[3; 32]; 2], tags: [tag; 2] };
        return frame.encode(scratch).unwrap().to_vec();
    }
    let header = Header { id, time_ms: 1, dropped: 0, about: None }.to_bytes();
    let frame = Frame::Report { header: header.as_ref(), tags: [tag; 2], sealed: record };
    frame.encode(scratch).unwrap().to_vec()
}

/// The same on a byte stream.
pub fn on_stream(frame: &[u8]) -> Vec<u8> {
    let mut out = cobs::encode_vec(frame);
    out.push(0);
    out
}

/// A device on a byte stream.
pub struct Device {
    pub id: DeviceId,
    pub socket: TcpStream,
    decoder: Decoder<256>,
}

impl Device {
    pub fn connect(address: SocketAddr, id: u64) -> Self {
        Self::on(TcpStream::connect(address).unwrap(), id)
    }

    fn on(socket: TcpStream, id: u64) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { id: DeviceId(id), socket, decoder: Decoder::new() }
    }

    pub fn name(&self, sequence: u32) -> ReportId {
        ReportId { device: self.id, boot: 1, sequence }
    }

    pub fn send(&mut self, sequence: u32, record_bytes: usize) {
        let frame = frame_of(self.name(sequence), &vec![9; record_bytes], &mut Vec::new());
        self.socket.write_all(&on_stream(&frame)).unwrap();
    }

    /// The next answer: from which server, about which report of whom.
    pub fn answer(&mut self) -> (u8, ReportId) {
        loop {
            let mut byte = [0];
            self.socket.read_exact(&mut byte).unwrap();
            if let Some(frame) = self.decoder.push(byte[0]) {
                let Ok(Frame::Ack(ack)) = frame else { panic!("{frame:?}") };
                let id = ReportId { device: DeviceId(ack.device), boot: ack.boot, sequence: ack.from };
                return (ack.server, id);
            }
        }
    }

    /// The next answers of both servers, which are about this report.
    pub fn both_answer(&mut self, sequence: u32) {
        let mut servers = [self.answer(), self.answer()];
        servers.sort_unstable();
        assert_eq!(servers, [0, 1].map(|server| (server, self.name(sequence))));
    }

    /// Waits until both servers have answered this report. Answers to earlier ones may come before.
    pub fn both_answer_at_last(&mut self, sequence: u32) {
        let mut answered = [false; 2];
        while answered != [true; 2] {
            let (server, id) = self.answer();
            assert!(id.sequence <= sequence && id == self.name(id.sequence), "{id:?}");
            answered[usize::from(server)] |= id.sequence == sequence;
        }
    }
}

pub fn deployment() -> Deployment {
    Deployment::generate(&Hosts::default(), SystemTime::now() - Duration::from_secs(3600), 10).unwrap()
}

/// Two servers, a directory, and the deployment.
pub struct World {
    pub deployment: Deployment,
    pub servers: [Server; 2],
    pub scratch: Scratch,
}

impl World {
    pub fn new(test: &str) -> Self {
        let deployment = deployment();
        let servers = SERVERS.map(|role| Server::start(&deployment, role, "127.0.0.1:0"));
        Self { deployment, servers, scratch: Scratch::new(test) }
    }

    /// The same, but that server 1 is away; and where each server is, or will be.
    pub fn without_server1(test: &str) -> (Self, [SocketAddr; 2]) {
        let mut world = Self::new(test);
        let addresses = world.addresses();
        world.servers[1] = Server::start(&world.deployment, Role::Server1, "127.0.0.1:0");
        (world, addresses)
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        self.servers.each_ref().map(|server| server.address)
    }

    pub fn gateway(&self, section: &str) -> Running {
        Running::start(&self.deployment, self.addresses(), &self.scratch.0, section)
    }
}
