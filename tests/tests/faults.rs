//! Nothing acknowledged is lost, nothing is counted twice: devices on a bad line that are reset at random, gateway and servers that are killed at random, disks that
//! are full for a while.
//!
//! What happens is drawn from a seed (`SYMBOLON_FAULTS_SEED`, else 1); how many faults at least, `SYMBOLON_FAULTS` says. A longer run:
//! `SYMBOLON_FAULTS=5000 cargo test --release -p symbolon-tests --test faults -- --nocapture`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::BTreeMap,
    env,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use symbolon::{
    device::{Device, Options},
    net::{Role, Timeouts},
    session::reports,
};
use symbolon_core::report::{
    header::{DeviceId, ReportId},
    identity::Identity,
    outbox::Pace,
};
use symbolon_tests::{
    fleet::Fleet,
    noise::{Dice, Noise, Rates},
};

const SCHEMA: &str = "task = \"faults\"\n[[field]]\nname = \"x\"\ncount = 31\nwidth = 16\noffset = 0\nstep = 1\nunit = \"1\"\n\
                      [[field]]\nname = \"y\"\nlabel = { bits = 3, classes = 5 }\n";
const DEVICES: [&str; 3] = ["a", "b", "c"];
/// A process that is killed comes back so soon that many faults fit into a test.
const TIMES: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    handshake: Duration::from_secs(10),
    idle: Duration::from_secs(10),
    close: Duration::from_millis(300),
};
const OPTIONS: Options = Options { pace: Pace { first_ms: 150, longest_ms: 1500 }, patience: Duration::from_secs(120) };
/// Longest pause between two kills.
const CALM_MS: u32 = 500;

