//! What Symbolon takes of a microcontroller and of the air, measured on an emulated Cortex-M4F, and the README's table of it.
//!
//! Bytes of flash and static RAM are read off the programs; the stack is painted and looked at when the program has done its work; instructions are counted by the
//! emulator, whose clock they drive.

use crate::{
    compute::{Node, Secrets, Tape, against_device},
    emulator::{Board, Emulated, Files, sizes},
    servers::Servers,
};
use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};
use symbolon_core::report::{
    frame::Frame,
    header::{DeviceId, Header, ReportId},
    schema::Layout,
};

const BOARD: Board = Board::CortexM4;
const LONG: Duration = Duration::from_secs(120);

/// 16-bit readings of the sensor node's records: 64 bytes, as many as its slots hold.
const READINGS: u16 = 32;
/// Reports until its stack is looked at: more than its slots.
const REPORTS: usize = 24;

/// The lines between which the README's table stands.
pub const MARKERS: [&str; 2] = ["<!-- footprint -->", "<!-- /footprint -->"];

/// A row of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// What was measured, with its unit.
    pub name: String,
    /// How much it was.
    pub measured: u64,
    /// How much it may be.
    pub limit: Option<u64>,
}

/// Measures everything; builds the firmware if need be.
///
/// # Panics
///
/// If the firmware does not build or does not do its work. Ask [`Board::available`] first.
#[must_use]
pub fn measure() -> Vec<Row> {
    let row = |name: &str, measured, limit| Row { name: name.to_owned(), measured, limit };
    let [sensor, asking, compute, function, sequence] =
        ["sensor_node", "sensor_node+predict", "compute_node", "function_node", "sequence_node"]
            .map(|program| sizes(&BOARD.build(program)));
    let mut rows = vec![
        row("sensor node: bytes of flash", sensor.flash_bytes, Some(40_000)),
        row("sensor node: bytes of static RAM, 16 reports of 64 bytes in it", sensor.ram_bytes, Some(8_000)),
        row("sensor node: bytes of stack at most", sensor_stack(), None),
        row("sensor node that also asks for predictions: bytes of flash", asking.flash_bytes, Some(44_000)),
        row("sensor node that also asks for predictions: bytes of static RAM", asking.ram_bytes, Some(8_000)),
        row("compute node: bytes of flash", compute.flash_bytes, Some(64_000)),
        row("compute node: bytes of static RAM", compute.ram_bytes, Some(24_000)),
        row("compute node: bytes of stack at most", stack(Node::Compute), None),
        row("function node: bytes of flash", function.flash_bytes, Some(160_000)),
        row("function node: bytes of static RAM", function.ram_bytes, Some(16_000)),
        row("function node: bytes of stack at most", stack(Node::Function), None),
        row("sequence node: bytes of flash", sequence.flash_bytes, Some(72_000)),
        row("sequence node: bytes of static RAM", sequence.ram_bytes, Some(16_000)),
        row("sequence node: bytes of stack at most", stack(Node::Sequence), None),
    ];
    let costs = Emulated::boot(BOARD, "costs", Files { counted: true, ..Files::default() }).wait(LONG);
    let cost = |name: &str| costs.number(name).unwrap_or_else(|| panic!("no {name}: {costs:?}"));
    let sealing = cost("seal 256 bytes") - cost("split 256 bytes");
    rows.extend([
        row(
            "splitting a 16-bit reading, in a record of 64 bytes: instructions",
            cost("split 64 bytes").div_ceil(32),
            Some(100),
        ),
        row(
            "splitting a 16-bit reading, in a record of 1,024 bytes: instructions",
            cost("split 1024 bytes").div_ceil(512),
            Some(100),
        ),
        row("sealing both parts of a split report of 256 bytes: instructions", sealing, Some(20_000)),
        row("splitting and sealing a report of 64 bytes: instructions", cost("seal 64 bytes"), None),
        row(
            "sequence node's part in a sequence of 8 steps through a GRU of 8 units: instructions",
            cost("infer a sequence"),
            None,
        ),
        row("starting both sessions, once a boot: instructions", cost("start of a boot"), None),
        row("on the air beside a record of 64 bytes: bytes for both parts", on_the_air(64..=64), Some(120)),
        row("on the air beside a record of 1 to 1,024 bytes: bytes for both parts", on_the_air(1..=1024), Some(120)),
    ]);
    rows
}

