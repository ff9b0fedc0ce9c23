//! Parsers of strangers' bytes and of data files, as plain functions of bytes, and a driver that
//! mutates good input.
//!
//! A target panics when its parser does, or when it takes what it should not: what parses must encode to something that parses to the same. CI drives them here, on
//! stable Rust, from a seed; `cargo fuzz` can drive the same functions for longer.

use crate::noise::Dice;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use symbolon::{
    device::{ArrayRows, CsvRows, Headings},
    intake::{self, manifest::Manifest, wire::Batch},
    schema::SchemaFile,
};
use symbolon_core::report::{
    frame::{Ack, Decoder, Frame, Part, Predicted, Refuse},
    header::{DeviceId, Header, ReportId, StartHeader},
    identity::{Identity, PublicKey, SecretKey, ServerKey},
    record,
    schema::{Layout, MAX_RECORD_BYTES},
};

/// A parser, and good input for it.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// What to mutate.
    pub seeds: Vec<Vec<u8>>,
    /// The parser. Panics if something is wrong with it.
    pub run: fn(&[u8]),
}

/// All targets of the report layer and of the host.
#[must_use]
pub fn targets() -> Vec<Target> {
    vec![
        Target { name: "frame", seeds: frames(|frame, out| frame.encode(out).unwrap().to_vec()), run: frame },
        Target { name: "stream", seeds: frames(stream_bytes), run: stream },
        Target { name: "part", seeds: parts(), run: part },
        Target { name: "header", seeds: headers(), run: header },
        Target { name: "start header", seeds: vec![start_header().to_bytes().to_vec()], run: start },
        Target { name: "key file", seeds: vec![identity().to_bytes().to_vec()], run: key_file },
        Target { name: "layout", seeds: vec![identity().layout.to_bytes().to_vec()], run: layout },
        Target { name: "batch", seeds: vec![postcard::to_stdvec(&batch()).unwrap()], run: wire_batch },
        Target { name: "manifest", seeds: vec![postcard::to_stdvec(&manifest()).unwrap()], run: wire_manifest },
        Target { name: "registry", seeds: texts(&[DEVICES]), run: registry },
        Target { name: "server key", seeds: texts(&[KEY]), run: server_key },
        Target { name: "servers", seeds: texts(&[SERVERS]), run: servers },
        Target { name: "configuration", seeds: texts(&[GATEWAY, SERVER]), run: configuration },
        Target { name: "schema", seeds: texts(&[SCHEMA]), run: schema },
        Target { name: "rows of CSV", seeds: tables(), run: csv_rows },
        Target { name: "rows of IDX", seeds: vec![IDX.to_vec()], run: idx_rows },
        Target { name: "rows of NPY", seeds: vec![npy(b'F'), npy(b'T')], run: npy_rows },
        Target { name: "job", seeds: texts(&JOBS), run: job },
        Target { name: "encoded job", seeds: JOBS.iter().filter_map(|text| encoded(text)).collect(), run: encoded_job },
    ]
}

/// Runs a target `times` times on mutated seeds.
///
/// # Panics
///
/// If the target does; the input is told.
pub fn drive(target: &Target, seed: u64, times: u32) {
    let mut dice = Dice::new(seed);
    let mut inputs = target.seeds.clone();
    for seed in &target.seeds {
        assert_runs(target, seed);
    }
    for _ in 0..times {
        let from = dice.below(u32::try_from(inputs.len()).unwrap()) as usize;
        let mut input = inputs[from].clone();
        for _ in 0..=dice.below(4) {
            mutate(&mut dice, &mut input, &target.seeds);
        }
        assert_runs(target, &input);
        // Mutants of mutants: some walk far from the seeds.
        if dice.hit(20) && inputs.len() < 256 {
            inputs.push(input);
        }
    }
}

fn assert_runs(target: &Target, input: &[u8]) {
    let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    assert!(ran.is_ok(), "{}: {:02x?} ({})", target.name, input, String::from_utf8_lossy(input));
}

fn mutate(dice: &mut Dice, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let len = u32::try_from(input.len()).unwrap();
    let at = dice.below(len.max(1)) as usize;
    match dice.below(8) {
        _ if input.is_empty() => input.push(byte(dice)),
        0 => input[at] ^= 1 << dice.below(8),
        1 => input[at] = byte(dice),
        2 => input[at] = [0, 0xff, 0x80, 0x7f][dice.below(4) as usize],
        3 => input.truncate(at),
        4 => input.insert(at, byte(dice)),
        5 => drop(input.remove(at)),
        6 => {
            let end = at + dice.below(len - u32::try_from(at).unwrap()) as usize;
            let piece = input[at..end].to_vec();
            input.extend(piece);
        }
        _ => {
            let other = &seeds[dice.below(u32::try_from(seeds.len()).unwrap()) as usize];
            input.truncate(at);
            input.extend_from_slice(other.get(at..).unwrap_or_default());
        }
    }
    input.truncate(1 << 16);
}

