//! Files of an operator: read again when they change, kept when they cannot be used, refused with file and line.

use crate::harness::{Heard, LABELS, NOW, OCCUPANCY, World, write_private};
use std::{fs, num::NonZeroU32, os::unix::fs::PermissionsExt};
use symbolon::{
    intake::{
        Intake,
        keys::KeyFile,
        registry,
        rules::Rules,
        validity::{UnixSeconds, Validity},
    },
    net::{IntakeFiles, Role},
    schema::{EncodeError, SchemaFile},
};
use symbolon_core::report::Reason;

#[test]
fn keys_rotate_with_overlap() {
    let mut world = World::new(1);
    let second = 1000;
    let at = |seconds: i64| Some(UnixSeconds(seconds));
    for server in 0..2 {
        world.add_key(server, 11, Validity { not_before: None, not_after: at(200) });
        world.add_key(server, 12, Validity { not_before: at(100), not_after: None });
    }
    for server in 0..2 {
        let intake = world.intake(server);
        let [mut old, mut new] =
            [(1, 11), (2, 12)].map(|(boot, key)| world.device_with(1, [1; 32], boot, OCCUPANCY, key));
        let start = |device: &crate::harness::Device| device.start()[server].clone();
        assert_eq!(old.hear(&intake.batch(&[start(&old)], 50 * second)), Heard::held([0]));
        assert_eq!(new.hear(&intake.batch(&[start(&new)], 50 * second)), Heard::refused(0, Reason::Key, false));
        let report = old.report().parts()[server].clone();
        let answers = intake.batch(&[start(&new), report], 150 * second);
        assert_eq!((old.hear(&answers), new.hear(&answers)), (Heard::held([0, 1]), Heard::held([0])));
        let [late, report] = [old.report(), new.report()].map(|report| report.parts()[server].clone());
        let answers = intake.batch(&[late, report], 250 * second);
        assert_eq!(old.hear(&answers), Heard::refused(2, Reason::Key, false));
        assert_eq!(new.hear(&answers), Heard::held([0, 1]));
    }
}

#[test]
fn a_devices_key_rotates_and_ends() {
    let mut world = World::new(1);
    world.entries[0].key_more = "not_after = 200\n[[device.key]]\npublic = \"PUBLIC\"\nnot_before = 100";
    let public = symbolon_core::report::identity::SecretKey::from_bytes(&[77; 32]).public().0;
    let public = public.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    world.register();
    let text = fs::read_to_string(world.files(0).devices).unwrap().replace("PUBLIC", &public);
    fs::write(world.files(0).devices, text).unwrap();
    let intake = world.intake(0);
    let mut old = world.device(1, 1, OCCUPANCY);
    let new = world.device_with(1, [77; 32], 2, OCCUPANCY, 1);
    assert_eq!(old.hear(&intake.batch(&[&old.start()[0]], 50_000)), Heard::held([0]));
    assert_eq!(new.hear(&intake.batch(&[&new.start()[0]], 50_000)), Heard::refused(0, Reason::Forged, false));
    assert_eq!(new.hear(&intake.batch(&[&new.start()[0]], 150_000)), Heard::held([0]));
    let late = old.report().parts()[0].clone();
    assert_eq!(old.hear(&intake.batch(&[late], 250_000)), Heard::refused(1, Reason::Revoked, false));
}

#[test]
fn files_are_followed_and_broken_ones_ignored() {
    let mut world = World::new(1);
    let intake = world.intake(0);
    let mut device = world.device(1, 1, OCCUPANCY);
    assert_eq!(device.hear(&intake.batch(&[&device.start()[0]], NOW)), Heard::held([0]));

    fs::write(world.files(0).devices, "[[device]]\nid = 7\n").unwrap();
    intake.reload();
    let report = device.report().parts()[0].clone();
    assert_eq!(device.hear(&intake.batch(&[&report], NOW)), Heard::held([0, 1]), "the old rules stay");

    world.entries[0].more = "revoked = true";
    world.register();
    intake.reload();
    let report = device.report().parts()[0].clone();
    assert_eq!(device.hear(&intake.batch(&[&report], NOW)), Heard::refused(2, Reason::Revoked, false));

    world.entries[0].more = "";
    world.register();
    fs::remove_file(world.files(0).schemas.join("0.toml")).unwrap();
    intake.reload();
    assert_eq!(device.hear(&intake.batch(&[&report], NOW)), Heard::refused(2, Reason::Schema, false));
}

