//! `symbolon job from-onnx`: a job file with the network of an ONNX graph.

use super::Failure;
use crate::{
    job::Job,
    onnx::{job_text, read_onnx},
    report::write_atomic,
};
use std::path::{Path, PathBuf};

/// Arguments of `symbolon job from-onnx`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The ONNX file
    file: PathBuf,
    /// The job file to write, which must not exist; standard output, if not given
    #[arg(long, value_name = "JOB.toml")]
    out: Option<PathBuf>,
    /// Name of the job; the file's, if not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The outputs are numbers, not scores of classes
    #[arg(long)]
    regression: bool,
}

/// Writes a job file.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if let Some(out) = args.out.as_deref().filter(|out| out.exists()) {
        return Err(Failure::Input(format!("--out: {} exists; remove it, or name another file", out.display())));
    }
    let imported = read_onnx(&args.file)?;
    let file = args.file.file_name().unwrap_or_default().to_string_lossy();
    let name = args.name.clone().unwrap_or_else(|| name(&file));
    let text = job_text(&imported, &name, &file, args.regression);
    let job = Job::parse(&text, Path::new(&format!("{name}.toml")))?;
    let (_, remarks) = imported.for_job(&job)?;
    for remark in remarks {
        note!("symbolon: {remark}");
    }
    let Some(out) = &args.out else {
        say!("{}", text.trim_end());
        return Ok(());
    };
    write_atomic(out, text.as_bytes()).map_err(|error| Failure::write(out, &error))?;
    say!("{}: {} layers, {} parameters. Then", out.display(), job.network.nodes.len(), job.parameters());
    say!("  symbolon models import {} {}", out.display(), args.file.display());
    Ok(())
}

/// A job's name from a file's.
fn name(file: &str) -> String {
    let stem = file.split('.').next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '-' };
    let name: String = stem.chars().take(64).map(plain).collect();
    if name.is_empty() { "job".to_owned() } else { name }
}
