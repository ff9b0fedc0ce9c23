//! A device's line: TCP to a gateway, or MQTT 5 to the broker that a gateway listens to.

use crate::net::{Broker, PrivateFileError};
use rumqttc::v5::{
    Client, Connection, Event, Incoming, MqttOptions,
    mqttbytes::{
        QoS,
        v5::{Packet, SubscribeReasonCode},
    },
};
use std::{
    fmt,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs},
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};
use symbolon_core::report::{
    frame::{Decoder, Frame},
    header::DeviceId,
    schema::MAX_RECORD_BYTES,
};

/// The longest frame on the line.
const FRAME_BYTES: usize = MAX_RECORD_BYTES + MAX_RECORD_BYTES / 254 + 128;
/// The longest answer, framed.
const ANSWER_BYTES: usize = 224;
/// Answers that wait to be read.
const ANSWERS: usize = 256;
/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 32 << 10;
/// Messages that wait for the broker: more than a device has reports on their way.
const REQUESTS: usize = 256;
/// The broker's time to accept a connection and a subscription.
const MEETING: Duration = Duration::from_secs(10);
/// The longest silence towards the broker.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How a device reaches its gateway.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Way {
    /// TCP to the gateway: `host:port`.
    Tcp(String),
    /// MQTT 5 through a broker: reports go to the topic `PREFIX/DEVICE/up`, answers come from
    /// `PREFIX/DEVICE/down`.
    Mqtt(Broker),
}

impl From<&str> for Way {
    fn from(address: &str) -> Self {
        Self::Tcp(address.to_owned())
    }
}

impl From<&String> for Way {
    fn from(address: &String) -> Self {
        Self::Tcp(address.clone())
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "gateway {address}"),
            Self::Mqtt(Broker { host, port, .. }) => write!(f, "broker {host}:{port}"),
        }
    }
}

impl Way {
    /// Looks the address up.
    pub(super) fn resolve(&self) -> io::Result<()> {
        let mut found = match self {
            Self::Tcp(address) => address.to_socket_addrs()?,
            Self::Mqtt(broker) => (broker.host.as_str(), broker.port).to_socket_addrs()?,
        };
        found.next().map(|_| ()).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
    }

    /// Reads the broker's password, if it wants one.
    pub(super) fn password(&self) -> Result<Option<String>, (PathBuf, PrivateFileError)> {
        match self {
            Self::Tcp(_) => Ok(None),
            Self::Mqtt(broker) => broker.password(),
        }
    }

    /// Opens a line for `device`, and starts the thread that reads its answers.
    pub(super) fn dial(&self, device: DeviceId, password: Option<&str>) -> io::Result<Line> {
        let (to, answers) = sync_channel(ANSWERS);
        let thread = thread::Builder::new().name("answers".to_owned());
        let out = match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(MEETING))?;
                let reader = stream.try_clone()?;
                thread.spawn(move || read(reader, &to))?;
                Out::Stream { stream, gathered: Vec::with_capacity(WRITE_BYTES + FRAME_BYTES) }
            }
            Self::Mqtt(broker) => {
                let (client, connection) = meet(broker, device, password)?;
                thread.spawn(move || hear(connection, &to))?;
                Out::Topic { client, topic: format!("{}/{device}/up", broker.prefix) }
            }
        };
        Ok(Line { out, answers, buffers: Box::new([[0; FRAME_BYTES]; 2]) })
    }
}

/// Connects to the broker and subscribes to the device's answers.
fn meet(broker: &Broker, device: DeviceId, password: Option<&str>) -> io::Result<(Client, Connection)> {
    let mut options = MqttOptions::new(format!("symbolon-{device}"), &broker.host, broker.port);
    options.set_keep_alive(KEEP_ALIVE).set_clean_start(true);
    if let (Some((user, _)), Some(password)) = (&broker.login, password) {
        options.set_credentials(user, password);
    }
    let (client, mut connection) = Client::new(options, REQUESTS);
    client.try_subscribe(format!("{}/{device}/down", broker.prefix), QoS::AtLeastOnce).map_err(io::Error::other)?;
    let end = Instant::now() + MEETING;
    loop {
        let event = connection.recv_timeout(end.saturating_duration_since(Instant::now()));
        let event = event.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map_err(io::Error::other)?;
        if let Event::Incoming(Packet::SubAck(ack)) = event {
            let granted = ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_)));
            let refused = || io::Error::new(io::ErrorKind::PermissionDenied, "the broker refuses the device's topic");
            return granted.then_some((client, connection)).ok_or_else(refused);
        }
    }
}

/// A connection, and what the thread that reads it found.
pub(super) struct Line {
    out: Out,
    /// Encoded frames, each an answer.
    pub(super) answers: Receiver<Vec<u8>>,
    buffers: Box<[[u8; FRAME_BYTES]; 2]>,
}

enum Out {
    /// Frames in COBS.
    Stream { stream: TcpStream, gathered: Vec<u8> },
    /// A frame a message.
    Topic { client: Client, topic: String },
}

impl Line {
    /// Sends a frame, perhaps together with those that follow; returns its bytes.
    pub(super) fn send(&mut self, frame: &Frame<'_>) -> io::Result<usize> {
        let [plain, framed] = &mut *self.buffers;
        // Frames of records that the node took fit: its records are no longer than the buffers
        // allow for.
        match &mut self.out {
            Out::Stream { gathered, .. } => {
                let bytes = frame.encode_stream(plain, framed).unwrap_or_default();
                gathered.extend_from_slice(bytes);
                let (sent, is_full) = (bytes.len(), gathered.len() >= WRITE_BYTES);
                if is_full { self.flush().map(|()| sent) } else { Ok(sent) }
            }
            Out::Topic { client, topic } => {
                let Ok(bytes) = frame.encode(plain) else { return Ok(0) };
                // A message without room is lost, and its report sent again; a lost broker ends the
                // answers too.
                let _ = client.try_publish(topic.as_str(), QoS::AtLeastOnce, false, bytes.to_vec());
                Ok(bytes.len())
            }
        }
    }

    /// Sends what is gathered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Out::Stream { stream, gathered } = &mut self.out else { return Ok(()) };
        let written = stream.write_all(gathered);
        gathered.clear();
        written
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Ends the reader; a line that is gone has ended it already.
        match &self.out {
            Out::Stream { stream, .. } => drop(stream.shutdown(Shutdown::Both)),
            Out::Topic { client, .. } => drop(client.try_disconnect()),
        }
    }
}

fn is_answer(frame: &Frame<'_>) -> bool {
    frame.parts().is_none()
}

/// Reads answers until the line or the device is gone.
fn read(mut stream: TcpStream, to: &SyncSender<Vec<u8>>) {
    let mut decoder = Decoder::<ANSWER_BYTES>::new();
    let mut bytes = [0; 4096];
    loop {
        let read = match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        for byte in &bytes[..read] {
            let Some(Ok(frame)) = decoder.push(*byte) else { continue };
            let mut encoded = [0; ANSWER_BYTES];
            let Some(Ok(answer)) = is_answer(&frame).then(|| frame.encode(&mut encoded)) else { continue };
            if to.send(answer.to_vec()).is_err() {
                return;
            }
        }
    }
}

/// Hears answers until the broker or the device is gone; moves the device's messages meanwhile.
fn hear(mut connection: Connection, to: &SyncSender<Vec<u8>>) {
    for event in connection.iter() {
        match event {
            Ok(Event::Incoming(Incoming::Publish(message))) => {
                let is_answer = Frame::decode(&message.payload).is_ok_and(|frame| is_answer(&frame));
                if is_answer && to.send(message.payload.to_vec()).is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}
