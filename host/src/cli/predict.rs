//! `symbolon predict`: predictions for rows that stay with the client, by a model that stays
//! shared.

use super::{exit::Failure, roles::waiting};
use crate::{
    data::read_rows,
    job::{Job, Task},
    kernel::HostWord,
    model_store::ModelVersion,
    net::{ClientTls, Config, Role},
    report::write_atomic,
    session::client::Predictions,
    train::{AnswerKind, encode_rows, signed},
};
use std::{
    fmt::Write as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};
use symbolon_core::{fixed::decode, word::Word};

/// The time for which a session that begins is awaited.
const BEGINS: Duration = Duration::from_secs(10);

/// Arguments of `symbolon predict`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The model, NAME:VERSION
    model: ModelVersion,
    /// The rows: a CSV file with the model's columns, or with all features in their order
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,
    /// Write the predictions here, a line a row; to standard output, if not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Serial number of the certificate of the model's owner; your own model, if not given
    #[arg(long, value_name = "SERIAL")]
    owner: Option<String>,
    /// The client's configuration
    #[arg(long, value_name = "FILE", default_value = "client.toml")]
    config: PathBuf,
}

/// `symbolon predict`.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = Config::load(&args.config, &[Role::Client])?;
    let tls = ClientTls::new(&config.identity()?).telling(waiting);
    let mut open = open(&config, &tls, args)?;
    let rows = read_rows(open.job(), &args.csv)?;
    let text = match open.job().numbers.ring_bits {
        32 => predictions::<u32>(&mut open, &rows)?,
        _ => predictions::<u64>(&mut open, &rows)?,
    };
    match &args.out {
        None => say!("{}", text.trim_end()),
        Some(path) => {
            write_atomic(path, text.as_bytes()).map_err(|error| Failure::write(path, &error))?;
            note!("wrote {} predictions to {}", text.lines().count() - 1, path.display());
        }
    }
    Ok(())
}

/// Opens predictions; waits for a session that begins.
fn open(config: &Config, tls: &ClientTls, args: &Args) -> Result<Predictions, Failure> {
    let started = Instant::now();
    loop {
        match Predictions::open(config, tls, args.owner.as_deref(), &args.model) {
            // A server's rejection is text: its code is the only mark.
            Err(error) if error.to_string().contains("predict-waits: ") && started.elapsed() < BEGINS => {
                thread::sleep(Duration::from_millis(250));
            }
            opened => return Ok(opened?),
        }
    }
}

/// Asks about all rows; returns a line of column names and a line for each row.
fn predictions<W: HostWord + Word>(open: &mut Predictions, rows: &[f32]) -> Result<String, Failure> {
    let words: Vec<W> = encode_rows(open.job(), rows)?;
    let answers = open.ask(&words)?;
    let (job, answer) = (open.job(), open.answer);
    let mut text = columns(job, answer).join(",") + "\n";
    for row in answers.chunks(answer.words(job)) {
        let values = row.iter().enumerate().map(|(i, word)| value(job, answer, (i, signed(*word))));
        let _ = writeln!(text, "{}", values.collect::<Vec<_>>().join(",")); // writing to a string cannot fail
    }
    Ok(text)
}

/// Names of the columns of a row's answer.
fn columns(job: &Job, answer: AnswerKind) -> Vec<String> {
    let of_label = |label: usize| if job.data.labels_per_record > 1 { format!("_{label}") } else { String::new() };
    let labels = 0..job.data.labels_per_record;
    match (answer, &job.data.task) {
        (AnswerKind::Class, _) => labels.map(|label| format!("class{}", of_label(label))).collect(),
        (AnswerKind::Top { k }, _) => {
            labels.flat_map(|label| (1..=k).map(move |place| format!("class{place}{}", of_label(label)))).collect()
        }
        (AnswerKind::Values { .. }, Task::Classes(classes)) => {
            labels.flat_map(|label| (0..*classes).map(move |class| format!("p{class}{}", of_label(label)))).collect()
        }
        (AnswerKind::Values { .. }, Task::Regression(targets)) => {
            let name = |i| if targets.len() == 1 { "value".to_owned() } else { format!("value{i}") };
            (0..targets.len()).map(name).collect()
        }
    }
}

/// Word `i` of an answer as a number of the data.
fn value(job: &Job, answer: AnswerKind, (i, word): (usize, i64)) -> String {
    let AnswerKind::Values { frac_bits } = answer else { return word.to_string() };
    let value = decode(word, frac_bits);
    match &job.data.task {
        Task::Classes(_) => format!("{value:.4}"),
        Task::Regression(targets) => {
            let scale = &targets[i % targets.len()];
            format!("{:.6}", scale.offset + scale.divide * value)
        }
    }
}
