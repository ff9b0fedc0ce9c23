//! A new deployment: one authority, a certificate and a configuration for each role.
//!
//! The authority's key signs a certificate a role and is gone: nobody can add a role to the deployment, or replace one. To
//! renew a certificate is to renew the deployment.
//!
//! Whoever makes a deployment has held every role's key. Operators who do not trust one of them with that issue their own
//! certificates instead: any authority that all agree on will do, if the alternative names are the roles'.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use zeroize::{Zeroize, Zeroizing};

use super::identity::{Identity, IdentityError};
use super::role::Role;
use crate::secret::create_private;

/// Clocks may differ by this much without a new certificate being "not valid yet".
const CLOCK_SKEW: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A host, by name or address, and a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// Name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// `host` on `port`.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port }
    }

    /// Reads `host`, `host:port`, `address` or `[address]:port`; `port` is that of a text without one. `None` if it is none of them.
    #[must_use]
    pub fn parse(text: &str, port: u16) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            _ if text.parse::<IpAddr>().is_ok() => (text, port),
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
            None => (text, port),
        };
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match inner {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_host(host),
        };
        is_host.then(|| Self::new(inner.unwrap_or(host), port))
    }

    /// Whether this is the machine itself.
    fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Where a program on this host listens: loopback if the host is, else everywhere.
    fn listen(&self) -> Self {
        let host = match self.host.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() => return self.clone(),
            Ok(IpAddr::V6(_)) => "::",
            _ if self.is_local() => "127.0.0.1",
            _ => "0.0.0.0",
        };
        Self::new(host, self.port)
    }
}

/// Whether this is an IP address or a name that DNS permits.
fn is_host(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok() || rustls_pki_types::DnsName::try_from(host).is_ok()
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Where the roles that listen run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hosts {
    /// The first server's.
    pub server0: Endpoint,
    /// The second server's.
    pub server1: Endpoint,
    /// The dealer's.
    pub dealer: Endpoint,
    /// The auditor's endpoint, if the deployment has an auditor.
    pub auditor: Option<Endpoint>,
}

impl Default for Hosts {
    /// All on this machine.
    fn default() -> Self {
        Self::named("127.0.0.1", "127.0.0.1", "127.0.0.1")
    }
}

impl Hosts {
    /// Describes a deployment on these hosts, at ports 7100 to 7102, without an auditor.
    #[must_use]
    pub fn named(server0: &str, server1: &str, dealer: &str) -> Self {
        Self {
            server0: Endpoint::new(server0, 7100),
            server1: Endpoint::new(server1, 7101),
            dealer: Endpoint::new(dealer, 7102),
            auditor: None,
        }
    }

    /// At these places, each `host` or `host:port`; without a port, at 7100 to 7102.
    ///
    /// # Errors
    ///
    /// [`DeployError::Host`] for what is neither a name nor an address.
    pub fn parse(server0: &str, server1: &str, dealer: &str) -> Result<Self, DeployError> {
        let parse = |role, text, port| Endpoint::parse(text, port).ok_or(DeployError::Host(role));
        Ok(Self {
            server0: parse(Role::Server0, server0, 7100)?,
            server1: parse(Role::Server1, server1, 7101)?,
            dealer: parse(Role::Dealer, dealer, 7102)?,
            auditor: None,
        })
    }

    /// Adds an auditor at `host` or `host:port`; the default port is 7104.
    ///
    /// # Errors
    ///
    /// [`DeployError::Host`] if `host` is neither a name nor an address.
    pub fn with_auditor(self, host: &str) -> Result<Self, DeployError> {
        let auditor = Endpoint::parse(host, 7104).ok_or(DeployError::Host(Role::Auditor))?;
        Ok(Self { auditor: Some(auditor), ..self })
    }

    /// Returns the roles of the deployment: all, or all but the auditor.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        let audited = self.auditor.is_some();
        Role::ALL.into_iter().filter(move |role| audited || *role != Role::Auditor)
    }

    /// Where `role` runs; unknown for those that only call others.
    #[must_use]
    pub fn of(&self, role: Role) -> Option<&Endpoint> {
        match role {
            Role::Server0 => Some(&self.server0),
            Role::Server1 => Some(&self.server1),
            Role::Dealer => Some(&self.dealer),
            Role::Auditor => self.auditor.as_ref(),
            Role::Client | Role::Gateway => None,
        }
    }
}

