//! The sensor node on emulated boards: what both servers join is what the sensor measured, before and after a reset.
#![allow(clippy::unwrap_used)]

use symbolon_core::report::{record::get, schema::Layout};
use symbolon_tests::{
    emulator::{Board, Emulated, Files, sizes},
    servers::Servers,
};

/// Readings of a record: four of 16 bits and a label.
const CODES: usize = 5;
const LAYOUT: Layout = Layout { words: 0, halves: 4, bytes: 0, labels: [1, 0, 0, 0], bits: 0 };
/// Reports that a node keeps.
const SLOTS: usize = 16;

/// What a record holds.
fn codes(record: &[u8]) -> Vec<i32> {
    [0, 16, 32, 48, 64].map(|at| get(record, at, if at == 64 { 8 } else { 16 }).cast_signed()).to_vec()
}

fn reading(i: usize) -> i32 {
    let label = i % CODES == CODES - 1;
    i32::try_from(if label { i / CODES % 2 } else { 37 * i }).unwrap()
}

#[test]
fn servers_join_what_the_sensor_measured() {
    for board in [Board::CortexM4, Board::RiscV32].into_iter().filter(|b| b.available()) {
        let (blob, mut servers) = Servers::provision(LAYOUT);
        let recorded: Vec<i32> = (0..60 * CODES).map(reading).collect();
        let readings = recorded[..40 * CODES].to_vec();
        let files = Files { seed: Some([1; 32]), blob: Some(blob), readings, ..Files::default() };
        let mut node = Emulated::boot(board, "sensor_node", files);
        servers.serve(&mut node, |s| s.records.len() == 20);
        let before = node.reset();
        node.feed(&recorded[40 * CODES..]);
        // The last record comes; what waited at the reset may be lost.
        servers.serve(&mut node, |s| s.records.values().any(|r| codes(r) == recorded[59 * CODES..]));

        assert_eq!(node.counted(), 2);
        let boots: Vec<u32> = servers.sessions.keys().copied().collect();
        assert_eq!(boots, [1, 2], "{board:?}: {before:?}");
        let expected: Vec<&[i32]> = recorded.chunks(CODES).collect();
        let mut places = servers
            .records
            .values()
            .map(|r| expected.iter().position(|e| *e == codes(r)).expect("a record that nobody measured"));
        let places: Vec<usize> = places.by_ref().collect();
        assert!(places.is_sorted_by(|a, b| a < b), "{board:?}: a record came twice, or in another order: {places:?}");
        assert!(places.len() + SLOTS >= expected.len(), "{board:?}: more was lost than waited: {places:?}");
        let sizes = sizes(&board.build("sensor_node"));
        let stack = before.number("stack").unwrap();
        println!("{board:?}: {} bytes of flash, {} of RAM, {stack} of stack", sizes.flash_bytes, sizes.ram_bytes);
    }
}
