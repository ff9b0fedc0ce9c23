//! A fleet's whole way as processes: devices' keys, a gateway, two servers with intakes, a dealer; and what is stored in the end.
//!
//! Each process keeps its port and its files: it can be killed at any moment and started again.

use crate::{
    dir::TempDir,
    program::Process,
    roles::{at, deployment},
};
use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};
use symbolon::{
    intake::{
        store::Store,
        validity::{UnixSeconds, Validity},
    },
    net::{ClientTls, Config, Hosts, IntakeFiles, Role, Timeouts, write_all},
    provision::{NewDevice, ServersFile, append, new_key},
    schema::SchemaFile,
};
use symbolon_core::report::{header::ReportId, identity::Identity, record::join};

/// The roles that run, in the order in which they are started.
pub const RUNNING: [Role; 4] = [Role::Dealer, Role::Server0, Role::Server1, Role::Gateway];

/// Four running processes and the devices that they know. All end when this is dropped.
pub struct Fleet {
    /// What each device is told, in the order of the names.
    pub identities: Vec<Identity>,
    /// What the devices report.
    pub schema: SchemaFile,
    processes: BTreeMap<Role, Process>,
    /// What processes said that are gone.
    said: String,
    ports: BTreeMap<Role, u16>,
    dir: TempDir,
}

/// What two servers hold.
#[derive(Clone, Debug, Default)]
pub struct Stores {
    /// Whole records that both hold, with the times that their headers say.
    pub both: BTreeMap<ReportId, (u64, Vec<u8>)>,
    /// Records that one server alone holds.
    pub only: [Vec<ReportId>; 2],
}

impl Fleet {
    /// Starts all roles, for devices of these names that report what the schema says. Servers permit what the lines `policy` say.
    ///
    /// # Panics
    ///
    /// If something does not start.
    #[must_use]
    pub fn start(names: &[&str], schema: &str, times: Timeouts, policy: &str) -> Self {
        let dir = TempDir::new();
        let ports: BTreeMap<Role, u16> = RUNNING.into_iter().map(|role| (role, free_port())).collect();
        let hosts = Hosts {
            server0: at(ports[&Role::Server0]),
            server1: at(ports[&Role::Server1]),
            dealer: at(ports[&Role::Dealer]),
            auditor: None,
        };
        write_all(&deployment(), &dir, &hosts).unwrap();
        for role in RUNNING.into_iter().chain([Role::Client]) {
            configure(&config_file(&dir, role), role, ports.get(&role).copied(), &times, policy);
        }
        let mut servers = ServersFile::default();
        for (server, role) in (0..).zip([Role::Server0, Role::Server1]) {
            let files = IntakeFiles::beside(&dir.join(role.name()));
            servers.entries.push(new_key(&files, server, 1, Validity::default()).unwrap());
            fs::create_dir(&files.schemas).unwrap();
            fs::write(&files.devices, "").unwrap();
        }
        let public: String = servers.entries.iter().map(|entry| entry.to_toml() + "\n").collect();
        let _ = dir.file("servers.toml", &public);
        let schema_file = SchemaFile::parse(schema).unwrap();
        let mut fleet = Self {
            identities: Vec::new(),
            schema: schema_file,
            processes: BTreeMap::new(),
            said: String::new(),
            ports,
            dir,
        };
        fleet.permit("schema", schema);
        fleet.identities = names.iter().map(|name| fleet.provision(name)).collect();
        RUNNING.into_iter().for_each(|role| fleet.restart(role));
        fleet
    }

