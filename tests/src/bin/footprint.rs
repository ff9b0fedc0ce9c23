//! Measures what Symbolon takes of a microcontroller and rewrites the README's table: `cargo run -p symbolon-tests --bin footprint`.
#![allow(clippy::unwrap_used)]

use std::fs;
use symbolon_tests::{
    emulator::Board,
    footprint::{MARKERS, measure, readme, readme_file, table},
};

fn main() {
    if !Board::CortexM4.available() {
        std::process::exit(1);
    }
    let [before, _, after] = readme();
    let [open, close] = MARKERS;
    let table = table(&measure());
    print!("{table}");
    fs::write(readme_file(), format!("{before}{open}\n{table}{close}{after}")).unwrap();
}
