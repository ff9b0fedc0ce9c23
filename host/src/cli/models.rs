//! `symbolon models`: the models that the two servers keep as shares.

use super::{exit::Failure, roles::waiting};
use crate::{
    data::Lengths,
    engine::plan::hex,
    intake::validity::UnixSeconds,
    job::{Draft, Format, Job},
    kernel::HostWord,
    model_store::{Askers, ListedModel, ModelEntry, ModelOrigin, ModelVersion, Terms},
    net::{ClientTls, Config, Role},
    onnx::{ModelFormat, read_onnx, write_model_file},
    report::{Model, ModelFacts, entries, human_bytes, read_model, write_atomic},
    session::models,
    train::{AnswerKind, model_words, sound_parameters, tensors},
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use symbolon_core::word::Word;

/// Arguments of `symbolon models`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The client's configuration
    #[arg(long, value_name = "FILE", global = true, default_value = "client.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List this client's models, with their states at both servers
    List {
        /// Write the list as JSON
        #[arg(long, value_name = "FILE", value_parser = super::out_file())]
        json: Option<PathBuf>,
    },
    /// Print a model's public part, and its state at each server
    Show {
        /// The model, NAME:VERSION
        model: ModelVersion,
        /// Write it as JSON
        #[arg(long, value_name = "FILE", value_parser = super::out_file())]
        json: Option<PathBuf>,
    },
    /// Print the differences between the public parts of two models
    Diff {
        /// The first model, NAME:VERSION
        first: ModelVersion,
        /// The second model
        second: ModelVersion,
    },
    /// Publish a model: declare it ready for use. With --answer, it also answers predictions
    Publish {
        /// The model, NAME:VERSION
        model: ModelVersion,
        #[command(flatten)]
        terms: TermsArgs,
    },
    /// Retire a published model: it cannot be exported any more
    Retire {
        /// The model, NAME:VERSION
        model: ModelVersion,
    },
    /// Delete a draft or retired model, at each server that has it
    Delete {
        /// The model, NAME:VERSION
        model: ModelVersion,
    },
    /// Write a model as safetensors or ONNX; its job must reveal the model
    Export {
        /// The model, NAME:VERSION
        model: ModelVersion,
        /// The file to write: ONNX if its name ends in .onnx, else safetensors
        #[arg(long, value_name = "FILE", value_parser = super::out_file())]
        out: PathBuf,
        /// The format; by the end of the name, if not given
        #[arg(long, value_enum)]
        format: Option<ModelFormat>,
    },
    /// Share a model file with the servers, which keep it as a draft
    Import {
        /// Job file with the model's network, numbers and scale, on files, which are not read
        job: PathBuf,
        /// The model, as `export` and `train --model` write it, or any ONNX file of that network
        file: PathBuf,
        /// Name for the model; the job's name, if not given
        #[arg(long, value_name = "NAME", alias = "keep", value_parser = super::train::model_name)]
        name: Option<String>,
    },
}

/// The answer that an asker receives.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum AnswerName {
    /// The class of the largest output
    Class,
    /// The classes of the K largest outputs, the largest first
    Top,
    /// Probabilities, or the values of a regression
    Values,
}

/// The terms on which a model answers predictions.
#[derive(Debug, clap::Args)]
struct TermsArgs {
    /// Have the model answer predictions: what an asker learns of a row
    #[arg(long, value_enum)]
    answer: Option<AnswerName>,
    /// Round values to BITS fraction bits; to those of the job, if not given
    #[arg(long, value_name = "BITS", requires = "answer")]
    round: Option<u32>,
    /// Classes per answer with --answer top: from 2 up to the number of classes
    #[arg(long, value_name = "K", requires = "answer")]
    k: Option<u32>,
    /// Most rows that a client may ask about in a day (UTC)
    #[arg(long, value_name = "ROWS", requires = "answer")]
    per_day: Option<u32>,
    /// Clients that may ask beside you, by the serial numbers of their certificates
    #[arg(long = "for", value_name = "SERIAL", requires = "answer", conflicts_with = "for_all")]
    askers: Vec<String>,
    /// Let all clients of the deployment ask
    #[arg(long, requires = "answer")]
    for_all: bool,
    /// Answer devices instead of clients: those of the schema that the model was trained on
    #[arg(long, requires = "answer", conflicts_with_all = ["askers", "for_all"])]
    for_devices: bool,
}