#[allow(clippy::cast_possible_truncation)]
fn byte(dice: &mut Dice) -> u8 {
    dice.below(256) as u8
}

// --- targets ---------------------------------------------------------------------------------------------------------

/// Frames survive a second trip; the CRC of mutants is mended, so that what is behind it is reached.
fn frame(bytes: &[u8]) {
    let mut mended = bytes.to_vec();
    if let Some(body) = bytes.len().checked_sub(4) {
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[..body]);
        mended[body..].copy_from_slice(&crc.to_le_bytes());
    }
    for bytes in [bytes, &mended[..]] {
        let Ok(frame) = Frame::decode(bytes) else { continue };
        let mut out = vec![0; bytes.len() + 64];
        let again = frame.encode(&mut out).unwrap();
        assert_eq!(Frame::decode(again), Ok(frame));
        if let Some(parts) = frame.parts() {
            parts.iter().for_each(look);
        }
    }
}

fn stream(bytes: &[u8]) {
    let mut decoder = Decoder::<600>::new();
    let mut held = 0;
    for byte in bytes {
        held += 1;
        if let Some(frame) = decoder.push(*byte) {
            let mut out = [0; 700];
            assert!(frame.is_err() || frame.is_ok_and(|frame| frame.encode(&mut out).is_ok()));
            held = 0;
        }
    }
    assert!(held <= bytes.len());
}

fn part(bytes: &[u8]) {
    let Ok(part) = postcard::from_bytes::<Part<'_>>(bytes) else { return };
    look(&part);
    let again = postcard::to_stdvec(&part).unwrap();
    assert_eq!(postcard::from_bytes::<Part<'_>>(&again), Ok(part));
}

/// What a server does first with a part of a stranger: it must end in a refusal.
fn look(part: &Part<'_>) {
    let secret = SecretKey::from_bytes(&[4; 32]);
    match part {
        Part::Start { header, .. } => {
            if StartHeader::parse(header).is_ok() {
                for server in [0, 1] {
                    let accepted =
                        symbolon_core::report::session::Receiver::accept(server, &secret, &PublicKey([9; 32]), part);
                    assert!(accepted.is_err(), "a stranger's session was accepted");
                }
            }
        }
        Part::Report { header, .. } => self::header(header),
    }
}

fn header(bytes: &[u8]) {
    if let Ok(header) = Header::parse(bytes) {
        assert_eq!(header.to_bytes().as_ref(), bytes);
        assert_eq!(ReportId::from_bytes(&header.id.to_bytes()), header.id);
    }
}

fn start(bytes: &[u8]) {
    if let Ok(header) = StartHeader::parse(bytes) {
        assert_eq!(header.to_bytes(), bytes);
    }
}

fn key_file(bytes: &[u8]) {
    if let Ok(identity) = Identity::from_bytes(bytes) {
        assert_eq!(identity.to_bytes(), bytes);
    }
}

fn layout(bytes: &[u8]) {
    let Some(layout) = bytes.first_chunk().and_then(Layout::from_bytes) else { return };
    assert!(layout.record_bytes() <= MAX_RECORD_BYTES);
    let mut record = vec![0; layout.record_bytes()];
    record::join(&layout, &mut record, &vec![0xff; layout.record_bytes()]);
}

fn wire_batch(bytes: &[u8]) {
    if let Ok(batch) = postcard::from_bytes::<Batch>(bytes) {
        batch.parts.iter().for_each(|bytes| part(bytes));
    }
}

fn wire_manifest(bytes: &[u8]) {
    if let Ok(manifest) = postcard::from_bytes::<Manifest>(bytes) {
        assert_eq!(manifest.digest(), manifest.digest());
    }
}

fn text_of(bytes: &[u8], parse: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        parse(text);
    }
}

fn registry(bytes: &[u8]) {
    text_of(bytes, |text| drop(intake::registry::parse(text, "devices.toml".as_ref())));
}

fn server_key(bytes: &[u8]) {
    text_of(bytes, |text| {
        if let Err(error) = intake::keys::KeyFile::parse(text, "1.key".as_ref()) {
            assert!(!error.to_string().contains(SECRET), "an error quotes the secret");
        }
    });
}

fn servers(bytes: &[u8]) {
    text_of(bytes, |text| drop(symbolon::provision::ServersFile::parse(text, "servers.toml".as_ref())));
}

fn configuration(bytes: &[u8]) {
    text_of(bytes, |text| drop(symbolon::net::Config::parse(text, "role.toml".as_ref())));
}

fn schema(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = symbolon::schema::SchemaFile::parse(text);
    }
}