    /// Gives both servers a schema; they read it while they run.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn permit(&self, name: &str, schema: &str) {
        for server in [Role::Server0, Role::Server1] {
            fs::write(self.intake(server).schemas.join(format!("{name}.toml")), schema).unwrap();
        }
    }

    /// Provisions one more device for the schema; servers read of it while they run.
    ///
    /// # Panics
    ///
    /// If the name is none.
    #[must_use]
    pub fn provision(&self, name: &str) -> Identity {
        let device = NewDevice { name, id: None, schema: &self.schema, labels: false, reports_per_hour: None };
        let servers = ServersFile::load(&self.servers_file()).unwrap();
        let (identity, entry) = device.provision(&servers, UnixSeconds::now()).unwrap();
        for server in [Role::Server0, Role::Server1] {
            append(&self.intake(server).devices, &entry).unwrap();
        }
        identity
    }

    /// Kills a process, as `kill -9` does.
    pub fn kill(&mut self, role: Role) {
        let Some(mut process) = self.processes.remove(&role) else { return };
        process.kill();
        self.said.push_str(&process.said());
    }

    /// Kills a process if it runs, and starts it again, on the same port and files.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn restart(&mut self, role: Role) {
        self.kill(role);
        let command = if role.is_server() { "server" } else { role.name() };
        let process = Process::start(command, &self.config(role));
        assert_eq!(Some(&process.port), self.ports.get(&role), "{role}");
        self.processes.insert(role, process);
    }

    /// A process that runs.
    ///
    /// # Panics
    ///
    /// If it was killed.
    #[must_use]
    pub fn process(&self, role: Role) -> &Process {
        &self.processes[&role]
    }

    /// Where devices find the gateway.
    #[must_use]
    pub fn gateway(&self) -> String {
        at(self.ports[&Role::Gateway]).to_string()
    }

    /// A role's configuration file.
    #[must_use]
    pub fn config(&self, role: Role) -> PathBuf {
        config_file(&self.dir, role)
    }

    /// The client's configuration, read, and what it connects with.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    #[must_use]
    pub fn client(&self) -> (Config, ClientTls) {
        let config = Config::load(&self.config(Role::Client), &[Role::Client]).unwrap();
        let tls = ClientTls::new(&config.identity().unwrap());
        (config, tls)
    }

    /// The servers' public keys, for `symbolon provision`.
    #[must_use]
    pub fn servers_file(&self) -> PathBuf {
        self.dir.join("servers.toml")
    }

    /// Files of a server's intake.
    #[must_use]
    pub fn intake(&self, server: Role) -> IntakeFiles {
        IntakeFiles::beside(&self.dir.join(server.name()))
    }

    /// Kills both servers and reads what is on their disks.
    ///
    /// # Panics
    ///
    /// If a store cannot be read, or a record's time differs.
    pub fn stores(&mut self) -> Stores {
        let [mine, mut theirs] = [(0, Role::Server0), (1, Role::Server1)].map(|(server, role)| {
            self.kill(role);
            let mut shares = BTreeMap::new();
            let store = Store::open(&self.intake(role).store, server).unwrap();
            let each = |id, time_ms, share: &[u8]| drop(shares.insert(id, (time_ms, share.to_vec())));
            store.records(&self.schema.hash(), each).unwrap();
            shares
        });
        let mut stores = Stores::default();
        for (id, (time_ms, mut record)) in mine {
            match theirs.remove(&id) {
                None => stores.only[0].push(id),
                Some((other_ms, share)) => {
                    assert_eq!(time_ms, other_ms, "{id:?}");
                    join(self.schema.layout(), &mut record, &share);
                    stores.both.insert(id, (time_ms, record));
                }
            }
        }
        stores.only[1].extend(theirs.into_keys());
        stores
    }

    /// Asserts that all that was started still runs, and that nothing ever panicked.
    ///
    /// # Panics
    ///
    /// If something does not, or did.
    pub fn assert_well(&mut self) {
        assert!(!self.said.contains("panicked"), "{}", self.said);
        for (role, process) in &mut self.processes {
            assert!(process.runs(), "{role} ended: {}", process.said());
            assert!(!process.said().contains("panicked"), "{role}: {}", process.said());
        }
    }
}

fn config_file(dir: &Path, role: Role) -> PathBuf {
    dir.join(role.name()).join(format!("{role}.toml"))
}

/// Replaces what a new deployment says of times, policy, intake and gateway.
fn configure(file: &Path, role: Role, port: Option<u16>, times: &Timeouts, policy: &str) {
    let text = fs::read_to_string(file).unwrap();
    let head = text.split("[timeouts]").next().unwrap();
    let Timeouts { connect, handshake, idle, close } = times;
    let [connect, handshake, idle, close] = [connect, handshake, idle, close].map(Duration::as_millis);
    let times = format!(
        "[timeouts]\nconnect_ms = {connect}\nhandshake_ms = {handshake}\nidle_ms = {idle}\nclose_ms = {close}\n"
    );
    let own = match (role, port) {
        (Role::Server0 | Role::Server1, _) => format!("[policy]\n{policy}\n[intake]\n"),
        (Role::Gateway, Some(port)) => format!("[gateway]\ntcp = \"{}\"\nbuffer = \"buffer\"\n", at(port)),
        _ => String::new(),
    };
    fs::write(file, format!("{head}{times}{own}")).unwrap();
}

/// A port below those that systems give to connections: nobody takes it while its process is away.
fn free_port() -> u16 {
    const FIRST: u16 = 15_000;
    const PORTS: u16 = 15_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(process::id() % u32::from(PORTS)).unwrap();
    let next = || FIRST + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
    std::iter::repeat_with(next).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}
