//! Chooses the board and tells the linker its memory.

use std::{env, fs, path::PathBuf};

/// The emulated board of each target.
const EMULATED: [(&str, &str); 3] = [
    ("thumbv7em-none-eabihf", "mps2_an386"),
    ("thumbv6m-none-eabi", "microbit"),
    ("riscv32imac-unknown-none-elf", "riscv_virt"),
];

/// Boards that a feature of the same name chooses, each for one target.
const REAL: [(&str, &str); 1] = [("thumbv7em-none-eabihf", "nrf52840")];

fn main() {
    for (_, board) in EMULATED.iter().chain(&REAL) {
        println!("cargo::rustc-check-cfg=cfg(board, values(\"{board}\"))");
    }
    println!("cargo::rustc-check-cfg=cfg(emulated)");
    println!("cargo::rerun-if-changed=memory");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return; // the host's place holders
    }
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let board = board(&target);
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::copy(format!("memory/{board}.x"), out.join("memory.x")).expect("memory/ has a file for each board");

    println!("cargo::rustc-cfg=board=\"{board}\"");
    if EMULATED.iter().any(|(_, emulated)| *emulated == board) {
        println!("cargo::rustc-cfg=emulated");
    }
    println!("cargo::rustc-link-search={}", out.display());
    if target.starts_with("riscv") {
        println!("cargo::rustc-link-arg=-Tmemory.x"); // cortex-m-rt's script includes its own
    }
    println!("cargo::rustc-link-arg=-Tlink.x");
    println!("cargo::rustc-link-arg=-Tdefmt.x");
    println!("cargo::rustc-link-arg=--nmagic"); // sections need no page alignment
    if board == "microbit" {
        // This program runs kernels that need more than the chip's 16 KiB; the emulator is told to have 64.
        println!("cargo::rustc-link-arg-bin=constant_time=--defsym=_stack_start=0x20010000");
    }
}

/// The board that a feature names, else the emulated one of the target.
fn board(target: &str) -> &'static str {
    let chosen = |board: &str| env::var_os(format!("CARGO_FEATURE_{}", board.to_uppercase())).is_some();
    if let Some((its, board)) = REAL.iter().find(|(_, board)| chosen(board)) {
        assert!(*its == target, "the board {board} has the target {its}, not {target}");
        return board;
    }
    let Some((_, board)) = EMULATED.iter().find(|(t, _)| *t == target) else {
        panic!("no board for {target}; the targets with one are {:?}", EMULATED.map(|(t, _)| t));
    };
    board
}
