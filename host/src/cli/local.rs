//! The roles as processes on this machine, with certificates of their own.

use super::exit::{self, Failure, INTERRUPTED};
use crate::{
    intake::validity::{UnixSeconds, Validity},
    net::{Config, Deployment, Endpoint, Hosts, IntakeFiles, Jobs, Policy, Role, write_all},
    provision::{NewDevice, ServersFile, append, new_key, write_new},
    schema::SchemaFile,
};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, SystemTime},
};
use symbolon_core::report::identity::Identity;

/// Days that a local run's certificates are valid.
const DAYS: u32 = 2;

/// Runs `end`, which ends the process, once the user interrupts or the system asks the process to end. From the return on, neither
/// ends it by itself.
pub(super) fn on_interrupt(end: impl FnOnce() + Send + 'static) {
    let (ready, is_ready) = mpsc::channel::<()>();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(interrupted(ready));
        exit::interrupt();
        end();
    });
    let _ = is_ready.recv(); // an error too means that there is nothing to wait for
}

/// Returns when a signal comes; drops `ready` when it waits for them.
#[cfg(unix)]
async fn interrupted(ready: mpsc::Sender<()>) {
    use tokio::signal::unix::{SignalKind, signal};
    let [interrupt, terminate, hangup] =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    drop(ready);
    match (interrupt, terminate, hangup) {
        (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) => tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        },
        // Without handlers, signals end the process as they always do.
        _ => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn interrupted(ready: mpsc::Sender<()>) {
    drop(ready);
    drop(tokio::signal::ctrl_c().await);
}

/// The running roles. When dropped, they end and their files are deleted.
pub(super) struct Local {
    owned: Keeper,
    /// The client's configuration.
    pub(super) client: Config,
    /// Process of each role.
    pub(super) processes: Vec<(Role, u32)>,
    /// Where devices find the gateway, if there is one.
    pub(super) gateway: Option<String>,
}

/// Options of the servers of a local run.
#[derive(Clone, Copy)]
pub(super) struct ServerOptions<'a> {
    /// Their policy.
    pub(super) policy: &'a Policy,
    /// Most lanes that run at once; all, if `None`.
    pub(super) threads: Option<usize>,
    /// Most MiB of a job's tables in memory; 512, if `None`.
    pub(super) memory_mib: Option<u64>,
}

/// Devices that report to a local run.
pub(super) struct Fleet<'a> {
    /// What they report.
    pub(super) schema: &'a SchemaFile,
    /// The text of its file.
    pub(super) schema_text: &'a str,
    /// Their names.
    pub(super) names: &'a [&'a str],
}

struct Owned {
    dir: PathBuf,
    /// None once ended.
    children: Mutex<Option<Vec<Child>>>,
}

