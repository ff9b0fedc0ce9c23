//! Strangers, and devices that lie: refused for the stable reason, counted, with no effect on others.

use crate::harness::{GAIT, Heard, LABELS, NOW, OCCUPANCY, World, bytes, refused, stored};
use symbolon::intake::{Intake, validity::UnixSeconds, validity::Validity};
use symbolon_core::report::{
    Reason,
    frame::Part,
    header::{DeviceId, ReportId},
};

/// Sends `hostile` between parts of an honest device, whose reports are taken; returns all answers.
fn among_honest(world: &World, intake: &Intake, server: usize, hostile: Vec<u8>, boot: u32) -> Vec<Vec<u8>> {
    let mut honest = world.device(1, boot, OCCUPANCY);
    let before = stored(intake, 1);
    let reports = [honest.report(), honest.report()];
    let [a, b] = reports.each_ref().map(|report| report.parts()[server].clone());
    let answers = intake.batch(&[honest.start()[server].clone(), a, hostile, b], NOW);
    assert_eq!(honest.hear(&answers), Heard::held([0, 1, 2]), "the honest device is not disturbed");
    assert_eq!(stored(intake, 1), before + 2);
    answers
}

/// Expects that device 2's part is refused for `reason`, and counted.
#[track_caller]
fn expect(world: &World, intake: &Intake, server: usize, part: Vec<u8>, boot: u32, reason: Reason) {
    let before = refused(intake, 2, reason);
    let answers = among_honest(world, intake, server, part, boot);
    let codes: Vec<_> = answers
        .iter()
        .filter_map(|frame| match symbolon_core::report::frame::Frame::decode(frame).unwrap() {
            symbolon_core::report::frame::Frame::Refuse(no) if no.device == 2 => Reason::from_code(no.reason),
            _ => None,
        })
        .collect();
    assert_eq!(codes, [reason]);
    assert_eq!(refused(intake, 2, reason), before + 1, "counted for the device");
}