/// Peak stack of a sensor node that has started its sessions, filled its outbox, and seen reports acknowledged.
fn sensor_stack() -> u64 {
    let (blob, mut servers) = Servers::provision(Layout { halves: READINGS, ..Layout::default() });
    let readings = (0..i32::from(READINGS) * 48).collect();
    let files = Files { seed: Some([1; 32]), blob: Some(blob), readings, ..Files::default() };
    let mut node = Emulated::boot(BOARD, "sensor_node", files);
    servers.serve(&mut node, |servers| servers.records.len() >= REPORTS);
    node.stop().number("stack").unwrap()
}

/// Peak stack of a node that has computed.
fn stack(node: Node) -> u64 {
    let mut secrets = Secrets::new(1);
    let files = Files { seed: Some([9; 32]), blob: Some(secrets.blob()), ..Files::default() };
    let device = Emulated::boot(BOARD, node.program(), files);
    let mut tape = Tape::new(device.serial.try_clone().unwrap(), None);
    let joint = against_device(&mut tape, &mut secrets, node, &vec![0; node.words()[0]]);
    let outcome = device.wait(LONG);
    assert!(joint.is_ok(), "{outcome:?}");
    outcome.number("stack").unwrap()
}

/// Bytes of a report on a serial line beside its record's, at most, for records of so many bytes: header, both tags, framing.
///
/// # Panics
///
/// For records of more than a kilobyte or two.
#[must_use]
pub fn on_the_air(record_bytes: RangeInclusive<usize>) -> u64 {
    let id = ReportId { device: DeviceId(u64::MAX), boot: u32::MAX, sequence: u32::MAX };
    let header = Header { id, time_ms: u64::MAX, dropped: u32::MAX, about: None }.to_bytes();
    let (mut plain, mut framed) = ([0; 2048], [0; 2048]);
    let beside = |len: usize| {
        let sealed = vec![0xff; len];
        let report = Frame::Report { header: header.as_ref(), tags: [[0xff; 16]; 2], sealed: &sealed };
        (report.encode_stream(&mut plain, &mut framed).unwrap().len() - len) as u64
    };
    record_bytes.map(beside).max().unwrap()
}

/// The table, for [`MARKERS`].
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from("| Cortex-M4F | measured | at most |\n| --- | ---: | ---: |\n");
    for Row { name, measured, limit } in rows {
        let limit = limit.map(grouped).unwrap_or_default();
        out += &format!("| {name} | {} | {limit} |\n", grouped(*measured));
    }
    out
}

/// With a comma before each three digits.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Reads what [`table`] wrote.
///
/// # Panics
///
/// If it is no such table.
#[must_use]
pub fn parse(table: &str) -> Vec<Row> {
    let number = |cell: &str| cell.replace(',', "").parse().ok();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, measured, limit] = cells[..] else { panic!("no row: {line}") };
        Row { name: name.to_owned(), measured: number(measured).unwrap(), limit: number(limit) }
    };
    table.trim().lines().skip(2).map(row).collect()
}

/// The README, before, in and after the table.
///
/// # Panics
///
/// If it has no [`MARKERS`].
#[must_use]
pub fn readme() -> [String; 3] {
    let text = std::fs::read_to_string(readme_file()).unwrap();
    let [open, close] = MARKERS;
    let (before, rest) = text.split_once(open).unwrap_or_else(|| panic!("the README has no {open}"));
    let (table, after) = rest.split_once(close).unwrap_or_else(|| panic!("the README has no {close}"));
    [before, table, after].map(str::to_owned)
}

/// Where the README is.
#[must_use]
pub fn readme_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}
