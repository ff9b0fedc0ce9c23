//! What people do, from the raw samples of a phone on their waist: devices, one a person, compute integer features of windows and share these.

use super::{alone, assert_stored, clear_accuracy, job_file, send_all, train};
use flate2::read::GzDecoder;
use std::{
    fs::{self, File},
    io::Read,
    path::Path,
    time::Instant,
};
use symbolon::data::dataset_dir;
use symbolon_core::report::{record::put, window::Window};
use symbolon_tests::{
    fleet::Fleet,
    roles::{ANYTHING, CALM},
};

const PERSONS: usize = 30;
/// Of a window; three axes of acceleration and three of rotation each.
const ROWS: usize = 128;
const LABEL_AT_BIT: usize = 8 * 60;

/// Samples of all recordings, one after the other.
fn samples(dir: &Path) -> Vec<[i16; 6]> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(dir.join("hapt_raw_i16le.bin.gz")).unwrap()).read_to_end(&mut bytes).unwrap();
    let row = |row: &[u8; 12]| std::array::from_fn(|i| i16::from_le_bytes([row[2 * i], row[2 * i + 1]]));
    bytes.as_chunks::<12>().0.iter().map(row).collect()
}

/// What a device does with a window: a record of its features, and what its owner says that they were doing.
fn record(window: &[[i16; 6]], label: u32, bytes: usize) -> Vec<u8> {
    let mut features = Window::<6, ROWS>::new();
    let features = window.iter().find_map(|row| features.push(row)).unwrap();
    let mut record = vec![0; bytes];
    for (i, code) in features.as_flattened().iter().enumerate() {
        put(&mut record, 16 * i, 16, u32::from(*code));
    }
    put(&mut record, LABEL_AT_BIT, 3, label);
    record
}

#[test]
fn phones_teach_a_network_about_strangers() {
    let _alone = alone();
    let Some(dir) = dataset_dir() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no data sets: set SYMBOLON_DATA to their folder");
        eprintln!("skipped: no data sets; set SYMBOLON_DATA to their folder, with sensors/ in it");
        return;
    };
    let (dir, job) = (dir.join("sensors/hapt"), job_file("hapt.toml"));
    let names: Vec<String> = (1..=PERSONS).map(|person| format!("person-{person}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let schema = fs::read_to_string(job_file("hapt.schema.toml")).unwrap();
    let mut fleet = Fleet::start(&names, &schema, CALM, ANYTHING);
    let identities = std::mem::take(&mut fleet.identities);
    let mut devices: Vec<_> = identities.iter().map(|identity| (identity, Vec::new())).collect();
    let (samples, bytes) = (samples(&dir), fleet.schema.layout().record_bytes());
    for line in fs::read_to_string(dir.join("windows.csv")).unwrap().lines().skip(1) {
        let mut cells = line.split(',').map(|cell| cell.parse::<usize>());
        let [start, label, person] = [(); 3].map(|()| cells.next().unwrap().unwrap());
        let window = &samples[start..start + ROWS];
        devices[person - 1].1.push(record(window, label.try_into().unwrap(), bytes));
    }

    let started = Instant::now();
    send_all(&devices, &fleet.gateway());
    let (sent, started) = (started.elapsed(), Instant::now());
    let secure = train(&fleet, &job);
    let trained = started.elapsed();
    let stores = fleet.stores();
    assert_stored(&stores, &devices);
    let named = |name: &str| names.iter().position(|known| *known == name).map(|i| identities[i].device);
    let clear = clear_accuracy(&fleet, &job, &stores, &named);
    println!(
        "{} records in {sent:?}; accuracy on shares {secure:.4} ({trained:?}), in the clear {clear:.4}",
        stores.both.len()
    );
    assert!(secure >= 0.85, "{secure}");
    fleet.assert_well();
}
