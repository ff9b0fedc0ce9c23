//! Figures of this machine: `cargo test --release -p symbolon --test intake -- --ignored --nocapture`.

use crate::{
    harness::{NOW, World},
    manifests::{freeze, read, reports},
};
use std::time::Instant;
use symbolon::{data::Shelf, intake::wire::Wanted};

const SCHEMA: &str = "task = \"occupancy\"\n[[field]]\nname = \"t\"\nwidth = 16\ncount = 32\n";
const DEVICES: u64 = 100;
const BATCH: usize = 500;

#[test]
#[ignore = "a million records"]
fn takes_in_and_reads_back() {
    let world = World::new(DEVICES);
    for server in 0..2 {
        std::fs::write(world.files(server).schemas.join("speed.toml"), SCHEMA).unwrap();
    }
    let records: usize = std::env::var("RECORDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let intakes = world.intakes();
    let mut fleet: Vec<_> = (1..=DEVICES).map(|id| world.device(id, 1, SCHEMA)).collect();
    for (server, intake) in intakes.iter().enumerate() {
        let starts: Vec<_> = fleet.iter().map(|device| device.start()[server].clone()).collect();
        let started = Instant::now();
        assert_eq!(intake.batch(&starts, NOW).len(), starts.len());
        println!("server {server}: {:.2} ms a start", started.elapsed().as_secs_f64() * 1000.0 / DEVICES as f64);
    }
    let mut seconds = [0.0; 2];
    for batch in 0..records / BATCH {
        let made: Vec<_> = (0..BATCH).map(|i| fleet[(batch * BATCH + i) % 100].report().parts()).collect();
        for (server, intake) in intakes.iter().enumerate() {
            let parts: Vec<_> = made.iter().map(|parts| &parts[server]).collect();
            let started = Instant::now();
            let answers = intake.batch(&parts, NOW);
            seconds[server] += started.elapsed().as_secs_f64();
            assert!(answers.len() >= 100, "one a device, or two where a window ends");
        }
    }
    for (server, seconds) in seconds.iter().enumerate() {
        println!("server {server}: {:.0} records/s in batches of {BATCH}", records as f64 / seconds);
    }
    let hash = fleet[0].schema.hash();
    let started = Instant::now();
    let manifest = freeze(&intakes, &Wanted { schema: hash, labels: None }).unwrap();
    println!("manifest of {}: {:.2} s", manifest.records(), started.elapsed().as_secs_f64());
    let started = Instant::now();
    let (mut n, mut sum) = (0, 0u64);
    let job = reports(&manifest, 64, None);
    let take = &mut |stored: symbolon::data::Stored<'_>| {
        (n, sum) = (n + 1, sum.wrapping_add(stored.record.iter().map(|byte| u64::from(*byte)).sum()));
        Ok(())
    };
    intakes[0].read(&job, take).unwrap();
    println!("read {n}: {:.2} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    let missing: u64 = intakes[0].devices().unwrap().devices.iter().map(|report| report.missing).sum();
    println!("devices: {:.2} s, {missing} missing", started.elapsed().as_secs_f64());
    drop(intakes);
    let bytes = std::fs::metadata(world.files(0).store).unwrap().len();
    let started = Instant::now();
    assert_eq!(read(&world.intake(1), &job).unwrap().len() as u64, manifest.records());
    println!(
        "opened and read: {:.2} s; {} bytes a record on disk",
        started.elapsed().as_secs_f64(),
        bytes / manifest.records()
    );
}