impl TermsArgs {
    /// The terms for a model of the job that `job` finds; `None` if it answers no predictions.
    fn terms(&self, job: impl FnOnce() -> Result<Job, Failure>) -> Result<Option<Terms>, Failure> {
        let Some(answer) = self.answer else { return Ok(None) };
        let askers = match (&self.askers[..], self.for_all) {
            _ if self.for_devices => Askers::Devices,
            (_, true) => Askers::All,
            ([], false) => Askers::Owner,
            (listed, false) => Askers::Listed(listed.to_vec()),
        };
        let refuse = |text: &str| Err(Failure::Input(text.to_owned()));
        let answer = match (answer, self.round, self.k) {
            (AnswerName::Class, None, None) => AnswerKind::Class,
            (AnswerName::Top, None, Some(k)) => AnswerKind::Top { k },
            (AnswerName::Values, Some(frac_bits), None) => AnswerKind::Values { frac_bits },
            (AnswerName::Values, None, None) => AnswerKind::Values { frac_bits: job()?.numbers.frac_bits },
            (AnswerName::Class | AnswerName::Top, Some(_), _) => {
                return refuse("--round is for --answer values: classes are whole numbers");
            }
            (AnswerName::Top, None, None) => return refuse("--answer top: say how many classes with --k"),
            (AnswerName::Class | AnswerName::Values, _, Some(_)) => return refuse("--k is for --answer top"),
        };
        Ok(Some(Terms { answer, per_day: self.per_day, askers }))
    }
}

/// `symbolon models`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = Config::load(&args.config, &[Role::Client])?;
    let tls = ClientTls::new(&config.identity()?).telling(waiting);
    let (config, tls) = (&config, &tls);
    match &args.command {
        Command::List { json } => list(config, tls, json.as_deref()),
        Command::Show { model, json } => show(&models::show(config, tls, model)?, json.as_deref()),
        Command::Diff { first, second } => {
            let [[a, _], [b, _]] = [models::show(config, tls, first)?, models::show(config, tls, second)?];
            diff(&facts(&a)?, &facts(&b)?);
            Ok(())
        }
        Command::Publish { model, terms } => {
            let terms = terms.terms(|| job(&models::show(config, tls, model)?[0]))?;
            models::publish(config, tls, model, terms.as_ref())?;
            say!("{model} is published on both servers");
            Ok(())
        }
        Command::Retire { model } => {
            models::retire(config, tls, model)?;
            say!("{model} is retired at each server that had published it");
            Ok(())
        }
        Command::Delete { model } => {
            models::delete(config, tls, model)?;
            say!("{model} is deleted at each server that had it");
            Ok(())
        }
        Command::Export { model, out, format } => {
            let [entry, _] = models::show(config, tls, model)?;
            let job = job(&entry)?;
            match job.numbers.ring_bits {
                32 => export::<u32>(config, tls, (&entry, &job), (out, *format)),
                _ => export::<u64>(config, tls, (&entry, &job), (out, *format)),
            }
        }
        Command::Import { job, file, name } => {
            let draft = Draft::load(job)?;
            if draft.schema().is_some() {
                return Err(Failure::Input(
                    "the job learns from reports; give one that learns from files, with the same network, numbers and scale"
                        .to_owned(),
                ));
            }
            let job = draft.resolve(None)?;
            let (model, name) = (model_of(file, &job)?, name.as_deref().unwrap_or(&job.name));
            let imported = match job.numbers.ring_bits {
                32 => models::import::<u32>(config, tls, (&job, name), model_words(&job, &model)?),
                _ => models::import::<u64>(config, tls, (&job, name), model_words(&job, &model)?),
            };
            say!("{} is a draft on both servers", imported?);
            Ok(())
        }
    }
}

/// Reads a model's file, of either format.
fn model_of(file: &Path, job: &Job) -> Result<Model, Failure> {
    if ModelFormat::of(file) == ModelFormat::Safetensors {
        return Ok(read_model(file)?);
    }
    let (model, remarks) = read_onnx(file)?.for_job(job)?;
    for remark in remarks {
        note!("symbolon: {remark}");
    }
    Ok(model)
}

fn write(path: Option<&Path>, value: &Value) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    write_atomic(path, format!("{value:#}\n").as_bytes()).map_err(|error| Failure::write(path, &error))
}

/// How both servers have a model: its state, or where they disagree.
fn agreement([a, b]: &[Option<ListedModel>; 2]) -> String {
    match (a, b) {
        (Some(a), Some(b)) if a.digest != b.digest => "the servers have different public parts".to_owned(),
        (Some(a), Some(b)) if a.state == b.state => a.state.name().to_owned(),
        (Some(a), Some(b)) => format!("server0: {}, server1: {}", a.state.name(), b.state.name()),
        (Some(a), None) => format!("{} on server0, server1 lacks it", a.state.name()),
        (None, Some(b)) => format!("{} on server1, server0 lacks it", b.state.name()),
        (None, None) => "neither server has it".to_owned(),
    }
}

