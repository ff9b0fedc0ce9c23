//! The command line.

/// Prints a line, with control characters escaped. A reader who has gone is no reason to stop.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), "{}", $crate::plain::Plain(format_args!($($line)*)));
    }};
}

/// The same on standard error.
macro_rules! note {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "{}", $crate::plain::Plain(format_args!($($line)*)));
    }};
}

/// A line of a role's log, on standard output: it begins with the time.
macro_rules! log {
    ($($line:tt)*) => { say!("{} {}", $crate::time::now(), format_args!($($line)*)) };
}

/// The same, on standard error.
macro_rules! log_error {
    ($($line:tt)*) => { note!("{} {}", $crate::time::now(), format_args!($($line)*)) };
}

mod audit;
mod backup;
mod bench;
mod boards;
mod demo;
mod devices;
mod evaluate;
mod exit;
mod functions;
mod gateway;
mod help;
mod job;
mod jobs;
mod local;
mod models;
mod plan;
mod policy;
mod predict;
mod provision;
mod releases;
mod reproduce;
mod roles;
mod secure;
mod share;
mod stored;
mod train;

pub use exit::Exit;

use clap::{
    CommandFactory, Parser, Subcommand, ValueEnum,
    builder::{PathBufValueParser, TypedValueParser},
};
use std::path::PathBuf;

/// Parses the path of a file that a command writes. `-` would be a file of this name.
fn out_file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path.as_os_str() == "-" {
        true => Err("give /dev/stdout for standard output, or ./- for a file of this name"),
        false => Ok(path),
    })
}

/// Trains neural networks on data that nobody shows: two servers hold one share each, a dealer helps and sees nothing.
#[derive(Debug, Parser)]
#[command(
    name = "symbolon",
    version,
    disable_help_subcommand = true,
    after_help = "Examples:\n  symbolon demo\n  symbolon plan host/jobs/mnist-adam-32.toml\n  symbolon train host/jobs/mnist-adam-32.toml --data DIR --local\n  symbolon init deployment --server0 a.example --server1 b.example --dealer c.example\n\nExit status: 0 done; 1 failed; 2 wrong usage, job, data or configuration; 3 a peer or the network failed; 4 refused by a server, for a rule of its policy or an unknown job or model, or by the dealer; 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Share recordings on devices, store them and train on them, with gateway, servers, dealer and
    /// auditor on this machine
    Demo(demo::Args),
    /// Train a job on shares of data in a directory
    Train(train::Args),
    /// Say what a job costs before anything runs
    Plan {
        /// Job file (TOML; `host/jobs` has some)
        job: PathBuf,
        /// For a job that learns from reports: the client's configuration, to ask the servers which they hold
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Write the plan as JSON
        #[arg(long, value_name = "FILE", value_parser = out_file())]
        json: Option<PathBuf>,
        #[command(flatten)]
        network: plan::Link,
    },
    /// Write a job file
    #[command(subcommand)]
    Job(job::Args),
    /// Train in the clear, say how much room each tensor leaves in its words, and recommend numbers
    /// that hold
    Audit(audit::Args),
    /// Run one of the two servers until interrupted
    Server(roles::ServerArgs),
    /// Run the dealer until interrupted
    Dealer(roles::Args),
    /// Run the auditor, which checks the dealer's corrections, until interrupted
    Auditor(roles::Args),
    /// Pass devices' sealed reports on to the two servers until interrupted
    Gateway(roles::Args),
    /// Write certificates and configurations for three machines and a client
    Init {
        /// Directory to write; no role's directory may exist there
        dir: PathBuf,
        /// Where server 0 runs: HOST or HOST:PORT; port 7100 if not given
        #[arg(long, default_value = "localhost")]
        server0: String,
        /// Where server 1 runs: HOST or HOST:PORT; port 7101 if not given
        #[arg(long, default_value = "localhost")]
        server1: String,
        /// Where the dealer runs: HOST or HOST:PORT; port 7102 if not given
        #[arg(long, default_value = "localhost")]
        dealer: String,
        /// Where an auditor runs, which checks the dealer: HOST or HOST:PORT; the default port is
        /// 7104. Without this option the deployment has none
        #[arg(long, value_name = "HOST")]
        auditor: Option<String>,
        /// Days that the certificates are valid
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Make a device's key, and say what to flash and what to tell the servers
    Provision(provision::Args),
    /// Make a server a new key for devices to seal to
    Key(provision::KeyArgs),
    /// Share a file of records as a device shares its readings
    Share(Box<share::Args>),
    /// Say what became of each device's reports
    Devices(devices::Args),
    /// Allow jobs on a server, or print the allowed jobs
    #[command(subcommand)]
    Policy(policy::Args),
    /// Print the outputs that the servers released, and the remaining budgets
    Releases(releases::Args),
    /// Show this client's jobs, watch, fetch and cancel them
    Jobs(jobs::Args),
    /// Show and change the models that the servers keep as shares
    Models(models::Args),
    /// Measure a kept model on test records; only the metrics are revealed
    Evaluate(evaluate::Args),
    /// Ask a published model for predictions; no server sees rows or answers
    Predict(predict::Args),
    /// Write an encrypted backup of a stopped server, or make the key of backups
    Backup(backup::Args),
    /// Restore a server from a backup into a new folder
    Restore(backup::RestoreArgs),
    /// Measure every protocol and function on this machine, or how many reports it takes in
    Bench(bench::Args),
    /// Train what published systems trained, and print their tables beside ours
    Reproduce(reproduce::Args),
    /// List the functions of one number and their methods: domain, error, cost, speed
    Functions(functions::Args),
    /// Print the help of a command, or the keys of a job, server, policy or gateway file
    Help {
        /// A command, or job, server, policy, gateway, dealer or auditor
        topic: Option<String>,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Which engine trains.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Engine {
    /// Two servers and a dealer, on shares
    Secure,
    /// This process, on the data itself: the same arithmetic, bit for bit, without protection
    Clear,
}

/// Runs the program on this process's arguments.
pub fn main() -> Exit {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Plan { job, config, json, network } => plan::run(&job, config.as_deref(), json.as_deref(), network),
        Command::Job(args) => job::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Server(args) => roles::server(&args),
        Command::Dealer(args) => roles::dealer(&args),
        Command::Auditor(args) => roles::auditor(&args),
        Command::Gateway(args) => gateway::run(&args),
        Command::Init { dir, server0, server1, dealer, auditor, days } => {
            roles::init(&dir, [&server0, &server1, &dealer], auditor.as_deref(), days)
        }
        Command::Provision(args) => provision::run(&args),
        Command::Key(args) => provision::key(&args),
        Command::Share(args) => share::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Releases(args) => releases::run(&args),
        Command::Jobs(args) => jobs::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Reproduce(args) => reproduce::run(&args),
        Command::Functions(args) => functions::run(&args),
        Command::Help { topic } => help::run(topic.as_deref()),
        Command::Completions { shell } => {
            // Gathered first: writing may fail, and the generator would panic.
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "symbolon", &mut text);
            let _ = std::io::Write::write_all(&mut std::io::stdout(), &text);
            Ok(())
        }
    };
    Exit::of(result)
}