#[test]
fn a_broken_schema_or_key_does_not_keep_a_revocation_away() {
    let mut world = World::new(2);
    let files = world.files(0);
    let intake = world.intake(0);
    let [mut revoked, mut other] = [1, 2].map(|id| world.device(id, 1, OCCUPANCY));
    intake.batch(&[&revoked.start()[0], &other.start()[0]], NOW);
    fs::write(files.schemas.join("9.toml"), "task = ").unwrap();
    write_private(&files.keys.join("9.key"), "secret = ");
    world.entries[0].more = "revoked = true";
    world.register();
    intake.reload();
    let reports = [&mut revoked, &mut other].map(|device| device.report().parts()[0].clone());
    let answers = intake.batch(&reports, NOW);
    assert_eq!(revoked.hear(&answers), Heard::refused(1, Reason::Revoked, false));
    assert_eq!(other.hear(&answers), Heard::held([0, 1]), "keys and schemas stay as they were");
}

#[test]
fn a_file_that_could_not_be_read_is_tried_again() {
    let mut world = World::new(1);
    let files = world.files(0);
    let intake = world.intake(0);
    let device = world.device(1, 1, OCCUPANCY);
    world.entries[0].more = "revoked = true";
    world.register();
    let good = fs::read(&files.devices).unwrap();
    let broken = vec![b'='; good.len()];
    fs::write(&files.devices, &broken).unwrap();
    let time = fs::metadata(&files.devices).unwrap().modified().unwrap();
    intake.reload();
    // Put right within a tick of the file system's clock, and as long as before.
    fs::write(&files.devices, &good).unwrap();
    fs::File::options().write(true).open(&files.devices).unwrap().set_modified(time).unwrap();
    intake.reload();
    let answers = intake.batch(&[&device.start()[0]], NOW);
    assert_eq!(device.hear(&answers), Heard::refused(0, Reason::Revoked, false));
}

#[test]
fn a_label_about_a_schema_that_is_away_is_undecided() {
    let mut world = World::new(2);
    world.entries[1].more = "labels = true";
    world.register();
    let intake = world.intake(0);
    let mut sensor = world.device(1, 1, OCCUPANCY);
    let mut owner = world.device(2, 1, LABELS);
    let reading = sensor.report();
    let label = owner.report_about(Some(reading.id)).parts()[0].clone();
    intake.batch(&[&sensor.start()[0], &owner.start()[0], &reading.parts()[0]], NOW);
    let schema = world.files(0).schemas.join("0.toml");
    let away = |is_away: bool| {
        if is_away {
            fs::remove_file(&schema).unwrap()
        } else {
            fs::write(&schema, OCCUPANCY).unwrap()
        }
        intake.reload();
    };
    away(true);
    assert!(!Reason::Schema.is_final());
    assert_eq!(owner.hear(&intake.batch(&[&label], NOW)), Heard::refused(1, Reason::Schema, true));
    away(false);
    assert_eq!(owner.hear(&intake.batch(&[&label], NOW)), Heard::held([0, 1]));
    away(true);
    assert_eq!(owner.hear(&intake.batch(&[&label], NOW)), Heard::held([0, 1]), "what is stored is acknowledged");
}