fn list(config: &Config, tls: &ClientTls, path: Option<&Path>) -> Result<(), Failure> {
    let both = models::list(config, tls)?;
    say!("{:<32}{:<22}{:>12}  state", "model", "kept", "a share");
    let mut all = Vec::new();
    for (model, servers) in &both {
        let state = agreement(servers);
        let Some(listed) = servers.iter().flatten().next() else { continue };
        let kept = UnixSeconds(listed.kept_at).utc();
        say!("{:<32}{kept:<22}{:>12}  {state}", model.to_string(), human_bytes(listed.bytes));
        let states = servers.each_ref().map(|listed| listed.as_ref().map(|listed| listed.state.name()));
        all.push(json!({
            "model": model.to_string(),
            "kept": kept,
            "bytes": listed.bytes,
            "state": { "server0": states[0], "server1": states[1] },
            "agreed": matches!(servers, [Some(a), Some(b)] if a.digest == b.digest && a.state == b.state),
        }));
    }
    write(path, &Value::from(all))
}

/// Reads an entry's job.
pub(super) fn job(entry: &ModelEntry) -> Result<Job, Failure> {
    entry.public.job().map_err(|_| {
        Failure::Input(format!(
            "the job of {} was encoded by another version of this program; use that one",
            entry.listed.model
        ))
    })
}

/// All that is public about a model.
fn facts(entry: &ModelEntry) -> Result<Value, Failure> {
    let job = job(entry)?;
    let (origin, run) = match &entry.public.origin {
        ModelOrigin::Trained { session, plan_hash, epochs } => ("trained", Some((session, plan_hash, epochs))),
        ModelOrigin::Imported { .. } => ("imported", None),
        ModelOrigin::Continued { session, plan_hash, epochs, .. } => {
            ("trained further", Some((session, plan_hash, epochs)))
        }
    };
    let manifest = match &job.data.format {
        Format::Reports(reports) => Some(hex(&reports.manifest)),
        _ => None,
    };
    let metrics: Vec<_> = job.measured().iter().map(|metric| metric.kind().name()).collect();
    Ok(json!({
        "model": entry.listed.model.to_string(),
        "digest": hex(&entry.public.digest()),
        "job": job.name,
        "job_hash": hex(&entry.public.job_hash),
        "origin": origin,
        "plan_hash": run.map(|(_, plan_hash, _)| hex(plan_hash)),
        "session": run.map(|(session, ..)| hex(session)),
        "manifest": manifest,
        "train_records": job.data.train_records,
        "test_records": job.data.test_records,
        "seed": job.training.seed,
        "labels_per_record": job.data.labels_per_record,
        "lengths": Lengths::bytes(&job.data) > 0,
        "epochs": run.map(|(.., epochs)| epochs),
        "from": job.from.as_ref().map(ToString::to_string),
        "metrics": metrics,
        "reveals_model": job.reveal.model,
        "ring_bits": job.numbers.ring_bits,
        "frac_bits": job.numbers.frac_bits,
        "words": entry.listed.words,
        "client": entry.public.client,
        "deployment": hex(&entry.public.deployment),
        "facts": serde_json::to_value(ModelFacts::of(&job)).unwrap_or_default(),
    }))
}

fn show([a, b]: &[ModelEntry; 2], path: Option<&Path>) -> Result<(), Failure> {
    let mut facts = facts(a)?;
    facts["state"] = json!({ "server0": a.listed.state.name(), "server1": b.listed.state.name() });
    let kept = [a, b].map(|entry| UnixSeconds(entry.listed.kept_at).utc());
    facts["kept"] = json!({ "server0": kept[0], "server1": kept[1] });
    say!("{facts:#}");
    write(path, &facts)
}

/// Prints each value that differs, by its path.
fn diff(first: &Value, second: &Value) {
    let mut differing = 0;
    differences("", first, second, &mut |path, a, b| {
        differing += 1;
        say!("{path}: {a} -> {b}");
    });
    if differing == 0 {
        say!("the public parts are equal");
    }
}

fn differences(path: &str, a: &Value, b: &Value, report: &mut dyn FnMut(&str, &Value, &Value)) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let of = |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                differences(&path, &of(a), &of(b), report);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}[{i}]"), a, b, report);
            }
        }
        (a, b) if a == b => {}
        (a, b) => report(path, a, b),
    }
}

fn export<W: HostWord + Word>(
    config: &Config,
    tls: &ClientTls,
    (entry, job): (&ModelEntry, &Job),
    (out, format): (&Path, Option<ModelFormat>),
) -> Result<(), Failure> {
    let words: Vec<W> = models::open(config, tls, (entry, job))?;
    sound_parameters(job, &words)?;
    let mut facts = facts(entry)?;
    let of_model = facts["facts"].take();
    let notes = entries(facts).chain(entries(of_model));
    write_model_file(out, format, job, &Model::with_notes(tensors(job, &words), notes))?;
    say!("wrote {} to {}", entry.listed.model, out.display());
    Ok(())
}
