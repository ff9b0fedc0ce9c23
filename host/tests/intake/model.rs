//! Any order, loss and repetition of parts, restarts, full disks: a report that was acknowledged is stored, exactly once; a report that is stored was acknowledged, or was answered that
//! there is no room, by a commit that failed after its first phase. The device sends it again, and it is acknowledged then.

use crate::{
    disk::Disk,
    harness::{Device, NOW, OCCUPANCY, Report, World, refused},
    manifests::joined,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use symbolon::intake::Intake;
use symbolon_core::report::{Reason, header::ReportId};

#[derive(Clone, Debug)]
enum Step {
    /// Parts of a batch for a server: boot, and number, 0 for the start.
    Batch { server: usize, parts: Vec<(usize, usize)> },
    /// The disk of a server has room for so many writes, or is mended.
    Disk { server: usize, room: Option<u64> },
    /// The server is killed and starts again.
    Restart { server: usize },
}

const BOOTS: usize = 4;
const REPORTS: usize = 6;

fn step() -> impl Strategy<Value = Step> {
    let part = (0..BOOTS, 0..=REPORTS);
    prop_oneof![
        8 => (0..2usize, prop::collection::vec(part, 0..12)).prop_map(|(server, parts)| Step::Batch { server, parts }),
        1 => (0..2usize, prop::option::of(0..12u64)).prop_map(|(server, room)| Step::Disk { server, room }),
        1 => (0..2usize).prop_map(|server| Step::Restart { server }),
    ]
}

struct Server {
    disk: Disk,
    intake: Option<Intake>,
    /// Starts and reports that it acknowledged.
    held: BTreeSet<ReportId>,
    /// Those that it could not store, as it said.
    full: BTreeSet<ReportId>,
}

impl Server {
    /// Reports that may be stored.
    fn possible(&self) -> BTreeSet<ReportId> {
        self.held.union(&self.full).filter(|id| id.sequence > 0).copied().collect()
    }
}

impl Server {
    fn start(&mut self, world: &World, server: usize) {
        self.intake = None;
        self.disk.room(None);
        let index = u8::try_from(server).unwrap();
        self.intake = Some(Intake::with(&world.files(server), self.disk.store(index), index).unwrap());
    }
}

/// Boots 1 and 2 of two devices, and their reports.
fn fleet(world: &World) -> Vec<(Device, Vec<Report>)> {
    let boots = (0..BOOTS).map(|i| (1 + i as u64 % 2, 1 + u32::try_from(i).unwrap() / 2));
    let device = |(id, boot)| {
        let mut device = world.device(id, boot, OCCUPANCY);
        let reports = (0..REPORTS).map(|_| device.report()).collect();
        (device, reports)
    };
    boots.map(device).collect()
}

fn run(steps: &[Step]) {
    let world = World::new(2);
    let fleet = fleet(&world);
    let mut servers = [0, 1].map(|i| {
        let mut server = Server { disk: Disk::default(), intake: None, held: BTreeSet::new(), full: BTreeSet::new() };
        server.start(&world, i);
        server
    });
    for step in steps {
        match step {
            Step::Disk { server, room } => servers[*server].disk.room(*room),
            Step::Restart { server } => {
                let crashed = servers[*server].disk.crash(1);
                servers[*server].intake = None;
                servers[*server].disk = crashed;
                servers[*server].start(&world, *server);
            }
            Step::Batch { server, parts } => batch(&fleet, &mut servers[*server], *server, parts),
        }
    }
    for (i, server) in servers.iter_mut().enumerate() {
        server.disk.room(None);
        let intake = server.intake.as_ref().unwrap();
        let stored: u64 = intake.devices().unwrap().devices.iter().map(|report| report.stored).sum();
        let held = server.held.iter().filter(|id| id.sequence > 0).count();
        let possible = server.possible().len() as u64;
        assert!((held as u64..=possible).contains(&stored), "server {i} stored {stored} and acknowledged {held}");
    }
    let intakes = servers.each_ref().map(|server| server.held.clone());
    let both: BTreeSet<_> = intakes[0].intersection(&intakes[1]).filter(|id| id.sequence > 0).copied().collect();
    let possible: BTreeSet<_> = servers[0].possible().intersection(&servers[1].possible()).copied().collect();
    let [a, b] = servers.map(|server| server.intake.unwrap());
    for intake in [&a, &b] {
        assert_eq!(refused(intake, 1, Reason::Forged) + refused(intake, 2, Reason::Forged), 0);
    }
    let schema = &fleet[0].0.schema;
    let joined = joined(&[a, b], schema.hash(), schema.layout());
    let found: BTreeSet<_> = joined.iter().map(|(id, _)| *id).collect();
    assert_eq!(found.len(), joined.len(), "once");
    assert!(found.is_superset(&both) && found.is_subset(&possible), "both hold what both acknowledged");
    for (id, record) in joined {
        let (_, reports) = fleet.iter().find(|(device, _)| (device.id, device.boot) == (id.device.0, id.boot)).unwrap();
        assert_eq!(record, reports[id.sequence as usize - 1].record);
    }
}

fn batch(fleet: &[(Device, Vec<Report>)], state: &mut Server, server: usize, parts: &[(usize, usize)]) {
    let part = |&(boot, n): &(usize, usize)| {
        let (device, reports) = &fleet[boot];
        let parts = if n == 0 { device.start() } else { reports[n - 1].parts() };
        parts[server].clone()
    };
    let encoded: Vec<_> = parts.iter().map(part).collect();
    let answers = state.intake.as_ref().unwrap().batch(&encoded, NOW);
    for (boot, (device, reports)) in fleet.iter().enumerate() {
        let heard = device.hear(&answers);
        let sent: Vec<_> = parts.iter().filter(|(b, _)| *b == boot).map(|(_, n)| u32::try_from(*n).unwrap()).collect();
        let id = |sequence| ReportId { sequence, ..reports[0].id };
        // Each part has its answer.
        for n in &sent {
            assert!(heard.held.contains(n) || heard.refused.iter().any(|(m, ..)| m == n));
        }
        for (m, reason, _) in &heard.refused {
            if *reason == Reason::Full {
                state.full.insert(id(*m));
            }
            assert!(matches!(reason, Reason::NoSession | Reason::ReplayedBoot | Reason::Full), "{reason:?}");
        }
        // An acknowledgement of reports says, too, that the start is held.
        let sent = |n: &&u32| **n == 0 || sent.contains(n);
        assert!(heard.held.iter().filter(sent).count() == heard.held.len(), "nothing is held that was not sent");
        state.held.extend(heard.held.iter().map(|n| id(*n)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_acknowledged_is_stored_once(steps in prop::collection::vec(step(), 1..40)) {
        run(&steps);
    }
}
