//! Makes arrays of sequences for the jobs `hapt-gru`, `characters` and `sentences`:
//! `sequences hapt DATA OUT` from the phone's raw samples, `sequences text OUT FILE...` and
//! `sequences sentences OUT FILE...` from any plain text.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Read},
    path::Path,
    process::ExitCode,
};

use flate2::read::GzDecoder;

/// Samples of a window (2.56 s at 50 Hz), and samples averaged into a step.
const WINDOW: usize = 128;
const STEP: usize = 4;
/// Channels of a sample: acceleration, then rotation.
const CHANNELS: usize = 6;
/// Offset and scale of each channel, in raw words: 1 g is 720, 1 °/s is 1/0.0175; a scaled 1 is
/// 0.4 g or 30 °/s.
const OFFSETS: [f64; CHANNELS] = [0.8 * 720.0, 0.0, 0.1 * 720.0, 0.0, 0.0, 0.0];
const UNITS: [f64; CHANNELS] = [288.0, 288.0, 288.0, 30.0 / 0.0175, 30.0 / 0.0175, 30.0 / 0.0175];

/// Distinct characters, and characters of a sequence.
const CODES: usize = 46;
const LENGTH: usize = 32;

/// Records and labels of a set, as they come.
#[derive(Default)]
struct Set {
    features: Vec<f32>,
    labels: Vec<u8>,
    /// Steps of each record that count; empty if all do.
    lengths: Vec<u8>,
    records: usize,
}

impl Set {
    /// Writes both arrays as NPY files.
    fn write(&self, dir: &Path, name: &str, shape: &str, labels: &str) -> io::Result<()> {
        let features: Vec<u8> = self.features.iter().flat_map(|x| x.to_le_bytes()).collect();
        npy(&dir.join(format!("{name}.npy")), "<f4", &format!("{}, {shape}", self.records), &features)?;
        npy(&dir.join(format!("{name}-labels.npy")), "|u1", &format!("{}, {labels}", self.records), &self.labels)?;
        if self.lengths.is_empty() {
            return Ok(());
        }
        npy(&dir.join(format!("{name}-lengths.npy")), "|u1", &format!("{},", self.records), &self.lengths)
    }

    /// Appends a sequence of codes, each labelled with the next, padded to [`LENGTH`].
    fn push(&mut self, own: &[u8]) {
        let (codes, labels) = (&own[..own.len() - 1], &own[1..]);
        let padding = LENGTH - codes.len();
        self.features.extend(codes.iter().map(|code| f32::from(*code)).chain(std::iter::repeat_n(0.0, padding)));
        self.labels.extend(labels.iter().chain(std::iter::repeat_n(&0, padding)));
        self.records += 1;
    }
}

/// An NPY file of version 1.
fn npy(path: &Path, kind: &str, shape: &str, bytes: &[u8]) -> io::Result<()> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    let padded = format!("{header:<width$}\n", width = (header.len() + 11).next_multiple_of(64) - 11);
    let len = u16::try_from(padded.len()).map_err(io::Error::other)?;
    fs::write(path, [b"\x93NUMPY\x01\x00", &len.to_le_bytes()[..], padded.as_bytes(), bytes].concat())
}

/// The windows of the HAPT data set: means of four samples, 32 steps of six channels.
#[allow(clippy::cast_possible_truncation)] // to single precision
fn hapt(data: &Path, out: &Path) -> io::Result<()> {
    let mut raw = Vec::new();
    GzDecoder::new(fs::File::open(data.join("hapt_raw_i16le.bin.gz"))?).read_to_end(&mut raw)?;
    let samples: Vec<f64> = raw.as_chunks().0.iter().map(|bytes| f64::from(i16::from_le_bytes(*bytes))).collect();
    let mut sets = BTreeMap::from([("train", Set::default()), ("test", Set::default())]);
    for line in fs::read_to_string(data.join("windows.csv"))?.lines().skip(1) {
        let bad = || io::Error::other(format!("windows.csv: {line}"));
        let cells: Vec<&str> = line.split(',').collect();
        let [start, label, _, set] = cells[..] else { return Err(bad()) };
        let start: usize = start.parse().map_err(|_| bad())?;
        let set = sets.get_mut(set).ok_or_else(bad)?;
        let window = samples.get(start * CHANNELS..(start + WINDOW) * CHANNELS).ok_or_else(bad)?;
        for step in window.chunks_exact(STEP * CHANNELS) {
            for (channel, (offset, unit)) in OFFSETS.into_iter().zip(UNITS).enumerate() {
                let sum: f64 = step.iter().skip(channel).step_by(CHANNELS).sum();
                set.features.push(((sum / STEP as f64 - offset) / unit) as f32);
            }
        }
        set.labels.push(label.parse().map_err(|_| bad())?);
        set.records += 1;
    }
    sets.iter().try_for_each(|(name, set)| set.write(out, name, "32, 6", ""))
}

