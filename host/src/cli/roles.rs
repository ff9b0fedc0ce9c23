//! `symbolon server`, `symbolon dealer`, `symbolon auditor`, `symbolon init`.

use super::exit::Failure;
use crate::{
    engine::plan::hex,
    intake::{Intake, IntakeError},
    job::Job,
    job_store::{JobId, job_hex},
    net::{
        Capacity, ClientTls, Config, Connection, Hosts, Listener, NetError, Role, ServerTls, init as write_deployment,
    },
    session::{
        SessionError,
        auditor::Auditor,
        dealer::Dealer,
        server::{Notice, Server},
    },
    train::Position,
};
use std::{
    io::{Read, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

impl From<IntakeError> for Failure {
    fn from(error: IntakeError) -> Self {
        let text = error.to_string();
        match error {
            IntakeError::Net(_) => Self::Network(text),
            _ => Self::Input(text),
        }
    }
}

/// Arguments of a role.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The role's configuration
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// Stop when standard input ends: for a parent that may die
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

/// Arguments of a server.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    role: Args,
    /// Lanes that run at once; all of a job's, if not given
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    threads: Option<usize>,
}

/// `symbolon init`.
pub(super) fn init(
    dir: &Path,
    [server0, server1, dealer]: [&str; 3],
    auditor: Option<&str>,
    days: u32,
) -> Result<(), Failure> {
    let mut hosts = Hosts::parse(server0, server1, dealer)?;
    if let Some(auditor) = auditor {
        hosts = hosts.with_auditor(auditor)?;
    }
    let commands = write_deployment(dir, &hosts, days)?;
    crate::provision::equip(dir)?;
    for line in commands {
        say!("{line}");
    }
    Ok(())
}

/// `symbolon server`.
pub(super) fn server(ServerArgs { role: args, threads }: &ServerArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config, &[Role::Server0, Role::Server1])?;
    let identity = config.identity()?;
    let all = [Role::Client, Role::Gateway, Role::Server1];
    let accepted = if config.role == Role::Server0 { &all[..] } else { &all[..2] };
    let tls = ServerTls::new(&identity, accepted);
    let name = config.role;
    let tls_out = ClientTls::new(&identity).telling(log_waiting);
    let mut server = Server::new(config.clone(), tls_out, *threads)?.telling(move |notice| tell(name, &notice));
    let strays = server.stray_shares()?;
    if strays > 0 {
        log!("{name}: {strays} files in {} belong to no model; a crash left them", config.models.directory.display());
    }
    if let Some(files) = &config.intake {
        server = server.with_intake(Arc::new(Intake::open(files, config.role)?));
    }
    let server = Arc::new(server);
    let queue = Arc::clone(&server);
    thread::spawn(move || queue.run_queue());
    serve(args, &config, &tls, |connection, role| server.serve(connection, role))
}

/// Logs an event of a job.
fn tell(role: Role, notice: &Notice<'_>) {
    match notice {
        Notice::Begun { job, number, hash, position } if *position == Position::START => {
            let records = job.data.train_records + job.data.test_records;
            let source = if job.data.is_stored() { "stored" } else { "the client's" };
            log!("{role}: job {} ({}) begins on {records} records, {source}", named(job, *number), hex(hash));
        }
        Notice::Begun { job, number, hash, position } => {
            log!("{role}: job {} ({}) goes on after {position}", named(job, *number), hex(hash));
        }
        Notice::Again { job, error } => log_error!("{role}: job {} will be tried again: {error}", job_hex(job)),
        Notice::Failed { job, error } => log_error!("{role}: job {}: {error}", job_hex(job)),
        Notice::JobExpired { job } => log!("{role}: job {} has expired and is deleted", job_hex(job)),
        Notice::Unstored { job, error } => {
            log_error!("{role}: job {}: a checkpoint is not stored, and the job goes on: {error}", job_hex(job));
        }
        Notice::Ended { job, number, took, well } => {
            let (what, how) = if *well { ("job", "is done") } else { ("a run of job", "ended without results") };
            log!("{role}: {what} {} {how} after {:.1} s", named(job, *number), took.as_secs_f64());
        }
        Notice::Serves { job } => log!("{role}: a model of job {} answers predictions", job.name),
        Notice::Served { job, took } => {
            log!(
                "{role}: a session of predictions by a model of job {} ended after {:.1} s",
                job.name,
                took.as_secs_f64()
            );
        }
        Notice::NotServed { model, error } => {
            log_error!("{role}: {model}: the session of predictions failed, and will be tried again: {error}");
        }
        Notice::Model { done, model, client } => log!("{role}: model {model} of client {client} is {done}"),
        Notice::Waits { job, alive } => log!("{role}: job {}: {alive}", job_hex(job)),
        Notice::LedgerBehind { missing } => log!(
            "{role}: the other server has {missing} released jobs that the ledger here lacks; it may be an older copy, and they are charged again"
        ),
    }
}

