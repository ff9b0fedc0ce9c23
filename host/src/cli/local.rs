//! The three roles as processes on this machine, with certificates of their own.

use super::exit::{Failure, INTERRUPTED};
use crate::net::{Config, Deployment, Endpoint, Hosts, Policy, Role, write_all};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::SystemTime,
};

/// Days that a local run's certificates are valid.
const DAYS: u32 = 2;

/// Runs `end` once the user interrupts or the system asks the process to end.
pub(super) fn on_interrupt(end: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(interrupted());
        end();
    });
}

#[cfg(unix)]
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    drop(tokio::signal::ctrl_c().await);
}

/// Three running roles. Dropped, they end and their files go.
pub(super) struct Local {
    owned: Arc<Owned>,
    /// The client's configuration.
    pub(super) client: Config,
    /// Process of each role.
    pub(super) processes: Vec<(Role, u32)>,
}

struct Owned {
    dir: PathBuf,
    children: Mutex<Vec<Child>>,
}

impl Owned {
    fn end(&self) {
        for mut child in self.children.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // One that has ended already cannot be killed; waiting reaps it in any case.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.end();
    }
}

impl Local {
    /// Starts the roles, each on a port of its own choosing, with fresh certificates. The servers permit what `policy` does.
    pub(super) fn start(policy: &Policy) -> Result<Self, Failure> {
        let dir = private_dir()?;
        let owned = Arc::new(Owned { dir: dir.clone(), children: Mutex::default() });
        let at_interrupt = Arc::clone(&owned);
        on_interrupt(move || {
            at_interrupt.end();
            std::process::exit(INTERRUPTED);
        });
        let mut hosts = Hosts::named("127.0.0.1", "127.0.0.1", "127.0.0.1");
        let deployment = Deployment::generate(&hosts, SystemTime::now(), DAYS)?;
        let mut processes = Vec::new();
        // Each is started when the addresses of those that it calls are known.
        for role in [Role::Dealer, Role::Server0, Role::Server1] {
            set_port(&mut hosts, role, 0);
            let files = dir.join(format!("for-{role}"));
            write_all(&deployment, &files, &hosts)?;
            let config = files.join(role.name()).join(format!("{role}.toml"));
            if role.is_server() {
                permit(&config, policy)?;
            }
            let (child, port) = spawn(role, &config)?;
            processes.push((role, child.id()));
            owned.children.lock().unwrap_or_else(PoisonError::into_inner).push(child);
            set_port(&mut hosts, role, port);
        }
        let files = dir.join("for-client");
        write_all(&deployment, &files, &hosts)?;
        let client = Config::load(&files.join("client").join("client.toml"), &[Role::Client])?;
        Ok(Self { owned, client, processes })
    }

    /// Ends the roles.
    pub(super) fn stop(self) {
        self.owned.end();
    }
}

fn set_port(hosts: &mut Hosts, role: Role, port: u16) {
    let endpoint = Endpoint::new("127.0.0.1", port);
    match role {
        Role::Server0 => hosts.server0 = endpoint,
        Role::Server1 => hosts.server1 = endpoint,
        Role::Dealer => hosts.dealer = endpoint,
        Role::Client => {}
    }
}

/// Appends what a local run's servers permit: the user who started them is all parties.
fn permit(config: &Path, policy: &Policy) -> Result<(), Failure> {
    let text = fs::read_to_string(config).map_err(|error| Failure::write(config, &error))?;
    let head = text.split("[policy]").next().unwrap_or_default();
    let reveals: Vec<String> = policy.reveals.iter().map(|r| format!("\"{r}\"")).collect();
    let section = format!(
        "{head}[policy]\nreveals = [{}]\nsmallest_batch = {}\nsmallest_records = {}\n",
        reveals.join(", "),
        policy.smallest_batch,
        policy.smallest_records
    );
    fs::write(config, section).map_err(|error| Failure::write(config, &error))
}

/// A directory that only this user may enter.
fn private_dir() -> Result<PathBuf, Failure> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| Failure::Other(format!("no random bytes: {error}")))?;
    let dir = std::env::temp_dir().join(format!("symbolon-{:016x}", u64::from_le_bytes(random)));
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&dir).map_err(|error| Failure::write(&dir, &error))?;
    Ok(dir)
}

/// Starts a role of this very program and reads the port it listens on.
fn spawn(role: Role, config: &Path) -> Result<(Child, u16), Failure> {
    let other = |error: std::io::Error| Failure::Other(format!("cannot start {role}: {error}"));
    let program = std::env::current_exe().map_err(other)?;
    let mut child = Command::new(program)
        .arg(if role == Role::Dealer { "dealer" } else { "server" })
        .arg("--config")
        .arg(config)
        .arg("--until-stdin-closes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(other)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(other)?;
    }
    let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
    port.map(|port| (child, port)).ok_or_else(|| Failure::Other(format!("{role} did not start; its message is above")))
}