#[test]
fn each_reason_is_told_and_counted() {
    for server in 0..2 {
        let mut world = World::new(4);
        world.entries[2].more = "revoked = true";
        world.entries[3].more = "tasks = [\"gait\"]";
        world.register();
        let long_ago = Some(UnixSeconds(1));
        for i in 0..2 {
            world.add_key(i, 3, Validity { not_before: None, not_after: long_ago });
        }
        let intake = world.intake(server);
        let mut boots = 1..;
        let mut expect = |part: Vec<u8>, reason| expect(&world, &intake, server, part, boots.next().unwrap(), reason);

        // A start that is not this server's, of a key that is out of time or unknown, of an unknown schema, forged.
        let device = world.device(2, 10, OCCUPANCY);
        expect(device.start()[1 - server].clone(), Reason::OtherServer);
        expect(world.device_with(2, [2; 32], 10, OCCUPANCY, 3).start()[server].clone(), Reason::Key);
        expect(world.device_with(2, [2; 32], 10, OCCUPANCY, 77).start()[server].clone(), Reason::Key);
        let unknown = OCCUPANCY.replace("door", "window");
        expect(world.device(2, 10, &unknown).start()[server].clone(), Reason::Schema);
        expect(world.device_with(2, [66; 32], u32::MAX, OCCUPANCY, 1).start()[server].clone(), Reason::Forged);

        // A report before its start.
        let mut device = world.device(2, 10, OCCUPANCY);
        let first = device.report();
        expect(first.parts()[server].clone(), Reason::NoSession);
        let answers = intake.batch(&[&device.start()[server], &first.parts()[server]], NOW);
        assert_eq!(device.hear(&answers), Heard::held([0, 1]), "the forged start did not raise the newest boot");

        // Another start of the boot, and an older boot.
        expect(world.device(2, 10, OCCUPANCY).start()[server].clone(), Reason::ReplayedBoot);
        expect(world.device(2, 9, OCCUPANCY).start()[server].clone(), Reason::ReplayedBoot);

        // A report for the other server, changed ones, one that is too long.
        let second = device.report();
        let parts = second.parts();
        expect(parts[1 - server].clone(), Reason::OtherServer);
        let Part::Report { header, tag, sealed, .. } = postcard::from_bytes(&parts[server]).unwrap() else { panic!() };
        let part = |header: &[u8], tag, sealed: &[u8]| {
            bytes(&Part::Report { server: u8::try_from(server).unwrap(), header, tag, sealed })
        };
        let mut other = tag;
        other[0] ^= 1;
        expect(part(header, other, sealed), Reason::Forged);
        let mut later = header.to_vec();
        later[20] ^= 1;
        expect(part(&later, tag, sealed), Reason::Forged);
        expect(part(header, tag, &[sealed, &[0]].concat()), Reason::Length);
        expect(part(header, tag, &[7; 5000]), Reason::Length);
        // None of it was authentic, so that the device still has the report.
        assert_eq!(device.hear(&intake.batch(&[&parts[server]], NOW)), Heard::held([0, 2]));

        // Two records of one number: the device's own fault, and it is told so.
        let mut twin = world.device(2, 11, OCCUPANCY);
        let one = twin.report();
        assert_eq!(twin.hear(&intake.batch(&[&twin.start()[server], &one.parts()[server]], NOW)).held.len(), 2);

        // About a report of somebody else.
        let about = ReportId { device: DeviceId(1), boot: 1, sequence: 1 };
        let label = twin.report_about(Some(about));
        let before = refused(&intake, 2, Reason::About);
        assert_eq!(twin.hear(&intake.batch(&[&label.parts()[server]], NOW)), Heard::refused(2, Reason::About, true));
        assert_eq!(refused(&intake, 2, Reason::About), before + 1);

        // Revoked, and of another task.
        let revoked = world.device(3, 1, OCCUPANCY);
        let answers = intake.batch(&[&revoked.start()[server]], NOW);
        assert_eq!(revoked.hear(&answers), Heard::refused(0, Reason::Revoked, false));
        assert_eq!(refused(&intake, 3, Reason::Revoked), 1);
        let other_task = world.device(4, 1, OCCUPANCY);
        let answers = intake.batch(&[&other_task.start()[server]], NOW);
        assert_eq!(other_task.hear(&answers), Heard::refused(0, Reason::Schema, false));
        let own_task = world.device(4, 1, GAIT);
        assert_eq!(own_task.hear(&intake.batch(&[&own_task.start()[server]], NOW)), Heard::held([0]));
    }
}

#[test]
fn strangers_fill_no_table() {
    let world = World::new(1);
    let intake = world.intake(0);
    let devices = intake.devices().unwrap().devices.len();
    let starts: Vec<_> = (100..120).map(|id| world.device_with(id, [1; 32], 1, OCCUPANCY, 1)).collect();
    let parts: Vec<_> = starts.iter().map(|device| device.start()[0].clone()).collect();
    let answers = intake.batch(&parts, NOW);
    for device in &starts {
        assert_eq!(device.hear(&answers), Heard::refused(0, Reason::UnknownDevice, false));
    }
    let other_version = bytes(&Part::Report { server: 0, header: &[2; 29], tag: [0; 16], sealed: &[] });
    let no_number =
        bytes(&Part::Report { server: 0, header: &[&[1][..], &[0; 28]].concat(), tag: [0; 16], sealed: &[] });
    let mut trailing = parts[0].clone();
    trailing.push(0);
    let broken = [other_version, no_number, trailing, Vec::new(), vec![255; 100], parts[0][..40].to_vec()];
    assert!(intake.batch(&broken, NOW).is_empty(), "there is nobody to answer");
    let reports = intake.devices().unwrap();
    assert_eq!(reports.devices.len(), devices);
    let counts: Vec<_> = reports.strangers.iter().map(|count| (count.reason().unwrap(), count.parts)).collect();
    assert_eq!(counts, [(Reason::Malformed, 5), (Reason::Version, 1), (Reason::UnknownDevice, 20)]);
}