#[test]
fn errors_name_file_line_and_remedy() {
    let world = World::new(1);
    let files = world.files(0);
    let open = || Intake::open(&files, Role::Server0).err().map(|error| error.to_string()).unwrap_or_default();
    let device = |key: &str| format!("\n[[device]]\nid = \"00000000000000a1\"\nname = \"a\"\n{key}\n");
    let key = |public: &str| device(&format!("[[device.key]]\npublic = \"{public}\""));
    for (text, wanted) in [
        ("[[device]]\nid = \"x\"\nname = \"\"".to_owned(), ":2: id \"x\" is not 16 hexadecimal digits"),
        (key("00"), ":6: public is not 64 hexadecimal digits"),
        (format!("{}{}", device(""), device("")), ":8: device 00000000000000a1 is there twice"),
        (key(&"0".repeat(64)) + "not_after = 2026-01-01", "a time is written as"),
        (
            device(
                &key(&"0".repeat(64)).replace("\n[[device]]\nid = \"00000000000000a1\"\nname = \"a\"", "").repeat(5),
            ),
            "a device of 5 keys",
        ),
        ("[[device]]\nid = \"00000000000000a1\"\nnam = \"\"".to_owned(), "line 3"),
    ] {
        fs::write(&files.devices, &text).unwrap();
        let error = open();
        assert!(error.contains("devices.toml") && error.contains(wanted), "{text}: {error}");
    }
    fs::write(&files.devices, "").unwrap();
    let secret = "5".repeat(63);
    for (name, text, wanted) in [
        ("7.key", format!("secret = \"{secret}\""), "secret is not 64"),
        ("7.key", format!("secret = \"{secret}\"\nwhen = 1"), "unknown field"),
        ("seven.key", String::new(), "named by its number"),
        ("07.key", String::new(), "named by its number"),
    ] {
        let path = files.keys.join(name);
        write_private(&path, &text);
        let error = open();
        assert!(error.contains(name) && error.contains(wanted) && !error.contains(&secret), "{error}");
        // A file that others may read is not even looked into.
        if wanted != "named by its number" {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let error = open();
            assert!(error.contains(name) && error.contains("every user can read"), "{error}");
        }
        fs::remove_file(path).unwrap();
    }
    fs::write(files.schemas.join("bad.toml"), "task = \"t\"\n[[field]]\nname = \"f\"\nwidth = 12\n").unwrap();
    assert!(open().contains("bad.toml: field \"f\": width is 12"), "{}", open());
}

#[test]
fn key_files_are_read_as_written() {
    let validity = Validity { not_before: Some(UnixSeconds(5)), not_after: Some(UnixSeconds(9)) };
    let key = KeyFile::generate(validity).unwrap();
    let again = KeyFile::parse(&key.to_toml(), "1.key".as_ref()).unwrap();
    assert_eq!((again.public(), again.validity), (key.public(), validity));
    assert_ne!(KeyFile::generate(validity).unwrap().public(), key.public());
    let text = "[[device]]\nid = \"00000000000000a1\"\nname = \"a\"\nreports_per_hour = 0\n";
    assert!(registry::parse(text, "devices.toml".as_ref()).is_err(), "a quota of nothing is a revocation");
}

#[test]
fn devices_without_a_quota_get_the_configurations() {
    let mut world = World::new(2);
    world.entries[0].more = "reports_per_hour = 3";
    world.register();
    let files = world.files(0);
    assert_eq!(files.reports_per_hour.get(), 360_000);
    let rules = Rules::load(&IntakeFiles { reports_per_hour: NonZeroU32::new(5).unwrap(), ..files }).unwrap();
    let quotas: Vec<_> = rules.devices.values().map(|device| device.reports_per_hour.unwrap().get()).collect();
    assert_eq!(quotas, [3, 5]);
}

#[test]
fn reals_become_codes_and_come_back() {
    let text = "task = \"t\"\n[[field]]\nname = \"temperature\"\nwidth = 16\noffset = -40.0\nstep = 0.01\nunit = \"°C\"\n\
                [[field]]\nname = \"fall\"\nwidth = 8\noffset = 10.0\nstep = -0.5\n\
                [[field]]\nname = \"class\"\nlabel = { bits = 3, classes = 6 }\n";
    let schema = SchemaFile::parse(text).unwrap();
    let record = schema.record(&[21.37, 9.5, 5.0]).unwrap();
    let reals = schema.reals(&record).unwrap();
    assert!((reals[0] - 21.37).abs() < 0.005 && reals[1] == 9.5 && reals[2] == 5.0, "{reals:?}");
    let error = |reals: &[f64]| schema.record(reals).unwrap_err().to_string();
    assert!(error(&[700.0, 9.5, 5.0]).contains("\"temperature\": 700 is outside of -40 to 615.35"));
    assert!(error(&[0.0, 10.5, 5.0]).contains("\"fall\": 10.5 is outside of -117.5 to 10"));
    assert!(error(&[0.0, 9.5, 6.0]).contains("\"class\": 6 is outside of 0 to 5"));
    for bad in [f64::NAN, f64::INFINITY, 0.5] {
        assert!(matches!(schema.record(&[0.0, 9.5, bad]), Err(EncodeError::Range(_))));
    }
    assert_eq!(schema.record(&[0.0]), Err(EncodeError::Count { want: 3, got: 1 }));
    assert!(SchemaFile::parse(&text.replace("fall", "class")).unwrap_err().to_string().contains("there twice"));
    assert!(SchemaFile::parse(&text.replace("bits = 3", "bits = 2")).is_err());
}
