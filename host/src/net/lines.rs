//! Where a gateway hears devices, and what it keeps for servers that are away.
//!
//! ```toml
//! [gateway] # at least one of tcp, serial and mqtt
//! tcp = "0.0.0.0:7103"
//! connections = 1024
//! serial = [{ path = "/dev/ttyUSB0", baud = 115200 }]
//! buffer = "buffer" # a directory, relative to this file
//! buffer_mib = 256
//! [gateway.mqtt]
//! url = "mqtt://broker.example:1883"
//! prefix = "symbolon"
//! user = "gateway"
//! password_file = "password"
//! ```

use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::config::{ConfigFault, address};
use crate::secret::{PrivateFileError, read_private};

/// Port of a broker that the URL does not name.
const MQTT_PORT: u16 = 1883;

/// The lines on which a gateway hears devices, and its buffer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lines {
    /// Where devices connect: `host:port`.
    pub tcp: Option<String>,
    /// Connections of devices at a time; of one host, half as many.
    pub connections: usize,
    /// Serial ports.
    pub serial: Vec<SerialLine>,
    /// An MQTT 5 broker.
    pub mqtt: Option<Broker>,
    /// Directory of the parts that wait for servers.
    pub buffer: PathBuf,
    /// Bytes that wait there at most, half of them for each server; of one source, half of that.
    pub buffer_bytes: u64,
}

/// A serial port.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SerialLine {
    /// The device file or port name.
    pub path: PathBuf,
    /// Bits a second.
    #[serde(default = "default_baud")]
    pub baud: u32,
}

fn default_baud() -> u32 {
    115_200
}

/// An MQTT 5 broker. The connection to it is not encrypted: reports are, on their whole way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Devices publish at `PREFIX/DEVICE/up` and subscribe to `PREFIX/DEVICE/down`; `DEVICE` has 16
    /// hexadecimal digits.
    pub prefix: String,
    /// Name to log in with, and the file of the password.
    pub login: Option<(String, PathBuf)>,
}

/// The section as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLines {
    /// Where devices connect: `host:port`. At least one of `tcp`, `serial` and `mqtt`.
    tcp: Option<String>,
    /// Connections of devices at a time, and of one host half as many; 1024, if left out.
    connections: Option<usize>,
    /// Serial ports.
    #[serde(default)]
    serial: Vec<SerialLine>,
    /// An MQTT 5 broker. A message is a frame without COBS, at QoS 1.
    mqtt: Option<RawBroker>,
    /// The folder of the parts that wait for servers, relative to the configuration; `buffer`, if
    /// left out.
    buffer: Option<PathBuf>,
    /// MiB that wait there at most, half of them for each server; 256, if left out.
    buffer_mib: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawBroker {
    /// `mqtt://host:port`; port 1883, if left out. The connection is not encrypted, as reports are.
    url: String,
    /// Topics: a device publishes reports at `PREFIX/DEVICE/up` and subscribes to answers at
    /// `PREFIX/DEVICE/down`; `DEVICE` is its id of 16 hexadecimal digits in lower case. The gateway
    /// subscribes to `PREFIX/+/up`. `symbolon`, if left out.
    prefix: Option<String>,
    /// Name to log in with; needs `password_file`.
    user: Option<String>,
    /// File of the password, relative to the configuration.
    password_file: Option<PathBuf>,
}

impl RawLines {
    /// Checks the section of a file in `directory`.
    pub(super) fn check(self, directory: &Path) -> Result<Lines, ConfigFault> {
        if self.tcp.is_none() && self.serial.is_empty() && self.mqtt.is_none() {
            return Err(ConfigFault::NoLine);
        }
        if let Some(tcp) = &self.tcp {
            address("gateway.tcp", tcp)?;
        }
        let small = |key, value: u64| if value == 0 { Err(ConfigFault::Zero(key)) } else { Ok(value) };
        small("gateway.connections", self.connections.map_or(1, |n| n as u64))?;
        for line in &self.serial {
            small("gateway.serial.baud", line.baud.into())?;
        }
        Ok(Lines {
            tcp: self.tcp,
            connections: self.connections.unwrap_or(1024),
            serial: self.serial,
            mqtt: self.mqtt.map(|raw| raw.check(directory)).transpose()?,
            buffer: directory.join(self.buffer.unwrap_or_else(|| "buffer".into())),
            buffer_bytes: small("gateway.buffer_mib", self.buffer_mib.unwrap_or(256))?.saturating_mul(1 << 20),
        })
    }
}

impl RawBroker {
    fn check(self, directory: &Path) -> Result<Broker, ConfigFault> {
        let Self { url, prefix, user, password_file } = self;
        let file = password_file.map(|file| directory.join(file));
        Broker::new(&url, prefix, user, file).map_err(|(key, value)| ConfigFault::Broker { key, value })
    }
}

impl Broker {
    /// The broker at `url`, `mqtt://host[:port]`; the prefix of its topics is `symbolon` if not
    /// given.
    ///
    /// # Errors
    ///
    /// The key that is wrong, and its value.
    pub fn new(
        url: &str,
        prefix: Option<String>,
        user: Option<String>,
        password_file: Option<PathBuf>,
    ) -> Result<Self, (&'static str, String)> {
        let wrong = || ("url", url.to_owned());
        let at = url.strip_prefix("mqtt://").ok_or_else(wrong)?.trim_end_matches('/');
        let (host, port) = match at.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ => (at, MQTT_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@']) {
            return Err(wrong());
        }
        let prefix = prefix.unwrap_or_else(|| "symbolon".to_owned());
        let has_wildcard = prefix.contains(['+', '#', '\0']);
        if prefix.is_empty() || has_wildcard || prefix.starts_with(['/', '$']) || prefix.ends_with('/') {
            return Err(("prefix", prefix));
        }
        let login = match (user, password_file) {
            (None, None) => None,
            (Some(user), Some(file)) => Some((user, file)),
            (Some(user), None) => return Err(("user", user)),
            (None, Some(file)) => return Err(("password_file", file.display().to_string())),
        };
        Ok(Self { host: host.to_owned(), port, prefix, login })
    }

    /// Reads the password, if there is a login: the file's first line.
    ///
    /// # Errors
    ///
    /// The file, and why it is not read.
    pub fn password(&self) -> Result<Option<String>, (PathBuf, PrivateFileError)> {
        let Some((_, file)) = &self.login else { return Ok(None) };
        let failed = |error| (file.clone(), error);
        let bytes = read_private(file).map_err(failed)?;
        let text = str::from_utf8(&bytes).map_err(|error| failed(PrivateFileError::Read(io::Error::other(error))))?;
        Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
    }
}
