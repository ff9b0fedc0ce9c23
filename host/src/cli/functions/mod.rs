//! `symbolon functions`: the functions of one number, by every method: domain, error, cost, speed;
//! pictures of them; one of them at one number, on shares, across processes. Functions of vectors
//! and comparisons are a second table.

mod evaluate;
mod measure;
mod plot;
mod vectors;

use super::exit::Failure;
use crate::report::write_atomic;
use measure::Measured;
use serde::Serialize;
use std::path::PathBuf;
use symbolon_core::function::{
    Numbers,
    method::{Function, FunctionFile, Method, polynomial::Fit},
    scalar::AnyScalar,
};
use vectors::{VectorFigures, VectorFunction};

/// Arguments of `symbolon functions`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show this function only, for example sigmoid or sort
    name: Option<String>,
    /// Ring width in bits, 32 or 64
    #[arg(long, default_value_t = 64)]
    ring_bits: u32,
    /// Fraction bits: 8 to 24; 8 to 13 in a 32-bit ring
    #[arg(long, default_value_t = 12)]
    frac_bits: u32,
    /// How the function is computed, with the keys of an activation layer, as in 'method =
    /// "direct"'
    #[arg(long, value_name = "TOML", requires = "name")]
    by: Option<String>,
    /// Draw value and error of each function into this directory, as SVG
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// Print the guaranteed bounds and counted costs as a Markdown table, without measuring
    #[arg(long, conflicts_with_all = ["json", "plot"])]
    markdown: bool,
    /// Write the measurements to this file as JSON
    #[arg(long, value_name = "FILE", value_parser = crate::cli::out_file())]
    json: Option<PathBuf>,
    /// Evaluate the function at X on shares (requires --local)
    #[arg(long, value_name = "X", requires_all = ["name", "local"], allow_negative_numbers = true)]
    x: Option<f64>,
    /// Run both servers as local processes for --x
    #[arg(long, requires = "x")]
    local: bool,
    /// Run as one of these servers
    #[arg(long, hide = true)]
    serve: bool,
}

/// Measures, draws or evaluates.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if args.serve {
        return evaluate::serve();
    }
    let numbers = numbers(args)?;
    let vectors = chosen_vectors(args, &numbers)?;
    let is_vector = args.name.is_some() && !vectors.is_empty();
    let functions = if is_vector { Vec::new() } else { chosen(args, &numbers)? };
    if let (Some(x), [function, ..]) = (args.x, &functions[..]) {
        return evaluate::run(function, &numbers, x);
    }
    if args.markdown {
        return tables(
            &functions,
            &vectors,
            || markdown(&functions, &numbers),
            || vectors::markdown(&vectors, &numbers),
        );
    }
    list(args, (&functions, &vectors), &numbers)
}

/// Prints one or both tables, an empty line between them.
fn tables(
    functions: &[Function],
    vectors: &[VectorFunction],
    of_functions: impl FnOnce() -> Result<(), Failure>,
    of_vectors: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    if !functions.is_empty() {
        of_functions()?;
    }
    if !functions.is_empty() && !vectors.is_empty() {
        say!("");
    }
    if vectors.is_empty() { Ok(()) } else { of_vectors() }
}

/// The functions of vectors that the arguments name.
fn chosen_vectors(args: &Args, numbers: &Numbers) -> Result<Vec<VectorFunction>, Failure> {
    let mut vectors = VectorFunction::catalogue(numbers);
    let Some(name) = &args.name else { return Ok(vectors) };
    vectors.retain(|vector| vector.name() == name);
    let of_numbers = [("--by", args.by.is_some()), ("--x", args.x.is_some()), ("--plot", args.plot.is_some())];
    match of_numbers.iter().find(|(_, given)| *given) {
        Some((option, _)) if !vectors.is_empty() => {
            Err(Failure::Input(format!("{option} is for functions of one number; {name} is one of vectors")))
        }
        _ => Ok(vectors),
    }
}

fn numbers(args: &Args) -> Result<Numbers, Failure> {
    let Args { ring_bits, frac_bits, .. } = *args;
    if ![32, 64].contains(&ring_bits) {
        return Err(Failure::Input(format!("--ring-bits is {ring_bits}, which must be 32 or 64")));
    }
    let most = if ring_bits == 32 { 13 } else { 24 };
    if !(8..=most).contains(&frac_bits) {
        return Err(Failure::Input(format!(
            "--frac-bits is {frac_bits}, which must be 8 to {most} in words of {ring_bits} bits"
        )));
    }
    Ok(Numbers { ring_bits, frac_bits })
}

/// The functions that the arguments name.
fn chosen(args: &Args, numbers: &Numbers) -> Result<Vec<Function>, Failure> {
    let Some(name) = &args.name else { return Ok(Function::catalogue(numbers).collect()) };
    if !AnyScalar::NAMES.contains(&name.as_str()) {
        let names = [AnyScalar::NAMES, &vectors::NAMES].concat().join(", ");
        return Err(Failure::Input(format!("{name} is unknown; the functions are {names}")));
    }
    let Some(by) = &args.by else {
        return Ok(Function::catalogue(numbers).filter(|function| function.scalar.name() == name).collect());
    };
    let text = format!("function = \"{name}\"\n{by}");
    let file: FunctionFile =
        toml::from_str(&text).map_err(|error| Failure::Input(format!("--by: {}", error.message())))?;
    let function = Function::try_from(&file).map_err(|error| Failure::Input(format!("--by: {error}")))?;
    let function = function.resolved(numbers);
    function.check(numbers).map_err(|misfit| Failure::Input(format!("--by: the function {misfit}")))?;
    Ok(vec![function])
}

