//! What both servers hold, and how jobs read it.

use crate::{
    disk::Disk,
    harness::{LABELS, NOW, OCCUPANCY, World},
};
use symbolon::{
    data::{Shelf, ShelfError},
    intake::{Intake, IntakeError, manifest::Manifest, wire::Wanted},
    job::{Column, Held, Place, Records, Reports, Senders, Target},
};
use symbolon_core::report::{
    header::{DeviceId, ReportId},
    record,
    schema::{Layout, SchemaHash},
};

/// Makes a manifest, as over a connection.
pub fn freeze([server0, server1]: &[Intake; 2], wanted: &Wanted) -> Result<Manifest, IntakeError> {
    server1.freeze_with(wanted, |proposal| server0.keep(proposal))
}

/// What a job says of its records.
pub fn reports(manifest: &Manifest, bytes: usize, about: Option<usize>) -> Reports {
    let records = |schema, bytes: usize| Records { schema, bytes: u32::try_from(bytes).unwrap() };
    let column = Column { place: Place { bits: 8, at: 0 }, offset: 0.0, step: 1.0 };
    Reports {
        records: records(manifest.schema, bytes),
        about: about.map(|bytes| records(manifest.labels.unwrap_or_default(), bytes)),
        manifest: manifest.digest(),
        columns: vec![column],
        target: Target::Reading(column),
        train: Senders::All,
        test: Held::None,
    }
}

/// What a server reads of a record: device, share, share of the record about it.
type Read = (DeviceId, Vec<u8>, Vec<u8>);

/// All that a server reads of a manifest.
pub fn read(intake: &Intake, reports: &Reports) -> Result<Vec<Read>, ShelfError> {
    let mut all = Vec::new();
    intake.read(reports, &mut |stored| {
        all.push((stored.device, stored.record.to_vec(), stored.about.to_vec()));
        Ok(())
    })?;
    Ok(all)
}

/// All records of a schema that both servers hold, by name; none if there is none.
pub fn joined(intakes: &[Intake; 2], schema: SchemaHash, layout: &Layout) -> Vec<(ReportId, Vec<u8>)> {
    let manifest = match freeze(intakes, &Wanted { schema, labels: None }) {
        Err(IntakeError::NoRecords { .. }) => return Vec::new(),
        manifest => manifest.unwrap(),
    };
    let reports = reports(&manifest, layout.record_bytes(), None);
    let [ours, theirs] = intakes.each_ref().map(|intake| read(intake, &reports).unwrap());
    let names = manifest.spans.iter().flat_map(|span| {
        let name = |sequence| ReportId { device: DeviceId(span.device), boot: span.boot, sequence };
        (span.first..span.first + span.count).map(name)
    });
    assert_eq!(manifest.records(), ours.len() as u64);
    let mut joined = Vec::new();
    for (((_, mut ours, _), (_, theirs, _)), name) in ours.into_iter().zip(theirs).zip(names) {
        record::join(layout, &mut ours, &theirs);
        joined.push((name, ours));
    }
    joined
}

#[test]
fn a_manifest_has_what_both_hold() {
    let world = World::new(3);
    let intakes = world.intakes();
    let mut all = Vec::new();
    for id in [3, 1, 2] {
        let mut device = world.device(id, 1, OCCUPANCY);
        let reports: Vec<_> = (0..10).map(|_| device.report()).collect();
        for (server, intake) in intakes.iter().enumerate() {
            let mut parts = vec![device.start()[server].clone()];
            // Server 0 lacks numbers 3 and 4, server 1 number 8; device 2 reaches server 1 alone.
            let lost = |n: u32| if server == 0 { n == 3 || n == 4 || id == 2 } else { n == 8 };
            let sent = reports.iter().filter(|report| !lost(report.id.sequence));
            parts.extend(sent.map(|report| report.parts()[server].clone()));
            intake.batch(&parts, NOW);
        }
        all.extend(reports.into_iter().filter(|report| id != 2 && ![3, 4, 8].contains(&report.id.sequence)));
    }
    all.sort_by_key(|report| report.id);
    let device = world.device(1, 1, OCCUPANCY);
    let (hash, layout) = (device.schema.hash(), device.schema.layout());
    let got = joined(&intakes, hash, layout);
    assert_eq!(got, all.iter().map(|report| (report.id, report.record.clone())).collect::<Vec<_>>());

    let wanted = Wanted { schema: hash, labels: None };
    let manifest = freeze(&intakes, &wanted).unwrap();
    let spans: Vec<_> = manifest.spans.iter().map(|span| (span.device, span.first, span.count)).collect();
    assert_eq!(spans, [(1, 1, 2), (1, 5, 3), (1, 9, 2), (3, 1, 2), (3, 5, 3), (3, 9, 2)]);
    assert!(manifest.senders().eq([1; 7].into_iter().chain([3; 7]).map(DeviceId)));

    // It stays what it is, when more arrives and after a restart.
    drop(intakes);
    let intakes = world.intakes();
    for intake in &intakes {
        assert_eq!(intake.manifest(&manifest.digest()).unwrap(), manifest);
    }
    assert_eq!(read(&intakes[0], &reports(&manifest, layout.record_bytes(), None)).unwrap().len(), 14);

    // Gaps are told.
    let reports = intakes[0].devices().unwrap();
    let gaps: Vec<_> = reports.devices[0].gaps.iter().map(|gap| (gap.boot, gap.first, gap.count)).collect();
    assert_eq!((gaps, reports.devices[0].missing), (vec![(1, 3, 2)], 2));
}