/// Ends what it keeps when dropped.
struct Keeper(Arc<Owned>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Owned {
    fn children(&self) -> MutexGuard<'_, Option<Vec<Child>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts `role`; returns its process and its port.
    fn start(
        &self,
        role: Role,
        deployment: &Deployment,
        hosts: &Hosts,
        options: ServerOptions<'_>,
        fleet: bool,
    ) -> Result<(u32, u16), Failure> {
        let mut children = self.children();
        let children = children.as_mut().ok_or_else(interrupted_start)?;
        write_all(deployment, &self.dir.join(format!("for-{role}")), hosts)?;
        let config = self.files(role).join(format!("{role}.toml"));
        if role.is_server() {
            permit(&config, options, fleet)?;
        }
        if role == Role::Gateway {
            any_port(&config)?;
        }
        let mut child = spawn(role, &config, options.threads)?;
        let mut line = String::new();
        let read = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
        let id = child.id();
        children.push(child);
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        match (read, port) {
            (Some(Ok(_)), Some(port)) => Ok((id, port)),
            _ => Err(Failure::Other(format!("{role} did not start; its message is above"))),
        }
    }

    /// The folder with a role's own files.
    fn files(&self, role: Role) -> PathBuf {
        self.dir.join(format!("for-{role}")).join(role.name())
    }

    /// The files of both servers' intakes.
    fn intakes(&self) -> [IntakeFiles; 2] {
        [Role::Server0, Role::Server1].map(|role| IntakeFiles::beside(&self.files(role)))
    }

    /// Makes keys of servers and devices, and gives the servers what they must know. Returns what the devices must.
    fn provision(&self, fleet: &Fleet<'_>) -> Result<Vec<Identity>, Failure> {
        let files = self.intakes();
        let mut servers = ServersFile::default();
        for (server, files) in (0..).zip(&files) {
            servers.entries.push(new_key(files, server, 1, Validity::default())?);
            fs::create_dir(&files.schemas).map_err(|error| Failure::write(&files.schemas, &error))?;
            write_new(&files.schemas.join("schema.toml"), fleet.schema_text.as_bytes())?;
            write_new(&files.devices, b"")?;
        }
        let now = UnixSeconds::now();
        let device = |name: &&str| {
            let device = NewDevice { name, id: None, schema: fleet.schema, labels: false, reports_per_hour: None };
            let (identity, entry) = device.provision(&servers, now)?;
            files.iter().try_for_each(|files| append(&files.devices, &entry))?;
            Ok(identity)
        };
        fleet.names.iter().map(device).collect()
    }

    /// Writes and reads the client's configuration.
    fn client(&self, deployment: &Deployment, hosts: &Hosts) -> Result<Config, Failure> {
        let children = self.children();
        children.as_ref().ok_or_else(interrupted_start)?;
        let files = self.dir.join("for-client");
        write_all(deployment, &files, hosts)?;
        let mut config = Config::load(&files.join("client").join("client.toml"), &[Role::Client])?;
        config.jobs.retry = Duration::ZERO; // a role that has ended does not come back
        Ok(config)
    }

    fn end(&self) {
        let mut children = self.children();
        let mut ended = children.take().unwrap_or_default();
        // One that has ended already cannot be killed; waiting reaps it in any case.
        ended.iter_mut().for_each(|child| drop(child.kill()));
        ended.iter_mut().for_each(|child| drop(child.wait()));
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn interrupted_start() -> Failure {
    Failure::Other("interrupted".to_owned())
}

impl Local {
    /// Starts the roles, each on a port of its own choosing, with fresh certificates, and an
    /// auditor if `audited`.
    pub(super) fn start(options: ServerOptions<'_>, audited: bool) -> Result<Self, Failure> {
        Ok(Self::run(&std::env::temp_dir(), options, audited, None, |_, _| Ok(()))?.0)
    }

    /// As [`Self::start`], with an auditor, a gateway, and servers that know these devices. Returns
    /// the devices' identities, in the order of their names.
    pub(super) fn start_with(policy: &Policy, fleet: &Fleet<'_>) -> Result<(Self, Vec<Identity>), Failure> {
        let options = ServerOptions { policy, threads: None, memory_mib: None };
        Self::run(&std::env::temp_dir(), options, true, Some(fleet), |_, _| Ok(()))
    }

    /// As [`Self::start_with`], without an auditor and with its files in a new folder in `parent`.
    /// `prepare` may fill the servers' intakes before they run.
    pub(super) fn start_in(
        parent: &Path,
        policy: &Policy,
        fleet: &Fleet<'_>,
        prepare: impl FnOnce(&[IntakeFiles; 2], &[Identity]) -> Result<(), Failure>,
    ) -> Result<(Self, Vec<Identity>), Failure> {
        Self::run(parent, ServerOptions { policy, threads: None, memory_mib: None }, false, Some(fleet), prepare)
    }

    fn run(
        parent: &Path,
        options: ServerOptions<'_>,
        audited: bool,
        fleet: Option<&Fleet<'_>>,
        prepare: impl FnOnce(&[IntakeFiles; 2], &[Identity]) -> Result<(), Failure>,
    ) -> Result<(Self, Vec<Identity>), Failure> {
        let owned = Arc::new(Owned { dir: fresh_dir(parent)?, children: Mutex::new(Some(Vec::new())) });
        let at_interrupt = Arc::clone(&owned);
        on_interrupt(move || {
            at_interrupt.end();
            std::process::exit(INTERRUPTED);
        });
        let owned = Keeper(owned);
        make_private(&owned.0.dir)?;
        let mut hosts = Hosts::named("127.0.0.1", "127.0.0.1", "127.0.0.1");
        let deployment = Deployment::generate(&hosts, SystemTime::now(), DAYS)?;
        let devices = fleet.map_or(Ok(Vec::new()), |fleet| owned.0.provision(fleet))?;
        prepare(&owned.0.intakes(), &devices)?;
        let (mut processes, mut gateway) = (Vec::new(), None);
        // Each is started when the addresses of those that it calls are known.
        for role in [Role::Dealer, Role::Auditor, Role::Server0, Role::Server1, Role::Gateway] {
            if role == Role::Gateway && fleet.is_none() || role == Role::Auditor && !audited {
                continue;
            }
            set_port(&mut hosts, role, 0);
            let (id, port) = owned.0.start(role, &deployment, &hosts, options, fleet.is_some())?;
            processes.push((role, id));
            set_port(&mut hosts, role, port);
            gateway = (role == Role::Gateway).then(|| format!("127.0.0.1:{port}"));
        }
        let client = owned.0.client(&deployment, &hosts)?;
        Ok((Self { owned, client, processes, gateway }, devices))
    }

    /// The files of both servers' intakes.
    pub(super) fn intakes(&self) -> [IntakeFiles; 2] {
        self.owned.0.intakes()
    }

    /// Ends a process as a power failure would.
    pub(super) fn kill(&self, process: u32) {
        let mut children = self.owned.0.children();
        for child in children.iter_mut().flatten().filter(|child| child.id() == process) {
            drop(child.kill()); // one that has ended is as good as killed
            drop(child.wait());
        }
    }

    /// A new folder of this run; it goes with the others.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.owned.0.dir.join(name);
        make_private(&folder)?;
        Ok(folder)
    }

    /// Starts a program that ends with the roles; returns its process. An interrupt from the terminal does not reach it.
    pub(super) fn adopt(&self, command: &mut Command, name: &str) -> Result<u32, Failure> {
        let mut children = self.owned.0.children();
        let children = children.as_mut().ok_or_else(interrupted_start)?;
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        let child = command.spawn().map_err(|error| Failure::Other(format!("cannot start {name}: {error}")))?;
        let id = child.id();
        children.push(child);
        Ok(id)
    }

    /// Whether a process of this run has ended.
    pub(super) fn has_ended(&self, process: u32) -> bool {
        let mut children = self.owned.0.children();
        let child = children.iter_mut().flatten().find(|child| child.id() == process);
        child.is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Ends the roles.
    pub(super) fn stop(self) {
        drop(self.owned);
    }
}

fn set_port(hosts: &mut Hosts, role: Role, port: u16) {
    let endpoint = Endpoint::new("127.0.0.1", port);
    match role {
        Role::Server0 => hosts.server0 = endpoint,
        Role::Server1 => hosts.server1 = endpoint,
        Role::Dealer => hosts.dealer = endpoint,
        Role::Auditor => hosts.auditor = Some(endpoint),
        Role::Client | Role::Gateway => {}
    }
}

/// Appends what a local run's servers permit: the user who started them is all parties.
fn permit(
    config: &Path,
    ServerOptions { policy, memory_mib, .. }: ServerOptions<'_>,
    fleet: bool,
) -> Result<(), Failure> {
    let text = fs::read_to_string(config).map_err(|error| Failure::write(config, &error))?;
    let head = text.split("[policy]").next().unwrap_or_default();
    let reveals: Vec<String> = policy.reveals.iter().map(|r| format!("\"{r}\"")).collect();
    let section = format!(
        "{head}[policy]\n{}reveals = [{}]\nsmallest_batch = {}\nsmallest_records = {}\n[jobs]\nretry_s = 0\n{}{}",
        if policy.jobs == Some(Jobs::Any) { "jobs = \"any\"\n" } else { "" },
        reveals.join(", "),
        policy.smallest_batch,
        policy.smallest_records,
        memory_mib.map_or(String::new(), |mib| format!("[storage]\nmemory_mib = {mib}\n")),
        if fleet { "[intake]\nreports_per_hour = 4294967295\n" } else { "" }
    );
    fs::write(config, section).map_err(|error| Failure::write(config, &error))
}

/// Has a gateway listen where there is room.
fn any_port(config: &Path) -> Result<(), Failure> {
    let text = fs::read_to_string(config).map_err(|error| Failure::write(config, &error))?;
    fs::write(config, text.replace(":7103", ":0")).map_err(|error| Failure::write(config, &error))
}

/// A name that nothing in this folder has.
fn fresh_dir(parent: &Path) -> Result<PathBuf, Failure> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| Failure::Other(format!("no random bytes: {error}")))?;
    Ok(parent.join(format!("symbolon-{:016x}", u64::from_le_bytes(random))))
}

/// Makes a directory that only this user may enter.
fn make_private(dir: &Path) -> Result<(), Failure> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|error| Failure::write(dir, &error))
}

/// Starts a role of this very program. An interrupt from the terminal does not reach it: this process ends it.
fn spawn(role: Role, config: &Path, threads: Option<usize>) -> Result<Child, Failure> {
    let other = |error: std::io::Error| Failure::Other(format!("cannot start {role}: {error}"));
    let program = std::env::current_exe().map_err(other)?;
    let mut command = Command::new(program);
    let name = if role.is_server() { "server" } else { role.name() };
    command.arg(name).arg("--config").arg(config);
    if let Some(threads) = threads.filter(|_| role.is_server()) {
        command.arg("--threads").arg(threads.to_string());
    }
    command.arg("--until-stdin-closes").stdin(Stdio::piped()).stdout(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(other)
}
