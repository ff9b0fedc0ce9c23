//! A stranger at one address takes what he can; devices at another are served all the same.

use super::{TCP, harness::*, is_away};
use std::{io::Read, net::Ipv4Addr, thread};
use symbolon::{
    gateway::{Source, news::News},
    net::Role,
};

const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// More than memory and disk hold together, were they his alone: 20 MB.
const FLOOD: u32 = 5000;
const REPORTS: u32 = 50;

#[test]
fn who_floods_while_a_server_is_away_leaves_room_in_memory_and_on_disk() {
    for restarts in [false, true] {
        let (world, addresses) = World::without_server1("flood");
        let section = format!("{TCP}\nbuffer_mib = 1");
        let start = || Running::start(&world.deployment, addresses, &world.scratch.0, &section);
        let mut gateway = start();
        gateway.says("server 1 away", is_away(Role::Server1));

        let mut stranger = gateway.device_from(STRANGER, 66);
        let mut answers = stranger.socket.try_clone().unwrap();
        thread::spawn(move || while answers.read(&mut [0; 1 << 16]).is_ok_and(|len| len > 0) {});
        (0..FLOOD).for_each(|sequence| stranger.send(sequence, 4096));
        until("the flood at server 0", || world.servers[0].count() == FLOOD as usize);
        let is_full = |news: &News| matches!(news, News::Full { server: Role::Server1, source: Source::V4(source) } if *source == STRANGER);
        gateway.says("no more room for the stranger", is_full);

        let mut device = gateway.device(5);
        for sequence in 1..=REPORTS {
            device.send(sequence, 64);
            assert_eq!(device.answer(), (0, device.name(sequence)));
        }
        if restarts {
            // What then is there was on disk.
            let status = gateway.stop();
            assert_eq!(status.full[0], 0, "{status}");
            assert!(status.full[1] > 0 && status.on_disk[1] > u64::from(REPORTS), "{status}");
            gateway = start();
        }
        let back = Server::again(&world.deployment, Role::Server1, addresses[1]);
        let reports = |id| -> Vec<u32> {
            let got = back.got.lock().unwrap();
            got.iter().filter(|name| name.device == id).map(|name| name.sequence).collect()
        };
        until("the device's reports at server 1", || reports(device.id).len() == REPORTS as usize);
        assert!(reports(device.id).into_iter().eq(1..=REPORTS), "in order");
        if !restarts {
            // Of him, memory holds more than the disk has room for, long after the first batch has left that.
            until("most of the flood that was taken", || reports(stranger.id).len() > FLOOD as usize / 4);
            assert_eq!(gateway.count(|news| matches!(news, News::Full { .. })), 1, "told once");
        }
        let status = gateway.stop();
        let of_stranger = reports(stranger.id);
        assert!(of_stranger.is_sorted_by(|a, b| a < b) && of_stranger.len() < FLOOD as usize / 2, "{of_stranger:?}");
        if !restarts {
            let left = status.full[1] + status.waiting[1] + status.on_disk[1];
            assert_eq!(status.delivered[1] + left, u64::from(FLOOD + REPORTS), "none lost: {status}");
        }
    }
}

#[test]
fn who_opens_all_connections_that_he_can_leaves_some() {
    let world = World::new("places");
    let gateway = world.gateway(&format!("{TCP}\nconnections = 4"));
    // Connections are accepted in the order in which they were made.
    let strangers: Vec<_> = (0..10).map(|_| gateway.device_from(STRANGER, 66)).collect();
    let mut device = gateway.device(5);
    device.send(1, 8);
    device.both_answer(1);
    let mut other = gateway.device_from(Ipv4Addr::new(127, 0, 0, 3), 6);
    other.send(1, 8);
    other.both_answer(1);
    drop(strangers);
    let status = gateway.stop();
    assert_eq!((status.refused, status.frames), (8, 2), "{status}");
}