/// Describes the method.
fn method(function: &Function) -> String {
    let FunctionFile { bits, degree, interval, fit, squarings, terms, .. } = FunctionFile::from(*function);
    let ends =
        |interval: Option<[f64; 2]>| interval.map_or(String::new(), |[low, high]| format!(" on [{low}, {high}]"));
    match &function.method {
        Method::Mapping(_) => {
            let pieces = ["constants", "lines", "parabolas", "cubics", "quartics"];
            format!("mapping, 2^{} {}", bits.unwrap_or(0), pieces[usize::from(degree.unwrap_or(0)).min(4)])
        }
        Method::Polynomial(_) => {
            let fit = fit.map_or("", Fit::name);
            format!("{fit} {}{}", degree.unwrap_or(0), ends(interval))
        }
        Method::Segments(segments) => {
            format!("{} parts", segments.knots().len() + 1)
        }
        Method::Limit(_) => format!("limit, {} squarings", squarings.unwrap_or(0)),
        Method::Periodic(_) => {
            let terms = terms.unwrap_or(0);
            format!("periodic, {terms} term{}{}", if terms == 1 { "" } else { "s" }, ends(interval))
        }
        Method::Direct | Method::Auto => "direct".to_owned(),
    }
}

/// Prints the bounds of functions as a table.
fn markdown(functions: &[Function], numbers: &Numbers) -> Result<(), Failure> {
    say!("| function | method | domain | units | relative | rounds | bytes each way | bytes dealt |");
    say!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for function in functions {
        let (bound, cost) = (function.bound(numbers), measure::cost(function, numbers)?);
        let [low, high] = function.domain(numbers);
        let relative = if bound.relative > 1e-12 { format!("2^{:.1}", bound.relative.log2()) } else { String::new() };
        let (name, method) = (function.scalar.name(), method(function));
        say!(
            "| {name} | {method} | {} to {} | {:.1} | {relative} | {} | {:.1} | {:.0} |",
            short(low),
            short(high),
            bound.units,
            cost.rounds,
            cost.bytes_each_way,
            cost.dealt_bytes
        );
    }
    Ok(())
}

/// Rounds a number for a table.
fn short(x: f64) -> String {
    if x == 0.0 || (0.01..10_000.0).contains(&x.abs()) {
        format!("{}", (x * 1e4).round() / 1e4)
    } else {
        format!("{x:.1e}")
    }
}

/// A table's row in the file of measurements.
#[derive(Serialize)]
#[serde(untagged)]
enum Measurement {
    OfNumber(Measured),
    OfVectors(VectorFigures),
}

fn list(args: &Args, (functions, vectors): (&[Function], &[VectorFunction]), numbers: &Numbers) -> Result<(), Failure> {
    let (mut scalars, mut figures) = (Vec::new(), Vec::new());
    tables(
        functions,
        vectors,
        || list_scalars(args, functions, numbers).map(|all| scalars = all),
        || vectors::list(vectors, numbers).map(|all| figures = all),
    )?;
    let all: Vec<Measurement> =
        scalars.into_iter().map(Measurement::OfNumber).chain(figures.into_iter().map(Measurement::OfVectors)).collect();
    let Some(path) = &args.json else { return Ok(()) };
    let text = serde_json::to_string_pretty(&all).map_err(|error| Failure::Other(error.to_string()))?;
    write_atomic(path, (text + "\n").as_bytes()).map_err(|error| Failure::write(path, &error))
}

/// Prints the functions of one number, and returns what was measured.
fn list_scalars(args: &Args, functions: &[Function], numbers: &Numbers) -> Result<Vec<Measured>, Failure> {
    let Numbers { ring_bits, frac_bits } = numbers;
    say!(
        "{ring_bits}-bit ring, {frac_bits} fraction bits. `units` is the largest measured error in units of 2^-{frac_bits}, for results of magnitude up to 1;\n\
         `rel 2^` is the largest relative error of larger results. `bound` is the guaranteed bound. `approx` is the method's own approximation\n\
         error. Bytes sent each way and bytes dealt are per value. Two servers and a dealer run as threads. Outside its domain a function\n\
         saturates, unless it is periodic or raw.\n"
    );
    say!(
        "{:<20}{:<30}{:>20}{:>8}{:>8}{:>9}{:>10}{:>8}{:>8}{:>8}{:>10}",
        "function",
        "method",
        "domain",
        "units",
        "bound",
        "rel 2^",
        "approx",
        "rounds",
        "sent",
        "dealt",
        "values/s"
    );
    let mut all = Vec::new();
    for function in functions {
        let measured = Measured::new(function, numbers)?;
        let [low, high] = measured.domain;
        let relative = if measured.relative > 0.0 { format!("{:.1}", measured.relative.log2()) } else { "-".into() };
        say!(
            "{:<20}{:<30}{:>20}{:>8.2}{:>8.2}{:>9}{:>10}{:>8}{:>8.1}{:>8.1}{:>10.2e}",
            function.scalar.name(),
            method(function),
            format!("[{}, {}]", short(low), short(high)),
            measured.units,
            measured.bound_units,
            relative,
            short(measured.approximation),
            measured.rounds,
            measured.bytes_each_way,
            measured.dealt_bytes,
            measured.per_second
        );
        if let Some(directory) = &args.plot {
            std::fs::create_dir_all(directory).map_err(|error| Failure::write(directory, &error))?;
            let name = format!("{} {}", function.scalar.name(), method(function));
            let file: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            let path = directory.join(format!("{}.svg", file.to_lowercase()));
            write_atomic(&path, plot::svg(&name, &measured).as_bytes())
                .map_err(|error| Failure::write(&path, &error))?;
        }
        all.push(measured);
    }
    Ok(all)
}
