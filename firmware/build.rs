//! Chooses the board by the target and tells the linker its memory.

use std::{env, fs, path::PathBuf};

/// The board that each target builds for. A second board of one target will need a way to choose.
const BOARDS: [(&str, &str); 3] = [
    ("thumbv7em-none-eabihf", "mps2_an386"),
    ("thumbv6m-none-eabi", "microbit"),
    ("riscv32imac-unknown-none-elf", "riscv_virt"),
];

fn main() {
    for (_, board) in BOARDS {
        println!("cargo::rustc-check-cfg=cfg(board, values(\"{board}\"))");
    }
    println!("cargo::rerun-if-changed=memory");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return; // the host's place holders
    }
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let Some((_, board)) = BOARDS.iter().find(|(t, _)| *t == target) else {
        panic!("no board for {target}; the targets with one are {:?}", BOARDS.map(|(t, _)| t));
    };
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::copy(format!("memory/{board}.x"), out.join("memory.x")).expect("memory/ has a file for each board");

    println!("cargo::rustc-cfg=board=\"{board}\"");
    println!("cargo::rustc-link-search={}", out.display());
    if target.starts_with("riscv") {
        println!("cargo::rustc-link-arg=-Tmemory.x"); // cortex-m-rt's script includes its own
    }
    println!("cargo::rustc-link-arg=-Tlink.x");
    println!("cargo::rustc-link-arg=--nmagic"); // sections need no page alignment
    if *board == "microbit" {
        // This program runs kernels that need more than the chip's 16 KiB; the emulator is told to have 64.
        println!("cargo::rustc-link-arg-bin=constant_time=--defsym=_stack_start=0x20010000");
    }
}