/// What devices know.
#[derive(Default)]
struct Known {
    /// Every record that a device took, with its time.
    submitted: Mutex<BTreeMap<ReportId, (u64, Vec<u8>)>>,
    /// Those that both servers acknowledged.
    acknowledged: Mutex<BTreeMap<ReportId, ()>>,
    /// Times that a device was reset.
    resets: AtomicU64,
    over: AtomicBool,
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_counted_twice() {
    let number = |name: &str, default| env::var(name).ok().map_or(default, |text| text.parse().unwrap());
    let (wanted, seed) = (number("SYMBOLON_FAULTS", 400), number("SYMBOLON_FAULTS_SEED", 1));
    let mut fleet = Fleet::start(&DEVICES, SCHEMA, TIMES, "smallest_records = 1");
    let gateway: u16 = fleet.gateway().rsplit(':').next().unwrap().parse().unwrap();
    let noise = Noise::start(seed, Rates::TENTH, gateway);
    let line = format!("127.0.0.1:{}", noise.port);
    let known = Known::default();
    let started = Instant::now();
    let (mut kills, mut full) = (BTreeMap::<Role, u64>::new(), 0);
    let identities = std::mem::take(&mut fleet.identities);
    thread::scope(|scope| {
        for (i, identity) in (0..).zip(&identities) {
            let (known, line) = (&known, &line);
            scope.spawn(move || live(identity, line, known, Dice::new(seed.wrapping_mul(31) + i)));
        }
        let mut dice = Dice::new(!seed);
        // A quarter of the faults are kills, resets and full disks; the line's come by themselves.
        loop {
            let hard = kills.values().sum::<u64>() + full + known.resets.load(Ordering::Relaxed);
            if hard >= wanted / 4 && hard + noise.faults() >= wanted {
                break;
            }
            thread::sleep(Duration::from_millis(u64::from(dice.below(CALM_MS))));
            let role = [Role::Gateway, Role::Server0, Role::Server1][dice.below(3) as usize];
            if dice.hit(200) {
                full_disk(&mut fleet, role, &mut dice);
                full += 1;
            } else {
                fleet.kill(role);
                thread::sleep(Duration::from_millis(u64::from(dice.below(CALM_MS))));
                fleet.restart(role);
                *kills.entry(role).or_default() += 1;
            }
        }
        noise.quiet();
        known.over.store(true, Ordering::Release);
    });
    let resets = known.resets.load(Ordering::Relaxed);
    println!(
        "{} faults on the line, {resets} resets of devices, {} kills {kills:?}, {full} full disks, in {:.0} s",
        noise.faults(),
        kills.values().sum::<u64>(),
        started.elapsed().as_secs_f64()
    );
    fleet.assert_well();
    check(&mut fleet, known);
}

/// A device's life: it takes records, forgets everything now and then, and in the end waits for its last acknowledgements.
fn live(identity: &Identity, line: &str, known: &Known, mut dice: Dice) {
    for boot in 1.. {
        let mut device = Device::new(identity, boot, line, OPTIONS).unwrap();
        let records = 1 + dice.below(150);
        for _ in 0..records {
            let time_ms = u64::from(dice.below(u32::MAX));
            let mut record: Vec<u8> = (0..62).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
            record.push(u8::try_from(dice.below(5)).unwrap());
            let whole = record.clone();
            let sequence = device.send(time_ms, None, &mut record).unwrap();
            let id = ReportId { device: identity.device, boot, sequence };
            assert!(known.submitted.lock().unwrap().insert(id, (time_ms, whole)).is_none(), "{id:?} twice");
            note(&mut device, identity.device, boot, known);
            if known.over.load(Ordering::Acquire) {
                break;
            }
            thread::sleep(Duration::from_millis(u64::from(dice.below(12))));
        }
        if known.over.load(Ordering::Acquire) {
            let status = device.finish().unwrap();
            note(&mut device, identity.device, boot, known);
            assert_eq!((status.waiting, status.refused), (0, 0));
            return;
        }
        // The outbox goes with the device: what was not acknowledged may be lost.
        known.resets.fetch_add(1, Ordering::Relaxed);
    }
}

fn note(device: &mut Device, id: DeviceId, boot: u32, known: &Known) {
    let mut acknowledged = known.acknowledged.lock().unwrap();
    for sequence in device.take_stored() {
        let id = ReportId { device: id, boot, sequence };
        assert!(acknowledged.insert(id, ()).is_none(), "{id:?} was acknowledged twice");
    }
}

/// A process that can store nothing for a while: its files may not grow. It must live through it.
fn full_disk(fleet: &mut Fleet, role: Role, dice: &mut Dice) {
    let process = fleet.process(role).id().to_string();
    let limit = |limit: &str| {
        let set = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={limit}:")]).status();
        assert!(set.is_ok_and(|status| status.success()), "prlimit (Debian: util-linux) is needed");
    };
    limit("4096");
    thread::sleep(Duration::from_millis(200 + u64::from(dice.below(800))));
    limit("unlimited");
    fleet.assert_well();
}

/// Holds what devices know against what is on the servers' disks.
fn check(fleet: &mut Fleet, known: Known) {
    let (config, tls) = fleet.client();
    let told = [Role::Server0, Role::Server1].map(|role| reports::devices(&config, &tls, role).unwrap());
    let stores = fleet.stores();
    let (submitted, acknowledged) = (known.submitted.into_inner().unwrap(), known.acknowledged.into_inner().unwrap());
    for id in acknowledged.keys() {
        assert!(stores.both.contains_key(id), "{id:?} was acknowledged and is not in both stores");
    }
    for (id, record) in &stores.both {
        assert_eq!(submitted.get(id), Some(record), "{id:?} is stored otherwise than it was taken");
    }
    for id in stores.only.iter().flatten() {
        assert!(submitted.contains_key(id) && !acknowledged.contains_key(id), "{id:?}");
    }
    for (server, told) in told.iter().enumerate() {
        let counted: u64 = told.devices.iter().map(|device| device.stored).sum();
        assert_eq!(counted, (stores.both.len() + stores.only[server].len()) as u64, "counted once each");
    }
    println!(
        "{} records taken, {} acknowledged, {} in both stores, {} and {} in one alone",
        submitted.len(),
        acknowledged.len(),
        stores.both.len(),
        stores.only[0].len(),
        stores.only[1].len()
    );
    assert!(acknowledged.len() > submitted.len() / 10, "hardly anything came through");
}