fn rooms() -> SchemaFile {
    SchemaFile::parse(ROOMS).unwrap()
}

/// Rows that are read, written plainly, are read again; and no two of them come from one line.
fn csv_rows(bytes: &[u8]) {
    let headings = Headings { time: Some("at".to_owned()), ..Headings::default() };
    let read = |bytes: Vec<u8>| CsvRows::read("fuzz.csv", Cursor::new(bytes), &rooms(), &headings);
    let Ok(rows) = read(bytes.to_vec()).and_then(Iterator::collect::<Result<Vec<_>, _>>) else { return };
    let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    assert!(rows.len() <= lines || bytes.starts_with(&[0x1f, 0x8b]), "{} rows", rows.len());
    let mut plain = "at,temperature,busy\n".to_owned();
    for row in &rows {
        let at = row.time_ms.unwrap() / 1000;
        plain += &format!("{at},{:?},{:?}\n", row.reals[0], row.reals[1]);
    }
    let again: Vec<_> = read(plain.into_bytes()).unwrap().map(|row| row.unwrap().reals).collect();
    assert!(rows.into_iter().map(|row| row.reals).eq(again));
}

/// An IDX file has as many records as it says, and nothing else.
fn idx_rows(bytes: &[u8]) {
    let Ok(rows) = ArrayRows::read_idx("fuzz.idx", Cursor::new(bytes.to_vec()), &rooms()) else { return };
    let Ok(rows) = rows.collect::<Result<Vec<_>, _>>() else { return };
    let width = match bytes[2] {
        8 | 9 => 1,
        11 => 2,
        12 | 13 => 4,
        _ => 8,
    };
    assert_eq!(bytes.len(), 4 + 4 * usize::from(bytes[3]) + 2 * width * rows.len());
    assert_eq!(&bytes[4..8], u32::try_from(rows.len()).unwrap().to_be_bytes());
}

/// An NPY file has as many records as it says, and nothing else.
fn npy_rows(bytes: &[u8]) {
    let Ok(rows) = ArrayRows::read_npy("fuzz.npy", Cursor::new(bytes.to_vec()), &rooms()) else { return };
    let Ok(rows) = rows.collect::<Result<Vec<_>, _>>() else { return };
    assert!(rows.iter().all(|row| row.reals.len() == 2));
    assert!(2 * rows.len() <= bytes.len() || bytes.starts_with(&[0x1f, 0x8b]), "{} rows", rows.len());
}

fn job(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = symbolon::job::Job::parse(text, "fuzz.toml".as_ref());
    }
}

fn encoded_job(bytes: &[u8]) {
    if let Ok(job) = symbolon::job::Job::decode(bytes) {
        assert_eq!(symbolon::job::Job::decode(&job.encode().unwrap()).unwrap(), job);
    }
}

// --- good input ------------------------------------------------------------------------------------------------------

/// Three records of two doubles, row by row or column by column.
fn npy(order: u8) -> Vec<u8> {
    let fortran = if order == b'T' { "True" } else { "False" };
    let header = format!("{{'descr': '<f8', 'fortran_order': {fortran}, 'shape': (3, 2), }}");
    let len = u16::try_from(header.len()).unwrap().to_le_bytes();
    let values = [20.5f64, 0.0, 21.0, 1.0, 22.0, 1.0].into_iter().flat_map(f64::to_le_bytes);
    b"\x93NUMPY\x01\x00".iter().copied().chain(len).chain(header.into_bytes()).chain(values).collect()
}

const SCHEMA: &str = include_str!("../../host/jobs/occupancy.schema.toml");
const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const KEY: &str = "secret = \"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"\nnot_before = 2026-01-01T00:00:00Z\n";
const DEVICES: &str = "[[device]]\nid = \"00000000000000a1\"\nname = \"kitchen\"\ntasks = [\"occupancy\"]\nreports_per_hour = 3600\n\
                       [[device.key]]\npublic = \"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"\nnot_after = 1900000000\n";
const SERVERS: &str = "[[server0]]\nid = 1\npublic = \"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"\n\
                       [[server1]]\nid = 2\npublic = \"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"\n";
const GATEWAY: &str = "role = \"gateway\"\n[peers]\nserver0 = \"a:1\"\nserver1 = \"b:2\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"\nca = \"a\"\n\
                       [gateway]\ntcp = \"0.0.0.0:7103\"\nserial = [{ path = \"/dev/ttyUSB0\", baud = 115200 }]\nmqtt = { url = \"mqtt://b:1883\" }\n";
const SERVER: &str = "role = \"server0\"\nlisten = \"0.0.0.0:7100\"\n[peers]\nserver1 = \"b:2\"\ndealer = \"c:3\"\n[tls]\ncertificate = \"c\"\n\
                      key = \"k\"\nca = \"a\"\n[timeouts]\nidle_ms = 5\n[policy]\njobs = \"any\"\nsmallest_batch = 1\n[intake]\nkeys = \"keys\"\n";
