//! The vectors of `tests/vectors`: every one on the host and on each emulated board, the same from the script each time, and each
//! expectation looked at: a vector with another one fails.
//!
//! Without Python, QEMU or a target the test that needs it is skipped, or fails where CI=true.
#![allow(clippy::unwrap_used)]

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use symbolon_firmware::conformance::{FILES, File, PROTOCOLS, Tally};
use symbolon_tests::{
    dir::TempDir,
    emulator::{Board, Emulated, Files, sizes},
};

const LONG: Duration = Duration::from_secs(120);

fn all_files() -> impl Iterator<Item = &'static File> {
    FILES.iter().chain(PROTOCOLS)
}

fn run(file: &File, text: &str) -> (Tally, String) {
    let mut wrong = String::new();
    let tally = file.check(text, &mut |line, why| {
        let at = text.lines().nth(usize::try_from(line).unwrap() - 1).unwrap_or_default();
        wrong += &format!("  {}, line {line}, {why:?}: {at}\n", file.name);
    });
    (tally, wrong)
}

#[test]
fn on_the_host() {
    let mut all = String::new();
    for file in all_files() {
        let from = Instant::now();
        let (tally, wrong) = run(file, file.text);
        eprintln!("{}: {} vectors, {} bytes, {:?}", file.name, tally.passed, file.text.len(), from.elapsed());
        assert!(tally.passed > 0, "{} has no vector", file.name);
        all += &wrong;
    }
    assert!(all.is_empty(), "with other results than these vectors have:\n{all}");
}

#[test]
fn on_cortex_m4() {
    on_a_board(Board::CortexM4, "conformance", FILES);
}

#[test]
fn protocols_on_cortex_m4() {
    on_a_board(Board::CortexM4, "conformance_protocols", PROTOCOLS);
}

#[test]
fn on_riscv_32() {
    on_a_board(Board::RiscV32, "conformance", FILES);
}

#[test]
fn protocols_on_riscv_32() {
    on_a_board(Board::RiscV32, "conformance_protocols", PROTOCOLS);
}

/// Which has no room for protocols.
#[test]
fn on_cortex_m0() {
    on_a_board(Board::CortexM0, "conformance", FILES);
}

fn on_a_board(board: Board, program: &str, files: &[File]) {
    if !board.available() {
        return;
    }
    let emulated = Emulated::boot(board, program, Files::default());
    let from = Instant::now();
    let outcome = emulated.wait(LONG);
    let log = outcome.log.join("\n");
    eprintln!("{board:?}: {:?} after the boot, {:?}\n{log}", from.elapsed(), sizes(&board.build(program)));
    assert_eq!(outcome.status, Some(0), "on {board:?}: {log}\n{}", outcome.said);
    for file in files {
        let host = run(file, file.text).0.passed;
        assert_eq!(outcome.number(&format!("{} passed", file.name)), Some(host.into()), "{} on {board:?}", file.name);
    }
}

#[test]
fn the_script_makes_the_same_files() {
    let python = "python3";
    if !Command::new(python).arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        assert!(env::var("CI").as_deref() != Ok("true"), "{python} is not installed");
        eprintln!("skipped: {python} is not installed");
        return;
    }
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let dir = TempDir::new();
    let status = Command::new(python).arg(vectors.join("generate.py")).arg(&*dir).status().unwrap();
    assert!(status.success(), "the script failed: {status}");
    let mut made: Vec<String> = fs::read_dir(&*dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace(".txt", ""))
        .collect();
    made.sort();
    let mut known: Vec<&str> = all_files().map(|file| file.name).collect();
    known.sort_unstable();
    assert_eq!(made, known, "all files that the script makes are run");
    for file in all_files() {
        let made = fs::read_to_string(dir.join(format!("{}.txt", file.name))).unwrap();
        let line = made.lines().zip(file.text.lines()).position(|(a, b)| a != b);
        assert!(made == file.text, "{}.txt is another than the script makes, from line {:?} on", file.name, line);
    }
}

/// Each expectation of each vector, changed in one place, makes that vector fail and no other.
#[test]
fn another_expectation_fails() {
    for file in all_files() {
        let vectors = split(file.text);
        let mut changed = 0;
        for (i, vector) in vectors.iter().enumerate() {
            let before = needed(&vectors[..i]);
            for line in 0..vector.len() {
                for word in expectations(file.name, vector, line) {
                    let mut other: Vec<String> = vector.iter().map(|line| (*line).to_owned()).collect();
                    other[line] = change(vector[line], word);
                    let text = format!("{before}{}\n", other.join("\n"));
                    let (tally, _) = run(file, &text);
                    assert_eq!(tally.failed, 1, "{}: nobody looks at word {word} of\n{text}", file.name);
                    changed += 1;
                }
            }
        }
        assert!(changed >= vectors.len(), "{}: {changed} expectations of {} vectors", file.name, vectors.len());
    }
}

