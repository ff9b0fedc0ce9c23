//! Restarts, full disks, power failures: what was acknowledged is there, once.

use crate::{
    disk::Disk,
    harness::{Heard, NOW, OCCUPANCY, World, stored},
    manifests::joined,
};
use symbolon::intake::Intake;
use symbolon_core::report::Reason;

#[test]
fn a_restarted_server_goes_on() {
    let world = World::new(1);
    for server in 0..2 {
        let mut device = world.device(1, 5, OCCUPANCY);
        let mut old = world.device(1, 4, OCCUPANCY);
        let (first, late) = (device.report(), old.report());
        {
            let intake = world.intake(server);
            assert_eq!(old.hear(&intake.batch(&[&old.start()[server]], NOW)), Heard::held([0]));
            let answers = intake.batch(&[&device.start()[server], &first.parts()[server]], NOW);
            assert_eq!(device.hear(&answers), Heard::held([0, 1]));
        }
        let intake = world.intake(server);
        let second = device.report();
        // The session is derived again from its start; what came before is a duplicate; the older boot's late report is welcome.
        let parts = [&second, &first, &late].map(|report| report.parts()[server].clone());
        let answers = intake.batch(&parts, NOW);
        assert_eq!(device.hear(&answers), Heard::held([0, 1, 2]));
        assert_eq!(old.hear(&answers), Heard::held([0, 1]));
        let report = &intake.devices().unwrap().devices[0];
        assert_eq!((report.stored, report.duplicates, report.newest_boot), (3, 1, Some(5)));
        // The same start is confirmed again, another of the boot is not.
        assert_eq!(device.hear(&intake.batch(&[&device.start()[server]], NOW)), Heard::held([0]));
        let other = world.device(1, 5, OCCUPANCY);
        assert_eq!(
            other.hear(&intake.batch(&[&other.start()[server]], NOW)),
            Heard::refused(0, Reason::ReplayedBoot, false)
        );
    }
}

#[test]
fn a_store_serves_one_server() {
    let world = World::new(1);
    drop(world.intake(0));
    let files = world.files(0);
    let error = Intake::open(&files, symbolon::net::Role::Server1).err().unwrap().to_string();
    assert!(error.contains("its server is 0, but here it is 1"), "{error}");
    let _open = world.intake(0);
    assert!(Intake::open(&files, symbolon::net::Role::Server0).is_err(), "one process at a time");
}

#[test]
fn a_full_disk_acknowledges_nothing_and_recovers() {
    // Wherever in a transaction the disk fills up.
    let mut failures = 0;
    for room in 0..40 {
        let world = World::new(1);
        let disk = Disk::default();
        let intake = Intake::with(&world.files(1), disk.store(1), 1).unwrap();
        let mut device = world.device(1, 1, OCCUPANCY);
        let first = device.report();
        assert_eq!(device.hear(&intake.batch(&[&device.start()[1], &first.parts()[1]], NOW)), Heard::held([0, 1]));

        disk.room(Some(room));
        let next = world.device(1, 2, OCCUPANCY);
        let second = device.report();
        let batch = [next.start()[1].clone(), second.parts()[1].clone()];
        let answers = intake.batch(&batch, NOW);
        let full = device.hear(&answers) == Heard::refused(2, Reason::Full, false);
        if full {
            failures += 1;
            assert_eq!(next.hear(&answers), Heard::refused(0, Reason::Full, false));
            let answers = intake.batch(&batch, NOW);
            assert_eq!(device.hear(&answers), Heard::refused(2, Reason::Full, false), "still full");
        } else {
            assert_eq!(device.hear(&answers), Heard::held([0, 2]), "room for {room} writes was enough");
        }

        disk.room(None);
        let answers = intake.batch(&batch, NOW);
        assert_eq!(device.hear(&answers), Heard::held([0, 2]), "room again, after {room} writes");
        assert_eq!(next.hear(&answers), Heard::held([0]));
        assert_eq!(stored(&intake, 1), 2);
        if !full {
            assert!(failures > 4, "{failures}");
            return;
        }
    }
    panic!("40 writes hold a batch");
}

#[test]
fn a_full_disk_takes_nothing_from_quotas() {
    let mut world = World::new(1);
    world.entries[0].more = "reports_per_hour = 2";
    world.register();
    let disk = Disk::default();
    let intake = Intake::with(&world.files(0), disk.store(0), 0).unwrap();
    let mut device = world.device(1, 1, OCCUPANCY);
    intake.batch(&[&device.start()[0]], NOW);
    let report = device.report().parts()[0].clone();
    disk.room(Some(3));
    for _ in 0..3 {
        assert_eq!(device.hear(&intake.batch(&[&report], NOW)), Heard::refused(1, Reason::Full, false));
    }
    disk.room(None);
    assert_eq!(device.hear(&intake.batch(&[&report], NOW)), Heard::held([0, 1]));
}

#[test]
fn a_power_failure_takes_nothing_that_was_acknowledged() {
    let world = World::new(1);
    let mut disks = [Disk::default(), Disk::default()];
    let mut device = world.device(1, 1, OCCUPANCY);
    let mut sent = vec![device.start()];
    let mut records = Vec::new();
    for round in 0..24u64 {
        let intakes = [0, 1].map(|i| {
            Intake::with(&world.files(i), disks[i].store(u8::try_from(i).unwrap()), u8::try_from(i).unwrap()).unwrap()
        });
        let report = device.report();
        records.push(report.record.clone());
        sent.push(report.parts());
        for (i, intake) in intakes.iter().enumerate() {
            // All of it again: what is there is a duplicate, what is not is taken now.
            let parts: Vec<_> = sent.iter().map(|parts| parts[i].clone()).collect();
            assert_eq!(device.hear(&intake.batch(&parts, NOW)).held.len(), sent.len());
            // A batch dies on its way to the disk, after so many writes; then the power fails.
            disks[i].room(Some(round));
            intake.batch(&[device.report().parts()[i].clone()], NOW);
            disks[i] = disks[i].crash(round);
        }
        let intakes = [0, 1].map(|i| {
            Intake::with(&world.files(i), disks[i].store(u8::try_from(i).unwrap()), u8::try_from(i).unwrap()).unwrap()
        });
        let all = joined(&intakes, device.schema.hash(), device.schema.layout());
        for (parts, record) in sent[1..].iter().zip(&records) {
            let Ok(symbolon_core::report::frame::Part::Report { header, .. }) = postcard::from_bytes(&parts[0]) else {
                panic!()
            };
            let id = symbolon_core::report::header::Header::parse(header).unwrap().id;
            assert_eq!(
                all.iter().filter(|(other, got)| *other == id && got == record).count(),
                1,
                "{id:?} after {round}"
            );
        }
    }
}