/// A certificate and its key, in PEM. The key is wiped when dropped.
pub struct Credentials {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: Zeroizing<String>,
}

/// The certificates of a deployment. The authority's key no longer exists.
pub struct Deployment {
    ca: String,
    credentials: [Credentials; 6],
}

impl Deployment {
    /// Makes an authority and a certificate for each role, valid from `start` for `days`. Besides the role, a certificate
    /// names the role's host, for other programs to look at.
    ///
    /// # Errors
    ///
    /// If a host is neither a name nor an address, or its name is that of another role: the certificate would be both's.
    pub fn generate(hosts: &Hosts, start: SystemTime, days: u32) -> Result<Self, DeployError> {
        let end = start + DAY * days;
        let params = |names: Vec<String>| -> Result<_, rcgen::Error> {
            let mut params = CertificateParams::new(names)?;
            params.not_before = start.into();
            params.not_after = end.into();
            Ok(params)
        };
        let mut ca_key = new_key()?;
        let mut ca = params(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // Authorities of different deployments must differ by name, or theirs would only seem to be a bad signature.
        let id: String = ca.key_identifier(&ca_key).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        ca.distinguished_name.push(DnType::CommonName, format!("Symbolon deployment {id}"));
        let ca_pem = ca.self_signed(&ca_key)?.pem();

        let issuer = Issuer::from_params(&ca, &ca_key);
        let issue = |role: Role| -> Result<Credentials, DeployError> {
            let mut names = vec![role.name().to_owned()];
            if let Some(host) = hosts.of(role).map(|endpoint| &endpoint.host).filter(|host| *host != role.name()) {
                if !is_host(host) {
                    return Err(DeployError::Host(role));
                }
                if Role::from_str(&host.to_lowercase()).is_ok() {
                    return Err(DeployError::HostIsRole { role, host: host.clone() });
                }
                names.push(host.clone());
            }
            let mut leaf = params(names)?;
            leaf.distinguished_name.push(DnType::CommonName, role.name());
            leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            leaf.use_authority_key_identifier_extension = true;
            let mut key = new_key()?;
            let certificate = leaf.signed_by(&key, &issuer)?.pem();
            let pem = Zeroizing::new(key.serialize_pem());
            key.zeroize();
            Ok(Credentials { certificate, key: pem })
        };
        let credentials = Role::ALL.map(issue);
        ca_key.zeroize();
        let [server0, server1, dealer, auditor, client, gateway] = credentials;
        Ok(Self { ca: ca_pem, credentials: [server0?, server1?, dealer?, auditor?, client?, gateway?] })
    }

    /// The authority's certificate, in PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The certificate and key of a role.
    #[must_use]
    pub fn credentials(&self, role: Role) -> &Credentials {
        let [server0, server1, dealer, auditor, client, gateway] = &self.credentials;
        match role {
            Role::Server0 => server0,
            Role::Server1 => server1,
            Role::Dealer => dealer,
            Role::Auditor => auditor,
            Role::Client => client,
            Role::Gateway => gateway,
        }
    }

    /// The identity of a role, without a detour through files.
    ///
    /// # Errors
    ///
    /// None for a deployment made here.
    pub fn identity(&self, role: Role) -> Result<Identity, IdentityError> {
        let Credentials { certificate, key } = self.credentials(role);
        Identity::from_pem(certificate.as_bytes(), key.as_bytes(), self.ca.as_bytes())
    }
}

fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

/// Makes a deployment and writes it: `dir/<role>/` gets `<role>.toml`, `cert.pem`, `key.pem` and `ca.pem`, for each
/// role of the deployment. Returns the commands to type next.
///
/// # Errors
///
/// As [`Deployment::generate`], or if a file exists already or cannot be written.
pub fn init(dir: &Path, hosts: &Hosts, days: u32) -> Result<Vec<String>, DeployError> {
    let deployment = Deployment::generate(hosts, SystemTime::now() - CLOCK_SKEW, days)?;
    for role in hosts.roles() {
        let directory = dir.join(role.name());
        if directory.exists() {
            return Err(DeployError::Exists(directory));
        }
    }
    write_all(&deployment, dir, hosts)?;
    Ok(next_commands(dir, hosts))
}

/// Writes the files of a deployment; refuses to replace any.
///
/// # Errors
///
/// If a file exists already or cannot be written.
pub fn write_all(deployment: &Deployment, dir: &Path, hosts: &Hosts) -> Result<(), DeployError> {
    for role in hosts.roles() {
        let directory = dir.join(role.name());
        fs::create_dir_all(&directory).map_err(|error| DeployError::Write(directory.clone(), error))?;
        let Credentials { certificate, key } = deployment.credentials(role);
        let config = format!("{role}.toml");
        let files = [
            (config.as_str(), config_text(role, hosts)),
            ("cert.pem", certificate.clone()),
            ("ca.pem", deployment.ca.clone()),
        ];
        for (name, content) in &files {
            write_new(&directory.join(name), content.as_bytes())?;
        }
        let path = directory.join("key.pem");
        create_private(&path, key.as_bytes()).map_err(|error| DeployError::Write(path, error))?;
    }
    Ok(())
}

fn write_new(path: &Path, content: &[u8]) -> Result<(), DeployError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
    let write = || options.open(path)?.write_all(content);
    write().map_err(|error: io::Error| DeployError::Write(path.to_owned(), error))
}