#[test]
fn a_number_serves_one_report() {
    let world = World::new(1);
    for server in 0..2 {
        let intake = world.intake(server);
        // One session, two records under its first number: a device whose memory was copied, or one that lies.
        let [mut device, mut twin] = [(); 2].map(|()| world.device_seeded(1, [1; 32], 1, OCCUPANCY, 1, 1));
        let [one, two] =
            [device.report_at(5, None), twin.report_at(6, None)].map(|report| report.parts()[server].clone());
        assert_eq!(device.start(), twin.start());
        let heard = device.hear(&intake.batch(&[&device.start()[server], &one, &two], NOW));
        assert_eq!(heard.held, [0, 1].into());
        assert_eq!(heard.refused, [(1, Reason::ReplayedSequence, true)]);
        assert_eq!(refused(&intake, 1, Reason::ReplayedSequence), 1);
        assert_eq!(device.hear(&intake.batch(&[&one], NOW)), Heard::held([0, 1]));
        let report = &intake.devices().unwrap().devices[0];
        assert_eq!((report.stored, report.duplicates), (1, 1));
    }
}

#[test]
fn any_words_are_values_in_range() {
    // The label has 3 bits, the first schema's 1: whatever a device seals, the joined codes have no more.
    let world = World::new(1);
    let intakes = world.intakes();
    for (boot, text) in [(1, LABELS), (2, OCCUPANCY)] {
        let mut device = world.device(1, boot, text);
        let mut record = vec![0xff; device.schema.layout().record_bytes()];
        let sealed = device.sender.seal(0, 0, None, &mut record).unwrap();
        let report = crate::harness::Report {
            id: ReportId { device: DeviceId(1), boot, sequence: 1 },
            record: Vec::new(),
            sealed,
            share: record,
        };
        for (server, intake) in intakes.iter().enumerate() {
            let answers = intake.batch(&[&device.start()[server], &report.parts()[server]], NOW);
            assert_eq!(device.hear(&answers), Heard::held([0, 1]));
        }
        let joined = crate::manifests::joined(&intakes, device.schema.hash(), device.schema.layout());
        let reals = device.schema.reals(&joined[0].1).unwrap();
        let label = *reals.last().unwrap();
        assert!(label <= if boot == 1 { 7.0 } else { 1.0 }, "{label}");
        let all: Vec<_> =
            device.schema.fields().iter().flat_map(|field| vec![field; usize::from(field.count)]).collect();
        for (real, field) in reals.iter().zip(all) {
            let bits = match &field.kind {
                symbolon::schema::OwnedKind::Reading { width, .. } => width.bits(),
                symbolon::schema::OwnedKind::Label { bits, .. } => u32::from(*bits),
            };
            assert!(*real < 2f64.powi(bits.cast_signed()), "{}: {real}", field.name);
        }
    }
}

#[test]
fn quotas_are_each_devices_own() {
    let mut world = World::new(2);
    world.entries[0].more = "reports_per_hour = 3"; // the start is one of them
    world.register();
    let intake = world.intake(1);
    let [mut limited, mut free] = [1, 2].map(|id| world.device(id, 1, OCCUPANCY));
    let reports: Vec<_> = (0..4).map(|_| limited.report()).collect();
    let mut parts = vec![limited.start()[1].clone(), free.start()[1].clone()];
    parts.extend(reports.iter().map(|report| report.parts()[1].clone()));
    parts.extend((0..4).map(|_| free.report().parts()[1].clone()));
    // A forged part takes nothing from the quota.
    let mut forged = parts[2].clone();
    *forged.last_mut().unwrap() ^= 1;
    parts.insert(2, forged);
    let answers = intake.batch(&parts, NOW);
    let heard = limited.hear(&answers);
    assert_eq!(heard.held, [0, 1, 2].into());
    let quota = |n| (n, Reason::Quota, true);
    assert_eq!(heard.refused, [(1, Reason::Forged, false), quota(3), quota(4)]);
    assert_eq!(free.hear(&answers), Heard::held(0..=4));
    // The same again costs nothing; half an hour later there is room for one more.
    let again = intake.batch(&[reports[0].parts()[1].clone()], NOW);
    assert_eq!(limited.hear(&again), Heard::held([0, 1]));
    let later = intake.batch(&[reports[2].parts()[1].clone(), reports[3].parts()[1].clone()], NOW + 1_800_000);
    assert_eq!(limited.hear(&later).held, [0, 3].into());
}