/// A job's number, where the role knows it, and its name.
fn named(job: &Job, number: Option<&JobId>) -> String {
    number.map_or_else(|| job.name.clone(), |number| format!("{} {}", job_hex(number), job.name))
}

/// For [`ClientTls::telling`]: a line for whoever waits at the terminal.
pub(super) fn waiting(peer: Role, address: &str) {
    note!("waiting for {peer} at {address}");
}

/// As [`waiting`], for a role's log.
fn log_waiting(peer: Role, address: &str) {
    log_error!("waiting for {peer} at {address}");
}

/// `symbolon dealer`.
pub(super) fn dealer(args: &Args) -> Result<(), Failure> {
    let config = Config::load(&args.config, &[Role::Dealer])?;
    let identity = config.identity()?;
    let tls = ServerTls::new(&identity, &[Role::Server0, Role::Server1]);
    let name = config.role;
    let dealer = Dealer::new(&config)
        .telling(move |notice| tell(name, &notice))
        .telling_waits(|peer| log!("{}: waiting for {peer}", Role::Dealer));
    serve(args, &config, &tls, |connection, role| dealer.serve(connection, role))
}

/// `symbolon auditor`.
pub(super) fn auditor(args: &Args) -> Result<(), Failure> {
    let config = Config::load(&args.config, &[Role::Auditor])?;
    let identity = config.identity()?;
    let tls = ServerTls::new(&identity, &[Role::Server0, Role::Server1]);
    let name = config.role;
    let auditor = Auditor::new(&config)
        .telling(move |notice| tell(name, &notice))
        .telling_waits(|peer| log!("{}: waiting for {peer}", Role::Auditor));
    serve(args, &config, &tls, |connection, role| auditor.serve(connection, role))
}

/// Listens until interrupted; each connection is served on a thread of its own, and what ends one is told and stays there.
fn serve(
    args: &Args,
    config: &Config,
    tls: &ServerTls,
    handler: impl Fn(Connection, Role) -> Result<(), SessionError> + Sync,
) -> Result<(), Failure> {
    let listener = Listener::bind(config.listen()?)?;
    let stop = listener.stop_handle();
    stop_on_interrupt(args, move || stop.stop());
    log!("{} listens on {}", config.role, listener.local_addr());
    // A parent reads this line through a pipe; one that has gone needs it no more.
    let _ = std::io::stdout().flush();
    let name = config.role;
    listener.serve(tls, &config.timeouts, Capacity::default(), |accepted: Result<(Connection, Role), NetError>| {
        let ended = accepted.map_err(SessionError::from).and_then(|(connection, role)| handler(connection, role));
        if let Err(error) = ended {
            log_error!("{name}: {error}");
        }
    });
    Ok(())
}

/// A limit on the size of files is a full disk for whoever writes, not the end of the process: the handler, once there, stays.
#[cfg(target_os = "linux")]
pub(super) fn outlive_full_files() {
    use tokio::signal::unix::{SignalKind, signal};
    const SIGXFSZ: i32 = 25;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Without the handler the system ends the process there, as it always did.
    drop(runtime.map(|runtime| runtime.block_on(async { signal(SignalKind::from_raw(SIGXFSZ)) })));
}

#[cfg(not(target_os = "linux"))]
pub(super) fn outlive_full_files() {}

/// Runs `stop`, then ends the process, on an interrupt or when the parent has gone.
pub(super) fn stop_on_interrupt(args: &Args, stop: impl Fn() + Clone + Send + 'static) {
    outlive_full_files();
    let end = move || {
        stop();
        // Sessions that run end with the process: their peers find the connections closed and say so.
        std::process::exit(0);
    };
    if args.until_stdin_closes {
        let end = end.clone();
        thread::spawn(move || {
            // Whatever ends the read, the parent is gone.
            let _ = std::io::stdin().read(&mut [0]);
            end();
        });
    }
    super::local::on_interrupt(end);
}