/// The configuration file of a role.
fn config_text(role: Role, hosts: &Hosts) -> String {
    use std::fmt::Write as _;

    let mut text = format!("role = \"{role}\"\n");
    let mut line = |line: fmt::Arguments<'_>| {
        let _ = text.write_fmt(line); // a String takes everything
        text.push('\n');
    };
    if let Some(endpoint) = hosts.of(role) {
        line(format_args!("listen = \"{}\"", endpoint.listen()));
    }
    if !matches!(role, Role::Dealer | Role::Auditor) {
        line(format_args!("\n# Where the others listen.\n[peers]"));
        let called = |peer: &Role| match peer {
            Role::Auditor => role.is_server(),
            _ => *peer != role && (role != Role::Gateway || peer.is_server()),
        };
        for (peer, endpoint) in Role::ALL.into_iter().filter(called).filter_map(|peer| Some((peer, hosts.of(peer)?))) {
            line(format_args!("{peer} = \"{endpoint}\""));
        }
    }
    line(format_args!(
        "\n# Relative to this file.\n[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\nca = \"ca.pem\"\n\n\
         [timeouts]\nconnect_ms = 60000\nhandshake_ms = 10000\nidle_ms = {}",
        // A gateway writes to disk what a server does not answer in this time.
        if role == Role::Gateway { 15_000 } else { 120_000 }
    ));
    if role == Role::Gateway {
        let local = hosts.server0.is_local() && hosts.server1.is_local();
        line(format_args!(
            "\n# Where devices are heard, and what waits on disk for a server that is away.\n[gateway]\n\
             tcp = \"{}:7103\"\n# serial = [{{ path = \"/dev/ttyUSB0\", baud = 115200 }}]\n\
             # mqtt = {{ url = \"mqtt://localhost:1883\", prefix = \"symbolon\" }}\n\
             buffer = \"buffer\"\nbuffer_mib = 256",
            if local { "127.0.0.1" } else { "0.0.0.0" }
        ));
    }
    if role.is_server() {
        line(format_args!(
            "\n# What jobs may do here. A job outside these rules is refused, and told which.\n[policy]\n\
             # jobs = \"listed\" # or \"any\"; left out, jobs on reports must be listed (`symbolon policy allow`)\n\
             # Further outputs are \"perplexity\", \"auc\" and other metrics, and \"standard-errors\" (`symbolon help policy`).\n\
             reveals = [\"accuracy\", \"loss\", \"model\", \"predictions\"]\n\
             smallest_batch = 16\nsmallest_records = 100\n\
             require_alarm = false # whether jobs must say when words left their range\nlargest_memory_mib = 8192 # a job\nplaces = 2 # jobs at a time\n\
             largest_disk_mib = 65536 # scratch files of a job\n\
             # For jobs on reports: the noise of outputs, and how many there may be.\n\
             epsilon = 1.0 # of a client on a schema in a day, or \"off\"\n\
             outputs_per_job = 128\noutputs_per_manifest = 1024\njobs_per_day = 32 # of a client\n\
             fewest_steps = 100 # before a model is opened\n\
             smallest_difference = 100 # between the records of two jobs of a client\n\
             \n# Trained models, which the servers keep as shares. The limits are of each client.\n[models]\n\
             directory = \"models\"\nmost_versions = 256\nmost_mib = 4096\n\
             \n# Jobs, until they have ended and their outputs are fetched (`symbolon help server`).\n[jobs]\n\
             directory = \"jobs\"\nqueue = 16 # jobs that arrive or wait\n\
             retry_s = 600 # seconds for which a job that lost a peer is tried again\n\
             keep_days = 7 # days for which outputs wait for their client"
        ));
    }
    if matches!(role, Role::Dealer | Role::Auditor) {
        line(format_args!(
            "\n# What jobs may take here. A job beyond it is refused, with the rule.\n[policy]\n\
             largest_memory_mib = 8192 # a job\nplaces = 2 # jobs at a time"
        ));
    }
    text
}