const ROOMS: &str = "task = \"rooms\"\n\
    [[field]]\nname = \"temperature\"\nwidth = 16\noffset = -40\nstep = 0.01\nunit = \"C\"\n\
    [[field]]\nname = \"busy\"\nlabel = { bits = 1, classes = 2 }\n";
const TABLE: &str =
    "at,temperature,\"busy\",note\r\n\n1795183200,20.5,1,\"a \"\"b\"\"\"\n2026-11-20 14:00,-3e0,0,x\r1,2,1,\n";
const IDX: &[u8] = &[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 2, 20, 1, 19, 0];
const JOBS: [&str; 3] = [
    include_str!("../../host/jobs/digits.toml"),
    include_str!("../../host/jobs/mnist-adam-32.toml"),
    include_str!("../../host/jobs/boston.toml"),
];

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A table in UTF-8 and in UTF-16.
fn tables() -> Vec<Vec<u8>> {
    let utf16 = format!("\u{feff}{TABLE}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![TABLE.into(), utf16]
}

fn encoded(text: &str) -> Option<Vec<u8>> {
    symbolon::job::Job::parse(text, "job.toml".as_ref()).ok()?.encode().ok()
}

fn id() -> ReportId {
    ReportId { device: DeviceId(7), boot: 3, sequence: 12 }
}

fn batch() -> Batch {
    Batch { parts: parts() }
}

fn manifest() -> Manifest {
    // A span's session and label cannot be made from outside: bytes of a manifest with two spans, without labels.
    let span = |first: u8, count: u8| [&[5, 1, first, count][..], &[6; 16], &[0]].concat();
    let bytes = [&[7u8; 32][..], &[0, 2], &span(1, 4), &span(9, 3)].concat();
    postcard::from_bytes(&bytes).unwrap()
}

fn headers() -> Vec<Vec<u8>> {
    let header = |about| Header { id: id(), time_ms: 99, dropped: 1, about }.to_bytes().as_ref().to_vec();
    vec![header(None), header(Some(id()))]
}

fn start_header() -> StartHeader {
    StartHeader { device: DeviceId(7), boot: 3, schema: [8; 32], keys: [1, 2], session: [3; 16] }
}

fn identity() -> Identity {
    let server = ServerKey { id: 1, key: PublicKey([5; 32]) };
    Identity {
        device: DeviceId(7),
        secret: SecretKey::from_bytes(&[6; 32]),
        schema: [8; 32],
        layout: Layout { words: 1, halves: 2, bytes: 3, labels: [3, 1, 0, 0], bits: 9 },
        servers: [server; 2],
    }
}

fn frames(encode: fn(&Frame<'_>, &mut [u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let (start, headers) = (start_header().to_bytes(), headers());
    let ack = Ack { server: 1, device: 7, boot: 3, from: 1, held: 5, tag: [1; 16] };
    let refuse = Refuse { server: 0, device: 7, boot: 3, sequence: 4, reason: 9, tag: [0; 16] };
    let (nonce, tag) = ([2; 12], [1; 16]);
    let mut bytes = [0; 64];
    let predicted = Predicted { server: 1, device: 7, boot: 3, sequence: 9, nonce, tag, sealed: &[3; 10] };
    let predicted = predicted.write(&mut bytes).unwrap().to_vec();
    let frames = [
        Frame::Start { header: &start, enc: [[9; 32]; 2], tags: [[1; 16]; 2] },
        Frame::Report { header: &headers[0], tags: [[1; 16]; 2], sealed: &[7; 64] },
        Frame::Report { header: &headers[1], tags: [[1; 16]; 2], sealed: &[7; 3] },
        Frame::Ack(ack),
        Frame::Refuse(refuse),
        Frame::Predicted(&predicted),
    ];
    frames.iter().map(|frame| encode(frame, &mut [0; 600])).collect()
}

fn stream_bytes(frame: &Frame<'_>, out: &mut [u8]) -> Vec<u8> {
    frame.encode_stream(&mut [0; 600], out).unwrap().to_vec()
}

fn parts() -> Vec<Vec<u8>> {
    let (start, headers) = (start_header().to_bytes(), headers());
    let parts = [
        Part::Start { server: 0, header: &start, enc: [9; 32], tag: [1; 16] },
        Part::Report { server: 1, header: &headers[0], tag: [1; 16], sealed: &[7; 64] },
        Part::Report { server: 0, header: &headers[1], tag: [1; 16], sealed: &[] },
    ];
    parts.iter().map(|part| postcard::to_stdvec(part).unwrap()).collect()
}