#[test]
fn labels_of_a_data_owner_come_with_their_reports() {
    let mut world = World::new(2);
    world.entries[1].more = "labels = true";
    world.register();
    let intakes = world.intakes();
    let mut sensor = world.device(1, 7, OCCUPANCY);
    let mut owner = world.device(2, 1, LABELS);
    let reports_: Vec<_> = (0..6).map(|_| sensor.report()).collect();
    // Number 4 has no label, number 2 has a second one, number 9 is not there.
    let mut labels = Vec::new();
    for n in [1, 2, 3, 5, 6, 2, 9] {
        labels.push(owner.report_about(Some(ReportId { sequence: n, ..reports_[0].id })));
    }
    for (server, intake) in intakes.iter().enumerate() {
        let mut parts = vec![sensor.start()[server].clone(), owner.start()[server].clone()];
        parts.extend(reports_.iter().chain(&labels).map(|report| report.parts()[server].clone()));
        let answers = intake.batch(&parts, NOW);
        assert_eq!(sensor.hear(&answers).held.len(), 7);
        assert_eq!(owner.hear(&answers).held.len(), 8);
    }
    let wanted = Wanted { schema: sensor.schema.hash(), labels: Some(owner.schema.hash()) };
    let manifest = freeze(&intakes, &wanted).unwrap();
    let spans: Vec<_> = manifest.spans.iter().map(|s| (s.first, s.count, s.label().unwrap().sequence)).collect();
    assert_eq!(spans, [(1, 1, 1), (2, 1, 6), (3, 1, 3), (5, 2, 4)]);
    let job = reports(&manifest, reports_[0].record.len(), Some(1));
    let [mut ours, theirs] = intakes.each_ref().map(|intake| read(intake, &job).unwrap());
    for ((_, record, label), (_, other, other_label)) in ours.iter_mut().zip(&theirs) {
        record::join(sensor.schema.layout(), record, other);
        record::join(owner.schema.layout(), label, other_label);
        assert_eq!((&*record, &*label), (&reports_[0].record, &labels[0].record));
    }

    // Another schema than the manifest's, and a manifest that nobody made.
    let mut other = job.clone();
    other.records.schema = [1; 32];
    assert!(matches!(read(&intakes[0], &other), Err(ShelfError::Schema { .. })));
    let mut other = job.clone();
    other.manifest = [1; 32];
    assert!(matches!(read(&intakes[0], &other), Err(ShelfError::Manifest { .. })));
    let unlabelled = freeze(&intakes, &Wanted { labels: None, ..wanted }).unwrap();
    let other = Reports { manifest: unlabelled.digest(), ..job };
    assert!(matches!(read(&intakes[0], &other), Err(ShelfError::Schema { .. })));
}

#[test]
fn a_proposal_that_is_none_is_refused() {
    let world = World::new(1);
    let intakes = world.intakes();
    let mut device = world.device(1, 1, OCCUPANCY);
    let report = device.report();
    for (server, intake) in intakes.iter().enumerate() {
        intake.batch(&[&device.start()[server], &report.parts()[server]], NOW);
    }
    let wanted = Wanted { schema: device.schema.hash(), labels: None };
    let good = freeze(&intakes, &wanted).unwrap();
    let broken = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        manifest
    };
    let twice = broken(&|manifest| manifest.spans.push(manifest.spans[0]));
    let empty = broken(&|manifest| manifest.spans[0].count = 0);
    let past = broken(&|manifest| (manifest.spans[0].first, manifest.spans[0].count) = (u32::MAX, 2));
    let labels = broken(&|manifest| manifest.labels = Some([0; 32]));
    for manifest in [twice, empty, past, labels] {
        assert!(matches!(intakes[0].keep(&manifest), Err(IntakeError::Manifest)), "{manifest:?}");
        assert!(matches!(intakes[1].freeze_with(&wanted, |_| Ok(manifest)), Err(IntakeError::Manifest)));
    }
    // Server 0 may not add what server 1 does not hold.
    let more = broken(&|manifest| manifest.spans[0].count = 2);
    assert!(matches!(intakes[1].freeze_with(&wanted, |_| Ok(more)), Err(IntakeError::Manifest)));
    let unknown = Wanted { schema: [5; 32], labels: None };
    assert!(matches!(freeze(&intakes, &unknown), Err(IntakeError::NoRecords { .. })));
}