/// The texts in small letters, with single blanks.
fn words(files: &[String]) -> io::Result<String> {
    let mut words = String::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|error| io::Error::other(format!("{file}: {error}")))?;
        let text = text.to_lowercase();
        text.split_whitespace().for_each(|word| words.extend([word, " "]));
    }
    Ok(words)
}

/// The codes of the most common characters of a text, most common first; others are left out.
fn coder(words: &str) -> impl Fn(char) -> Option<u8> + use<> {
    let mut counts = BTreeMap::<char, usize>::new();
    words.chars().for_each(|c| *counts.entry(c).or_default() += 1);
    let mut common: Vec<(char, usize)> = counts.into_iter().collect();
    common.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    common.truncate(CODES);
    move |c| common.iter().position(|(known, _)| *known == c).and_then(|i| u8::try_from(i).ok())
}

/// Sequences of characters, each labelled with the next character; every tenth sequence is for
/// testing.
fn text(out: &Path, files: &[String]) -> io::Result<()> {
    let words = words(files)?;
    let codes: Vec<u8> = words.chars().filter_map(coder(&words)).collect();
    let [mut train, mut test] = [Set::default(), Set::default()];
    for (i, own) in codes.windows(LENGTH + 1).step_by(LENGTH).enumerate() {
        if i % 10 == 9 { &mut test } else { &mut train }.push(own);
    }
    write_sets(out, &train, &test)
}

/// Parts of sentences between marks, up to [`LENGTH`] characters of each, with their lengths; every
/// tenth is for testing.
fn sentences(out: &Path, files: &[String]) -> io::Result<()> {
    let words = words(files)?;
    let code = coder(&words);
    let [mut train, mut test] = [Set::default(), Set::default()];
    let parts = words.split_inclusive(['.', ',', ';', ':', '!', '?', '(', ')', '|']).map(str::trim_start);
    let parts = parts.map(|part| part.chars().filter_map(&code).take(LENGTH + 1).collect::<Vec<u8>>());
    for (i, own) in parts.filter(|own| own.len() > 1).enumerate() {
        let set = if i % 10 == 9 { &mut test } else { &mut train };
        set.push(&own);
        set.lengths.push(u8::try_from(own.len() - 1).map_err(io::Error::other)?);
    }
    write_sets(out, &train, &test)
}

/// Writes the arrays of both sets.
fn write_sets(out: &Path, train: &Set, test: &Set) -> io::Result<()> {
    eprintln!("train_records = {}, test_records = {}", train.records, test.records);
    let shapes = ["32, 1", "32"];
    train.write(out, "train", shapes[0], shapes[1])?;
    test.write(out, "test", shapes[0], shapes[1])
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let made = match &arguments[..] {
        [kind, data, out] if kind == "hapt" => fs::create_dir_all(out).and_then(|()| hapt(data.as_ref(), out.as_ref())),
        [kind, out, files @ ..] if kind == "text" && !files.is_empty() => {
            fs::create_dir_all(out).and_then(|()| text(out.as_ref(), files))
        }
        [kind, out, files @ ..] if kind == "sentences" && !files.is_empty() => {
            fs::create_dir_all(out).and_then(|()| sentences(out.as_ref(), files))
        }
        _ => Err(io::Error::other("usage: sequences hapt DATA OUT | sequences text|sentences OUT FILE...")),
    };
    if let Err(error) = made {
        eprintln!("sequences: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
