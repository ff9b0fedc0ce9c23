//! `symbolon policy`: the jobs that a server's operator allows.

use super::exit::Failure;
use crate::{
    intake::{hex, registry, rules::Rules},
    job::{Draft, Job, Source},
    net::{Config, Role},
    release::allowed::{Allowed, AllowedError, Entry, listed_with},
    schema::SchemaFile,
};
use std::path::{Path, PathBuf};
use symbolon_core::report::{header::DeviceId, schema::Schema};

/// `symbolon policy`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Allow a job: put it on the server's list
    Allow {
        /// Job file; read it before you allow it
        job: PathBuf,
        /// Digest of the model with which the job begins, as `symbolon models show` prints it
        #[arg(long, value_name = "DIGEST", value_parser = hash)]
        model: Option<[u8; 32]>,
        #[command(flatten)]
        server: Server,
    },
    /// Take a job off the list
    Revoke {
        /// Its hash, as `symbolon policy list` prints it
        #[arg(value_parser = hash)]
        hash: [u8; 32],
        #[command(flatten)]
        server: Server,
    },
    /// Print the list
    List {
        #[command(flatten)]
        server: Server,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Server {
    /// The server's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl From<AllowedError> for Failure {
    fn from(error: AllowedError) -> Self {
        Self::Input(error.to_string())
    }
}

fn hash(text: &str) -> Result<[u8; 32], String> {
    hex::parse(text).ok_or_else(|| "a hash has 64 hexadecimal digits".to_owned())
}

impl Server {
    fn load(&self) -> Result<Config, Failure> {
        Ok(Config::load(&self.config, &[Role::Server0, Role::Server1])?)
    }
}

/// `symbolon policy`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match args {
        Args::Allow { job, model, server } => allow(job, model.as_ref(), &server.load()?),
        Args::Revoke { hash, server } => {
            let file = server.load()?.policy_files.allowed;
            let mut list = Allowed::load(&file)?;
            if !list.remove(hash) {
                return Err(Failure::Input(format!("{}: no job {} is listed", file.display(), hex::print(hash))));
            }
            list.write(&file)?;
            say!("job {} may no longer run here", hex::print(hash));
            Ok(())
        }
        Args::List { server } => {
            let list = Allowed::load(&server.load()?.policy_files.allowed)?;
            list.entries().iter().for_each(|entry| say!("{} {}", hex::print(&entry.hash), entry.name));
            Ok(())
        }
    }
}

/// Puts the job of a file on the list of the server that `config` describes.
pub(super) fn allow(file: &Path, model: Option<&[u8; 32]>, config: &Config) -> Result<(), Failure> {
    let job = job(Draft::load(file)?, config)?;
    let (list_file, hash) = (&config.policy_files.allowed, job.listed_hash()?);
    let mut list = Allowed::load(list_file)?;
    let mut new = list.add(Entry { name: job.name.clone(), hash });
    if let Some(digest) = model {
        let from = job.from.as_ref().map(ToString::to_string);
        let from = from.ok_or_else(|| {
            Failure::Input(
                "--model needs a job that begins with a model: add from = \"NAME:VERSION\" to the file".to_owned(),
            )
        })?;
        let with = listed_with(&hash, digest);
        new |= list.add(Entry { name: format!("{} from {from}", job.name), hash: with });
        say!("with the model {from}: {}", hex::print(&with));
    }
    list.write(list_file)?;
    say!("job {} ({}) {} run here", job.name, hex::print(&hash), if new { "may now" } else { "could already" });
    Ok(())
}

/// Reads the job of a file. A job that learns from reports gets placeholder records of each
/// registered device: its listed hash does not cover records.
fn job(draft: Draft, config: &Config) -> Result<Job, Failure> {
    let Some(schema) = draft.schema() else { return Ok(draft.resolve(None)?) };
    let schema = SchemaFile::load(&schema)?;
    let labels = draft.label_schema().map(|file| SchemaFile::load(&file)).transpose()?;
    let rules = match &config.intake {
        Some(files) => Rules::load(files).map_err(|error| Failure::Input(error.to_string()))?,
        None => Rules::default(),
    };
    let named = |name: &str| {
        let mut devices = rules.devices.iter();
        devices.find(|(_, device): &(&DeviceId, &registry::Device)| device.name == name).map(|(id, _)| *id)
    };
    let mut ids: Vec<DeviceId> = rules.devices.keys().copied().collect();
    // One more, since all registered devices may be for testing.
    ids.extend((0..).map(DeviceId).find(|id| !rules.devices.contains_key(id)));
    let resolve = |schema: Schema<'_>, label_schema: Option<Schema<'_>>| {
        let senders = &mut ids.iter().flat_map(|id| std::iter::repeat_n(*id, RECORDS));
        draft.resolve(Some(Source { schema, label_schema, manifest: [0; 32], senders, named: &named }))
    };
    Ok(match &labels {
        Some(labels) => schema.borrow(|schema| labels.borrow(|labels| resolve(schema, Some(labels)))),
        None => schema.borrow(|schema| resolve(schema, None)),
    }?)
}

/// Placeholder records of each device: enough for any batch.
const RECORDS: usize = 1 << 16;