#[test]
fn two_sessions_of_one_boot_are_not_joined() {
    let mut world = World::new(3);
    world.entries[2].more = "labels = true";
    world.register();
    let intakes = world.intakes();
    // Devices 1 and 3 lost their counters of boots: each server has another of their sessions.
    let mut good = world.device(2, 1, OCCUPANCY);
    let good_reports: Vec<_> = (0..3).map(|_| good.report()).collect();
    let about = good_reports[0].id;
    for (server, intake) in intakes.iter().enumerate() {
        let (mut twice, mut owner) = (world.device(1, 1, OCCUPANCY), world.device(3, 1, LABELS));
        let mut parts = [&good, &twice, &owner].map(|device| device.start()[server].clone()).to_vec();
        let others = [twice.report(), twice.report(), owner.report_about(Some(about))];
        parts.extend(good_reports.iter().chain(&others).map(|report| report.parts()[server].clone()));
        let answers = intake.batch(&parts, NOW);
        assert_eq!([&good, &twice, &owner].map(|device| device.hear(&answers).held.len()), [4, 3, 2]);
    }
    let (hash, layout) = (good.schema.hash(), good.schema.layout());
    let wanted = good_reports.iter().map(|report| (report.id, report.record.clone())).collect::<Vec<_>>();
    assert_eq!(joined(&intakes, hash, layout), wanted);
    let labelled = Wanted { schema: hash, labels: Some(world.device(3, 2, LABELS).schema.hash()) };
    assert!(matches!(freeze(&intakes, &labelled), Err(IntakeError::NoRecords { .. })), "nor records with labels");
}

#[test]
fn an_owners_label_goes_before_a_devices_own() {
    let mut world = World::new(2);
    world.entries[0].more = "labels = true";
    world.register();
    let intakes = world.intakes();
    let mut owner = world.device(1, 1, LABELS);
    let (mut sensor, mut again) = (world.device(2, 1, OCCUPANCY), world.device(2, 2, LABELS));
    let readings = [sensor.report(), sensor.report()];
    let labels = [again.report_about(Some(readings[0].id)), again.report_about(Some(readings[1].id))];
    let owners = owner.report_about(Some(readings[0].id));
    for (server, intake) in intakes.iter().enumerate() {
        let mut parts = [&owner, &sensor, &again].map(|device| device.start()[server].clone()).to_vec();
        let reports = readings.iter().chain(&labels).chain([&owners]);
        parts.extend(reports.map(|report| report.parts()[server].clone()));
        intake.batch(&parts, NOW);
    }
    let wanted = Wanted { schema: sensor.schema.hash(), labels: Some(owner.schema.hash()) };
    let manifest = freeze(&intakes, &wanted).unwrap();
    let labels_: Vec<_> = manifest.spans.iter().map(|span| span.label().unwrap()).collect();
    assert_eq!(labels_, [owners.id, labels[1].id]);
}

#[test]
fn one_walk_at_a_time_and_the_last_manifests_are_kept() {
    let world = World::new(1);
    let disks = [Disk::default(), Disk::default()];
    let intakes = [0, 1].map(|i: u8| Intake::with(&world.files(i.into()), disks[usize::from(i)].store(i), i).unwrap());
    let mut device = world.device(1, 1, OCCUPANCY);
    let wanted = Wanted { schema: device.schema.hash(), labels: None };
    for (server, intake) in intakes.iter().enumerate() {
        intake.batch(&[&device.start()[server]], NOW);
    }
    let mut digests = Vec::new();
    for _ in 0..symbolon::intake::store::MOST_MANIFESTS + 2 {
        let report = device.report();
        for (server, intake) in intakes.iter().enumerate() {
            intake.batch(&[&report.parts()[server]], NOW);
        }
        digests.push(freeze(&intakes, &wanted).unwrap().digest());
        // Made again, it counts once.
        freeze(&intakes, &wanted).unwrap();
    }
    for intake in &intakes {
        for gone in &digests[..2] {
            assert!(matches!(intake.manifest(gone), Err(IntakeError::NoManifest { .. })));
        }
        assert!(digests[2..].iter().all(|digest| intake.manifest(digest).is_ok()));
    }
    let made = intakes[1].freeze_with(&wanted, |proposal| {
        assert!(matches!(intakes[1].devices(), Err(IntakeError::Busy)));
        let nested = intakes[1].freeze_with(&wanted, |proposal| Ok(proposal.clone()));
        assert!(matches!(nested, Err(IntakeError::Busy)));
        intakes[0].keep(proposal)
    });
    assert_eq!(made.unwrap().records(), digests.len() as u64);
}