#[test]
fn starts_take_from_the_quota() {
    let mut world = World::new(1);
    world.entries[0].more = "reports_per_hour = 2";
    world.register();
    let intake = world.intake(0);
    let [mut first, second, third] = [1, 2, 3].map(|boot| world.device(1, boot, OCCUPANCY));
    let starts = [&first, &second].map(|device| device.start()[0].clone());
    let answers = intake.batch(&starts, NOW);
    assert_eq!([first.hear(&answers), second.hear(&answers)], [(); 2].map(|()| Heard::held([0])));
    // A start that is there already costs nothing.
    assert_eq!(second.hear(&intake.batch(&[&starts[1]], NOW)), Heard::held([0]));
    let report = first.report().parts()[0].clone();
    let answers = intake.batch(&[&third.start()[0], &report], NOW);
    assert_eq!(third.hear(&answers), Heard::refused(0, Reason::Quota, false));
    assert_eq!(first.hear(&answers), Heard::refused(1, Reason::Quota, true));
    assert_eq!(third.hear(&intake.batch(&[&third.start()[0]], NOW + 1_800_000)), Heard::held([0]));
}

#[test]
fn forged_parts_cost_a_batch_bounded_work() {
    let world = World::new(3);
    let intake = world.intake(1);
    let [mut known, fresh] = [1, 3].map(|id| world.device(id, 1, OCCUPANCY));
    intake.batch(&[&known.start()[1]], NOW);
    let forged = world.device_with(2, [66; 32], 1, OCCUPANCY, 1).start()[1].clone();
    let mut parts = vec![forged; 100];
    parts.extend([known.report().parts()[1].clone(), fresh.start()[1].clone()]);
    let answers = intake.batch(&parts, NOW);
    assert_eq!((refused(&intake, 2, Reason::Forged), refused(&intake, 2, Reason::Quota)), (64, 36));
    // Whose session is in memory is served; who starts is put off to the next batch.
    assert_eq!(known.hear(&answers), Heard::held([0, 1]));
    assert_eq!(fresh.hear(&answers), Heard::refused(0, Reason::Quota, false));
    assert_eq!(fresh.hear(&intake.batch(&[&fresh.start()[1]], NOW)), Heard::held([0]));
}

#[test]
fn strangers_write_nothing() {
    let world = World::new(1);
    let disk = crate::disk::Disk::default();
    let intake = Intake::with(&world.files(0), disk.store(0), 0).unwrap();
    let stranger = world.device(9, 1, OCCUPANCY);
    disk.room(Some(0));
    let answers = intake.batch(&[stranger.start()[0].clone(), vec![255; 9]], NOW);
    assert_eq!(stranger.hear(&answers), Heard::refused(0, Reason::UnknownDevice, false), "the disk is not asked");
    disk.room(None);
    let known = world.device(1, 1, OCCUPANCY);
    let counts = || -> Vec<_> { intake.devices().unwrap().strangers.iter().map(|count| count.parts).collect() };
    assert_eq!(counts(), [1, 1]);
    assert_eq!(known.hear(&intake.batch(&[&known.start()[0]], NOW)), Heard::held([0]));
    assert_eq!(counts(), [1, 1], "written with the next batch, once");
}
