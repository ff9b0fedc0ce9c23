//! Constant time on the microcontrollers: equal public arguments must execute equal instructions, whatever the secrets.
//!
//! The firmware program `constant_time` runs every kernel, and splitting, on different secrets. QEMU logs each block of
//! instructions that it executes, of the firmware as linked, library calls included; the sequences must be the same. That
//! is what a disassembly is read for, without a count of allowed branches to keep up to date: such a count also lets a
//! loop pass that ends early.
//!
//! It sees branches, not addresses or instructions of variable time. Words have no division, multiplication takes constant
//! time on the supported cores (not on Cortex-M3), and tables are indexed by public words alone (or in the clear engine).
//!
//! Two cases leak on purpose and must be found. Without QEMU or the target the check is skipped, or fails where CI=true.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Runs of each case: the program's `SECRETS`.
const RUNS: usize = 4;

/// Kernels on whole values, which only the clear engine runs, in the hands of who owns the values: free to take time by them.
const CLEAR: [&str; 7] =
    ["truncated_clear", "blind_clear", "scaled_clear", "cells_clear", "index_clear", "saturate_clear", "lookup"];

macro_rules! names {
    ($(fn $name:ident($($arg:tt)*);)*) => { [$(stringify!($name)),*] };
}

/// Target, emulator and its machine.
type Board = (&'static str, &'static str, &'static [&'static str]);

const CORTEX_M4: Board = ("thumbv7em-none-eabihf", "qemu-system-arm", &["-machine", "mps2-an386", "-cpu", "cortex-m4"]);
/// With more memory than the chip has: some kernels are for larger ones.
const CORTEX_M0: Board =
    ("thumbv6m-none-eabi", "qemu-system-arm", &["-machine", "microbit", "-global", "nrf51-soc.sram-size=65536"]);
const RISCV_32: Board =
    ("riscv32imac-unknown-none-elf", "qemu-system-riscv32", &["-machine", "virt", "-m", "16M", "-bios", "none"]);

#[test]
fn on_cortex_m4() {
    check(CORTEX_M4);
}

#[test]
fn on_cortex_m0() {
    check(CORTEX_M0);
}

#[test]
fn on_riscv_32() {
    check(RISCV_32);
}

/// Blocks that one run executed: program counter, and the symbol it lies in.
type Run = Vec<(u32, u32)>;

fn check(board: Board) {
    if let Some(missing) = missing(board) {
        assert!(env::var("CI").as_deref() != Ok("true"), "{missing}");
        eprintln!("skipped: {missing}");
        return;
    }
    let (names, runs, symbols) = emulate(board, &build(board.0));
    assert_eq!(runs.len(), names.len() * RUNS, "the trace has every run of every case");
    let missing: Vec<&str> = (symbolon_core::with_kernels!(names).into_iter())
        .filter(|kernel| [32, 64].iter().any(|bits| !names.contains(&format!("{kernel} {bits}"))))
        .collect();
    assert!(missing.is_empty(), "kernels without a case in firmware/src/bin/constant_time.rs: {missing:?}");
    let mut leaks = String::new();
    for (name, runs) in names.iter().zip(runs.chunks(RUNS)) {
        let found = runs[1..].iter().find_map(|run| difference(&runs[0], run));
        match (found, name.starts_with("leak: ")) {
            (Some(_), false) if CLEAR.contains(&name.split(' ').next().unwrap()) => {}
            (Some(at), false) => {
                leaks += &format!("  {name}: paths part after {:#x} in {}\n", at.0, symbols[at.1 as usize])
            }
            (None, true) => panic!("{name}: made to leak, but not found"),
            _ => {}
        }
    }
    assert!(leaks.is_empty(), "on {} these take a path that depends on secrets:\n{leaks}", board.0);
}

/// The block after which two runs differ.
fn difference(a: &Run, b: &Run) -> Option<(u32, u32)> {
    assert!(!a.is_empty(), "a run executes something");
    let at = a.iter().zip(b).position(|(a, b)| a.0 != b.0).unwrap_or(a.len().min(b.len()));
    (at < a.len() || at < b.len()).then(|| a[at.saturating_sub(1)])
}

fn missing((target, emulator, _): Board) -> Option<String> {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output().unwrap();
    let library = PathBuf::from(String::from_utf8(sysroot.stdout).unwrap().trim()).join("lib/rustlib").join(target);
    if !library.is_dir() {
        return Some(format!("the target {target} is not installed; rustup target add {target}"));
    }
    let runs = Command::new(emulator).arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    (!runs).then(|| format!("{emulator} is not installed"))
}

/// Builds the firmware program; returns its path.
fn build(target: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .args(["build", "-q", "-p", "symbolon-firmware", "--profile", "firmware", "--bin", "constant_time"])
        .args(["--target", target, "--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the firmware does not build for {target}");
    let messages = String::from_utf8(output.stdout).unwrap();
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .unwrap()
}

/// Runs the program; returns the cases it names, the blocks of all runs, and the names of symbols.
fn emulate((target, emulator, machine): Board, program: &Path) -> (Vec<String>, Vec<Run>, Vec<String>) {
    let log = env::temp_dir().join(format!("symbolon-trace-{target}-{}", std::process::id()));
    let output = Command::new(emulator)
        .args(machine)
        .args(["-display", "none", "-monitor", "none", "-semihosting-config", "enable=on,target=native"])
        .args(["-d", "exec,nochain", "-D"]) // nochain: every block returns to the log
        .arg(&log)
        .arg("-kernel")
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "the program ended with {}", output.status);
    let trace = read_trace(BufReader::new(File::open(&log).unwrap()));
    fs::remove_file(&log).unwrap();
    let names = String::from_utf8(output.stdout).unwrap().lines().map(Into::into).collect();
    (names, trace.0, trace.1)
}

/// Reads lines `Trace 0: <host address> [<flags>/<program counter>/…] <symbol>` between the marks of runs.
fn read_trace(log: impl BufRead) -> (Vec<Run>, Vec<String>) {
    let mut numbers = BTreeMap::new();
    let mut symbols = Vec::new();
    let mut runs: Vec<Run> = Vec::new();
    let mut inside = false;
    for line in log.lines() {
        let line = line.unwrap();
        let Some((counter, symbol)) = block(&line) else { continue };
        if symbol.contains("trace_begin") {
            runs.push(Run::new());
            inside = true;
        } else if symbol.contains("trace_end") {
            inside = false;
        } else if inside {
            let next = u32::try_from(symbols.len()).unwrap();
            let number = *numbers.entry(symbol.to_owned()).or_insert_with(|| {
                symbols.push(symbol.to_owned());
                next
            });
            runs.last_mut().unwrap().push((counter, number));
        }
    }
    (runs, symbols)
}

/// Program counter and symbol of a block.
fn block(line: &str) -> Option<(u32, &str)> {
    let (_, rest) = line.strip_prefix("Trace ")?.split_once('[')?;
    let (state, symbol) = rest.split_once(']')?;
    let counter = state.split('/').nth(1)?;
    let counter = counter.get(counter.len().saturating_sub(8)..)?;
    Some((u32::from_str_radix(counter, 16).ok()?, symbol.trim()))
}

#[test]
fn reads_blocks() {
    assert_eq!(block("Trace 0: 0x7ff5b0000100 [00800400/000000c0/00000510/ff000200] Reset"), Some((0xc0, "Reset")));
    assert_eq!(block("Trace 0: 0x7f [0/0000000080000126/0/0] "), Some((0x8000_0126, "")));
    assert_eq!(block("Linking TBs"), None);
}
