//! `symbolon backup` and `symbolon restore`.

use super::exit::Failure;
use crate::{
    backup::{
        self, BackupError, BackupSecret, Manifest, RECIPIENT_FILE, Recipient, Split, Written, combine, write_shares,
    },
    net::{Config, Role},
    report::human_bytes,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let text = error.to_string();
        if error.is_failure() { Self::Other(text) } else { Self::Input(text) }
    }
}

/// Arguments of `symbolon backup`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "The server must not run meanwhile: a running server is refused with status 1 and `backup-running`."
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The server's configuration
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// The backup to write; it must not exist
    #[arg(long, value_name = "FILE", value_parser = super::out_file(), required = true)]
    out: Option<PathBuf>,
    /// Public key of backups; `backup-recipient.toml` beside the configuration, if not given
    #[arg(long, value_name = "FILE")]
    recipient: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make the key pair of a server's backups
    Keys {
        /// Folder for the files of the key
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Split the secret into N shares, any K of which restore; fewer say nothing
        #[arg(long, value_name = "K-OF-N")]
        split: Option<Split>,
    },
}

/// `symbolon backup`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args { command: Some(Command::Keys { out, split }), .. } => keys(out, *split),
        Args { config: Some(config), out: Some(out), recipient, .. } => write(config, out, recipient.as_deref()),
        _ => Err(Failure::Input("backup: give --config and --out, or `keys`".to_owned())), // clap asks before
    }
}

fn write(config: &Path, out: &Path, recipient: Option<&Path>) -> Result<(), Failure> {
    let config = Config::load(config, &[Role::Server0, Role::Server1])?;
    let beside = config.file.with_file_name(RECIPIENT_FILE);
    if recipient.is_none() && !beside.exists() {
        let beside = beside.display();
        return Err(Failure::Input(format!(
            "backup-key: {beside} is missing; make a key with `symbolon backup keys`, or give its public half with \
             --recipient"
        )));
    }
    let recipient = Recipient::load(recipient.unwrap_or(&beside))?;
    super::roles::outlive_full_files();
    let Written { manifest, bytes } = backup::write(&config, &recipient, out)?;
    say!("wrote {} ({}) for key {}: {}", out.display(), human_bytes(bytes), recipient.id(), content(&manifest));
    say!("the server may start again; keep the backup on another machine");
    Ok(())
}

/// The content of a backup in words.
fn content(Manifest { role, files, made, .. }: &Manifest) -> String {
    let bytes = files.iter().map(|file| file.bytes).sum();
    format!("{role} as of {made}, {} files of {}", files.len(), human_bytes(bytes))
}

fn keys(out: &Path, split: Option<Split>) -> Result<(), Failure> {
    fs::create_dir_all(out).map_err(|error| Failure::write(out, &error))?;
    let secret = BackupSecret::generate()?;
    let recipient = out.join(RECIPIENT_FILE);
    // First: an earlier key in this folder ends the command before a secret is written.
    secret.recipient().write(&recipient)?;
    let written = match split {
        None => {
            let file = secret.file(out);
            secret.write(&file).map(|()| vec![file])
        }
        Some(split) => write_shares(&secret, split, out),
    };
    let files = written.inspect_err(|_| drop(fs::remove_file(&recipient)))?;
    say!("key {}", secret.id());
    say!("{}: public; put it beside the server's configuration", recipient.display());
    match split {
        None => say!("{}: secret; keep it away from the server and from its backups", files[0].display()),
        Some(Split { needed, .. }) => {
            files.iter().for_each(|file| say!("{}: secret; for one keeper", file.display()));
            say!("any {needed} of these restore; give each to its keeper and delete it here");
            say!("the other server's key needs other keepers: {needed} who hold both could read the data");
        }
    }
    Ok(())
}

/// Arguments of `symbolon restore`.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// The secret key, as `symbolon backup keys` wrote it
    #[arg(long, value_name = "FILE", required_unless_present = "share", conflicts_with = "share")]
    key: Option<PathBuf>,
    /// A share of the key; given once for each share
    #[arg(long, value_name = "FILE")]
    share: Vec<PathBuf>,
    /// Folder to restore into; it must be empty or new
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
}

/// `symbolon restore`.
pub(super) fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    super::roles::outlive_full_files();
    let secret = |id| match &args.key {
        Some(key) => BackupSecret::load(key),
        None => combine(&args.share, id),
    };
    let restored = backup::restore(&args.file, secret, &args.into)?;
    let (config, made) = (restored.configuration.display(), &restored.manifest.made);
    say!("restored {} into {}", content(&restored.manifest), args.into.display());
    for moved in &restored.manifest.moved {
        say!("{} is now {}", moved.key, moved.path);
    }
    if let Some(reason) = restored.certificate {
        say!("before the start, replace the certificate: {reason}");
    }
    say!("next:");
    say!("  compare `listen` and `[peers]` in {config} with this machine's address");
    say!("  symbolon server --config {config}");
    say!("  symbolon models list --config client.toml   # by each client: shows models that one server lacks");
    say!("reports, models and releases since {made} are not in the backup; the old server must not start again");
    Ok(())
}
