//! `symbolon demo --qemu`: two of the demonstration's devices on emulated boards, and what is said without firmware, emulator or source.

use super::{TRAINING, alone};
use std::fs;
use symbolon_tests::{
    dir::TempDir,
    emulator::Board,
    program::{assert_fails, finish, run, symbolon},
};

const BOARDS: [Board; 2] = [Board::CortexM4, Board::RiscV32];

#[test]
fn devices_move_to_boards() {
    let _alone = alone();
    if !BOARDS.iter().all(|board| board.available()) {
        return;
    }
    let temp = TempDir::new();
    let mut command = symbolon(["demo", "--qemu"]);
    for board in BOARDS {
        command.arg("--firmware").arg(board.build("sensor_node"));
    }
    let output = finish(command.env("TMPDIR", &*temp).spawn().unwrap(), TRAINING);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for words in [
        "device office-a is a sensor node on mps2-an386",
        "device office-b is a sensor node on virt",
        "devices office-c, test are threads",
        "accuracy on shares 8",
    ] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    assert!(fs::read_dir(&*temp).unwrap().next().is_none(), "files stay behind");
}

#[test]
fn what_is_missing_is_said() {
    let dir = TempDir::new();
    let text = dir.file("text", "no program at all, but long enough");
    let demo = || symbolon(["demo", "--qemu"]);
    let fails = |command: &mut std::process::Command, words: &[&str]| assert_fails(&run(command), 2, words);
    fails(demo().arg("--firmware").arg(&text), &["text: no ELF program for mps2-an386"]);
    fails(demo().args(["--firmware", "nowhere"]), &["nowhere: No such file"]);
    fails(demo().current_dir(&*dir), &["the firmware's source is not here", "give --firmware"]);
    // Before anything is built.
    let tree = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = run(demo().current_dir(tree).env("PATH", &*dir));
    assert_fails(&output, 2, &["qemu-system-arm does not run", "apt-get install"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("building"), "{output:?}");
    let mut elf = [0; 64];
    elf[..4].copy_from_slice(b"\x7fELF");
    elf[18] = 40;
    fs::write(&text, elf).unwrap();
    fails(demo().arg("--firmware").arg(&text).env("PATH", &*dir), &["qemu-system-arm does not run", "apt-get install"]);
}