/// A file that is cut off, or not of vectors, does not pass for one.
#[test]
fn what_is_no_vector_fails() {
    for file in all_files() {
        let vectors = split(file.text);
        let longest = vectors.iter().max_by_key(|vector| vector.len()).unwrap();
        for lines in 1..longest.len().min(6) {
            let tally = run(file, &format!("{}\n", longest[..lines].join("\n"))).0;
            assert_eq!(
                (tally.passed, tally.failed),
                (0, 1),
                "{}: the first {lines} lines of {}",
                file.name,
                longest[0]
            );
        }
        let head_alone = format!("{}\n", vectors[0][0].split(' ').next().unwrap());
        for text in ["nonsense\n", "nonsense 1 2 3 4 5 6 7 8\n  key value\n", &head_alone] {
            assert_eq!(run(file, text).0, Tally { passed: 0, failed: 1 }, "{}: {text}", file.name);
        }
    }
}

/// Lines of each vector, without remarks.
fn split(text: &str) -> Vec<Vec<&str>> {
    let mut vectors: Vec<Vec<&str>> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match vectors.last_mut().filter(|_| line.starts_with(' ')) {
            Some(vector) => vector.push(line),
            None => vectors.push(vec![line.split('#').next().unwrap().trim_end()]),
        }
    }
    vectors
}

/// What a vector needs of those before it: the last session, and its reports so far.
fn needed(before: &[Vec<&str>]) -> String {
    let session = before.iter().rposition(|vector| vector[0].starts_with("session "));
    let before = session.map_or(&[][..], |at| &before[at..]);
    let kept = before.iter().filter(|vector| vector[0].starts_with("session ") || vector[0].starts_with("report "));
    kept.map(|vector| vector.join("\n") + "\n").collect()
}

/// The words of a vector's line that say what must come out.
fn expectations(file: &str, vector: &[&str], line: usize) -> Vec<usize> {
    let words: Vec<&str> = vector[line].split_whitespace().collect();
    let (kind, last) = (vector[0].split(' ').next().unwrap(), words.len() - 1);
    let expected = match (file, line) {
        ("fixed_v1", 0) => true,
        ("stream_v1", 0) => vector.len() == 1,
        ("stream_v1", _) if kind == "session-seed" => words[0] == "seed",
        ("stream_v1", _) => ["share0", "share1"].contains(&words[0]),
        ("schema_v1", _) => ["hash", "layout", "place", "error"].contains(&words[0]),
        ("record_v1", _) => ["record", "share0", "share1"].contains(&words[0]),
        ("identity_v1", _) => words[0] == "why" || kind == "key-file" && ["file", "public"].contains(&words[0]),
        ("frame_v1", 0) => ["reason", "damaged"].contains(&kind),
        ("frame_v1", _) => kind != "damaged" && ["datagram", "stream", "damage"].contains(&words[0]),
        ("session_v1", 0) => ["accept", "open", "answer", "no-session", "no-report"].contains(&kind),
        ("session_v1", _) => {
            let made = ["session", "report", "ack", "refuse"].contains(&kind) && words[0] == "frame";
            made || words[0].starts_with("share")
        }
        ("window_v1", _) => words[0] == "features",
        ("protocol_v2", _) => ["dealt", "round", "out0", "out1"].contains(&words[0]),
        _ => false,
    };
    match words[0] {
        _ if !expected => vec![],
        "round" => vec![1, 2], // of either server
        "dealt" => vec![1],
        _ => vec![last],
    }
}

/// Another word: bytes with one bit changed, or what is no answer at all.
fn change(line: &str, word: usize) -> String {
    let mut words: Vec<String> = line.split_whitespace().map(Into::into).collect();
    let old = words[word].clone();
    words[word] = match u8::from_str_radix(old.get(..2).unwrap_or_default(), 16) {
        Ok(byte) if old.len().is_multiple_of(2) => format!("{:02x}{}", byte ^ 1, &old[2..]),
        _ => "none-of-these".into(),
    };
    let indent = if line.starts_with(' ') { "  " } else { "" };
    format!("{indent}{}", words.join(" "))
}