/// What to type after `init`.
fn next_commands(dir: &Path, hosts: &Hosts) -> Vec<String> {
    let dir = dir.display();
    let listening = || hosts.roles().filter_map(|role| Some((role, hosts.of(role)?)));
    let local = listening().all(|(_, endpoint)| endpoint.is_local());
    let mut commands = Vec::new();
    if !local {
        for (role, endpoint) in listening() {
            let v6 = endpoint.host.contains(':');
            let host = if v6 { format!("[{}]", endpoint.host) } else { endpoint.host.clone() };
            commands.push(format!("scp -r {dir}/{role} {host}:"));
        }
    }
    for (role, endpoint) in listening() {
        let command = if role.is_server() { "server" } else { role.name() };
        commands.push(match local {
            false => format!("ssh {} symbolon {command} --config {role}/{role}.toml", endpoint.host),
            true => format!("symbolon {command} --config {dir}/{role}/{role}.toml"),
        });
    }
    commands.push(format!("symbolon gateway --config {dir}/gateway/gateway.toml"));
    commands.push(format!(
        "symbolon provision NAME --schema SCHEMA.toml --servers {dir}/client/servers.toml   # a device that reports, if there is to be one"
    ));
    commands.push(format!("symbolon train JOB.toml --data DIR --config {dir}/client/client.toml"));
    commands
}

/// A deployment that could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeployError {
    /// The host of this role is neither a name nor an address.
    Host(Role),
    /// A host's name is that of another role.
    HostIsRole {
        /// The role that runs there.
        role: Role,
        /// The name.
        host: String,
    },
    /// Exists already.
    Exists(PathBuf),
    /// Could not be written.
    Write(PathBuf, io::Error),
    /// No certificate could be made.
    Certificate(rcgen::Error),
}

impl From<rcgen::Error> for DeployError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error)
    }
}

impl fmt::Display for DeployError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(role) => {
                write!(f, "the host of {role} is neither a name nor an IP address, with a port or without")
            }
            Self::HostIsRole { role, host } => write!(
                f,
                "the host of {role} is called `{host}`, as another role is; its certificate would be valid for both; \
                 use a longer name or an IP address"
            ),
            Self::Exists(path) => write!(f, "{} exists; choose another directory", path.display()),
            Self::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            Self::Certificate(error) => write!(f, "cannot make a certificate: {error}"),
        }
    }
}

impl std::error::Error for DeployError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Write(_, error) => Some(error),
            Self::Certificate(error) => Some(error),
            _ => None,
        }
    }
}
