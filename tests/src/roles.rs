//! Two servers and a dealer as processes, as on three machines, and a client's configuration for them.

use crate::{
    dir::TempDir,
    program::Process,
    wire::{JobsRequest, MAX_BYTES, No},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use symbolon::{
    net::{ClientTls, Config, Connection, Deployment, Endpoint, Hosts, Role, Timeouts, connect, write_all},
    session::jobs::JobFacts,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Times for runs that should succeed on a busy machine.
pub const CALM: Timeouts = Timeouts {
    connect: Duration::from_secs(20),
    handshake: Duration::from_secs(20),
    idle: Duration::from_secs(30),
    close: Duration::from_millis(500),
};

/// Times for runs that wait for somebody in vain.
pub const HASTY: Timeouts = Timeouts {
    connect: Duration::from_millis(1500),
    handshake: Duration::from_secs(5),
    idle: Duration::from_millis(2500),
    close: Duration::from_millis(300),
};

/// A policy's lines that permit everything.
pub const ANYTHING: &str = "jobs = \"any\"\nreveals = [\"accuracy\", \"loss\", \"model\"]\nsmallest_batch = 1\n\
     smallest_records = 1\nepsilon = \"off\"\nfewest_steps = 1\nsmallest_difference = 0";

/// Certificates that are good now.
#[must_use]
pub fn deployment() -> Deployment {
    Deployment::generate(&Hosts::default(), SystemTime::now() - DAY, 10).unwrap()
}

/// Certificates that were good last week.
#[must_use]
pub fn expired() -> Deployment {
    Deployment::generate(&Hosts::default(), SystemTime::now() - 10 * DAY, 1).unwrap()
}

/// Writes a role's files and returns its configuration.
#[must_use]
pub fn write(
    dir: &Path,
    deployment: &Deployment,
    hosts: &Hosts,
    role: Role,
    times: &Timeouts,
    policy: &str,
) -> PathBuf {
    let folder = dir.join(format!("for-{role}"));
    write_all(deployment, &folder, hosts).unwrap();
    let file = folder.join(role.name()).join(format!("{role}.toml"));
    let text = fs::read_to_string(&file).unwrap();
    let head = text.split("[timeouts]").next().unwrap();
    let Timeouts { connect, handshake, idle, close } = times;
    let [connect, handshake, idle, close] = [connect, handshake, idle, close].map(Duration::as_millis);
    let times = format!(
        "[timeouts]\nconnect_ms = {connect}\nhandshake_ms = {handshake}\nidle_ms = {idle}\nclose_ms = {close}\n"
    );
    let policy = if role.is_server() { format!("[policy]\n{policy}\n") } else { String::new() };
    // A role that loses a peer says so at once, unless the test has its own lines about jobs.
    let has_jobs = (role.is_server() && !policy.contains("[jobs]")) || role == Role::Client;
    let jobs = if has_jobs { "[jobs]\nretry_s = 0\n" } else { "" };
    fs::write(&file, format!("{head}{times}{jobs}{policy}")).unwrap();
    file
}

/// Three running roles. Killed when dropped.
pub struct Roles {
    /// The dealer.
    pub dealer: Process,
    /// Server 0.
    pub server0: Process,
    /// Server 1.
    pub server1: Process,
    /// The auditor, if the deployment has one.
    pub auditor: Option<Process>,
    /// Their certificates; a test may play any of them.
    pub deployment: Deployment,
    /// Where they listen.
    pub hosts: Hosts,
    times: Timeouts,
    dir: TempDir,
}

/// Where `from` is told to find `to`, which listens there.
pub type Route<'a> = &'a mut dyn FnMut(&Deployment, Role, Role, u16) -> u16;

impl Roles {
    /// Starts all three; servers permit what the lines `policy` say.
    #[must_use]
    pub fn start(times: Timeouts, policy: &str) -> Self {
        Self::start_over(times, policy, &mut |_, _, _, port| port)
    }

    /// Starts all three, which reach each other where `route` says.
    #[must_use]
    pub fn start_over(times: Timeouts, policy: &str, route: Route<'_>) -> Self {
        Self::begin(times, policy, false, route)
    }

    /// Starts all three and an auditor, which reach each other where `route` says.
    #[must_use]
    pub fn start_audited(times: Timeouts, policy: &str, route: Route<'_>) -> Self {
        Self::begin(times, policy, true, route)
    }

    fn begin(times: Timeouts, policy: &str, audited: bool, route: Route<'_>) -> Self {
        let dir = TempDir::new();
        let deployment = deployment();
        let nobody = Hosts { server0: at(0), server1: at(0), dealer: at(0), auditor: audited.then(|| at(0)) };
        let start = |role: Role, hosts: &Hosts| {
            let config = write(&dir, &deployment, hosts, role, &times, policy);
            Process::start(if role.is_server() { "server" } else { role.name() }, &config)
        };
        let dealer = start(Role::Dealer, &nobody);
        let auditor = audited.then(|| start(Role::Auditor, &nobody));
        let audits = |route: Route<'_>, from| {
            auditor.as_ref().map(|auditor| at(route(&deployment, from, Role::Auditor, auditor.port)))
        };
        let hosts = Hosts {
            dealer: at(route(&deployment, Role::Server0, Role::Dealer, dealer.port)),
            auditor: audits(route, Role::Server0),
            ..nobody.clone()
        };
        let server0 = start(Role::Server0, &hosts);
        let hosts = Hosts {
            dealer: at(route(&deployment, Role::Server1, Role::Dealer, dealer.port)),
            auditor: audits(route, Role::Server1),
            server0: at(route(&deployment, Role::Server1, Role::Server0, server0.port)),
            ..nobody
        };
        let server1 = start(Role::Server1, &hosts);
        let hosts = Hosts {
            server0: at(route(&deployment, Role::Client, Role::Server0, server0.port)),
            server1: at(route(&deployment, Role::Client, Role::Server1, server1.port)),
            dealer: at(dealer.port),
            auditor: auditor.as_ref().map(|auditor| at(auditor.port)),
        };
        Self { dealer, server0, server1, auditor, deployment, hosts, times, dir }
    }

    /// The configuration file of a role that runs.
    #[must_use]
    pub fn config(&self, role: Role) -> PathBuf {
        self.dir.join(format!("for-{role}")).join(role.name()).join(format!("{role}.toml"))
    }

    /// The folder of a server's job.
    #[must_use]
    pub fn job_folder(&self, role: Role, id: &[u8; 16]) -> PathBuf {
        let name: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        self.config(role).parent().unwrap().join("jobs").join(name)
    }

    /// Starts a role again, where it listened before. It is killed if it runs.
    pub fn restart(&mut self, role: Role) {
        let config = self.config(role);
        let process = match role {
            Role::Server0 => &mut self.server0,
            Role::Server1 => &mut self.server1,
            Role::Dealer => &mut self.dealer,
            _ => self.auditor.as_mut().unwrap(),
        };
        process.kill();
        let text = fs::read_to_string(&config).unwrap();
        let line = text.lines().find(|line| line.starts_with("listen = ")).unwrap();
        fs::write(&config, text.replace(line, &format!("listen = \"127.0.0.1:{}\"", process.port))).unwrap();
        *process = Process::start(if role.is_server() { "server" } else { role.name() }, &config);
    }

    /// A configuration of another client: its certificate is from another authority, which the
    /// servers, started again, trust as well.
    #[must_use]
    pub fn second_client(&mut self) -> PathBuf {
        let (other, folder) = (deployment(), self.dir.join("second"));
        let client = write(&folder, &other, &self.hosts, Role::Client, &self.times, "");
        let both = format!("{}{}", self.deployment.ca(), other.ca());
        fs::write(client.with_file_name("ca.pem"), &both).unwrap();
        for role in [Role::Server0, Role::Server1] {
            fs::write(self.config(role).with_file_name("ca.pem"), &both).unwrap();
            self.restart(role);
        }
        client
    }

    /// The client's jobs at a server.
    #[must_use]
    pub fn jobs(&self, at: Role) -> Vec<JobFacts> {
        let mut server = self.reach(Role::Client, at);
        server.send(&JobsRequest::list()).unwrap();
        server.recv::<Result<_, No>>(MAX_BYTES).unwrap().unwrap()
    }

    /// The word for the state of the client's job at a server.
    #[must_use]
    pub fn state(&self, at: Role, id: &[u8; 16]) -> &'static str {
        self.jobs(at).iter().find(|facts| facts.id == *id).map_or("missing", |facts| facts.status.state.word())
    }

    /// The client's configuration file.
    #[must_use]
    pub fn client(&self) -> PathBuf {
        let file = self.dir.join("for-client").join("client").join("client.toml");
        if file.exists() {
            file
        } else {
            write(&self.dir, &self.deployment, &self.hosts, Role::Client, &self.times, "")
        }
    }

    /// The client's configuration, read, and what it connects with.
    #[must_use]
    pub fn client_config(&self) -> (Config, ClientTls) {
        let config = Config::load(&self.client(), &[Role::Client]).unwrap();
        let tls = ClientTls::new(&config.identity().unwrap());
        (config, tls)
    }

    /// Connects to `to` with the certificate of `from`.
    #[must_use]
    pub fn reach(&self, from: Role, to: Role) -> Connection {
        let address = self.hosts.of(to).unwrap().to_string();
        connect(&address, &ClientTls::new(&self.deployment.identity(from).unwrap()), to, &self.times).unwrap()
    }

    /// All three processes, by role.
    pub fn all(&mut self) -> [(Role, &mut Process); 3] {
        [(Role::Server0, &mut self.server0), (Role::Server1, &mut self.server1), (Role::Dealer, &mut self.dealer)]
    }

    /// Asserts that all still run and that none panicked.
    ///
    /// # Panics
    ///
    /// If one does not, or did.
    pub fn assert_well(&mut self) {
        let Self { server0, server1, dealer, auditor, .. } = self;
        let three = [(Role::Server0, server0), (Role::Server1, server1), (Role::Dealer, dealer)];
        for (role, process) in three.into_iter().chain(auditor.as_mut().map(|auditor| (Role::Auditor, auditor))) {
            assert!(process.runs(), "{role} ended: {}", process.said());
            assert!(!process.said().contains("panicked"), "{role}: {}", process.said());
        }
    }
}

/// A port of this machine.
#[must_use]
pub fn at(port: u16) -> Endpoint {
    Endpoint::new("127.0.0.1", port)
}
