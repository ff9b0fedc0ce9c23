//! A gateway between devices and two servers: what arrives, what waits, what goes back, and what does not get through.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

#[cfg(target_os = "linux")]
mod fairness;
mod harness;
mod mqtt;
#[cfg(unix)]
mod serial;

use harness::*;
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};
use symbolon::{gateway::news::News, net::Role};

const TCP: &str = "tcp = \"127.0.0.1:0\"";

fn is_away(server: Role) -> impl Fn(&News) -> bool {
    move |news| matches!(news, News::Away { server: who, .. } if *who == server)
}

fn is_here(server: Role) -> impl Fn(&News) -> bool {
    move |news| matches!(news, News::Here { server: who, .. } if *who == server)
}

#[test]
fn parts_reach_both_servers_and_answers_their_device() {
    let world = World::new("both");
    let gateway = world.gateway(TCP);
    let (mut one, mut other) = (gateway.device(1), gateway.device(2));
    one.send(0, 0);
    one.both_answer(0);
    other.send(0, 0);
    other.both_answer(0);
    for sequence in 1..20 {
        one.send(sequence, 64);
        one.both_answer(sequence);
        other.send(sequence, 4096);
        other.both_answer(sequence);
    }
    // A device that comes back on another line is answered there.
    let mut back = gateway.device(1);
    back.send(20, 8);
    back.both_answer(20);
    // Many devices share a line.
    for id in 100..200 {
        back.id.0 = id;
        back.send(1, 8);
        back.both_answer(1);
    }
    let status = gateway.stop();
    assert_eq!((status.frames, status.damaged, status.delivered), (141, 0, [141; 2]), "{status}");
    assert_eq!((status.answers, status.lost_answers, status.waiting), (282, 0, [0; 2]), "{status}");
    assert!(world.servers.iter().all(|server| server.count() == 141));
}

#[test]
fn parts_for_a_server_that_is_away_survive_on_disk_and_arrive_once_in_order() {
    let mut world = World::new("away");
    let gateway = world.gateway(TCP);
    let mut device = gateway.device(5);
    device.send(0, 0);
    device.both_answer(0);
    let address = world.servers[1].address;
    let mut gone = Server::start(&world.deployment, Role::Server1, "127.0.0.1:0");
    std::mem::swap(&mut world.servers[1], &mut gone);
    drop(gone);
    gateway.says("server 1 away", is_away(Role::Server1));
    for round in 0..3 {
        for sequence in 1..=300 {
            device.send(sequence, 64); // sent again, as devices do
            if round == 0 {
                assert_eq!(device.answer(), (0, device.name(sequence)));
            }
        }
    }
    thread::sleep(Duration::from_secs(1)); // a few spills
    // What a gateway that is killed now leaves behind.
    let copy = Scratch::new("away-copy");
    fs::create_dir(copy.0.join("buffer")).unwrap();
    for file in ["server0.redb", "server1.redb"] {
        fs::copy(world.scratch.0.join("buffer").join(file), copy.0.join("buffer").join(file)).unwrap();
    }
    drop(device);
    let status = gateway.stop();
    assert_eq!((status.on_disk, status.full), ([0, 300], [0, 0]), "{status}");

    for dir in [&copy.0, &world.scratch.0] {
        let back = Server::again(&world.deployment, Role::Server1, address);
        let addresses = [world.servers[0].address, address];
        let gateway = Running::start(&world.deployment, addresses, dir, TCP);
        gateway.says("server 1 there", is_here(Role::Server1));
        until("all delivered", || back.count() >= 300);
        let mut device = gateway.device(5);
        device.send(301, 64);
        device.both_answer_at_last(301); // the server's last answers to the others may be on their way
        let got: Vec<u32> = back.got.lock().unwrap().iter().map(|id| id.sequence).collect();
        assert_eq!(got, (1..=301).collect::<Vec<_>>());
        assert_eq!(gateway.stop().on_disk, [0, 0]);
    }
}

#[test]
fn a_server_that_breaks_off_gets_again_what_it_did_not_answer() {
    let mut world = World::new("breaks");
    let gateway = world.gateway(TCP);
    let address = world.servers[0].address;
    let mut device = gateway.device(5);
    let mut seen = vec![];
    for round in 0..4 {
        for sequence in 0..500 {
            device.send(round * 500 + sequence, 32);
        }
        // In the midst of it.
        let spare = Server::start(&world.deployment, Role::Server0, "127.0.0.1:0");
        let gone = std::mem::replace(&mut world.servers[0], spare);
        let got = Arc::clone(&gone.got);
        drop(gone); // it takes and answers parts until then
        seen.extend_from_slice(&got.lock().unwrap());
        world.servers[0] = Server::again(&world.deployment, Role::Server0, address);
    }
    until("all at server 1", || world.servers[1].count() == 2000);
    until("all at server 0", || {
        let mut all = seen.clone();
        all.extend_from_slice(&world.servers[0].got.lock().unwrap());
        all.sort_unstable();
        all.dedup();
        all.len() == 2000
    });
}

#[test]
fn what_a_full_server_does_not_take_is_delivered_when_it_has_room() {
    let world = World::new("no-room");
    let gateway = world.gateway(TCP);
    let mut device = gateway.device(5);
    device.send(0, 0);
    device.both_answer(0);
    world.servers[1].is_full.store(true, Ordering::Relaxed);
    for sequence in 1..=20 {
        device.send(sequence, 64);
        assert_eq!(device.answer(), (0, device.name(sequence)));
    }
    thread::sleep(Duration::from_millis(1500)); // it asks again
    world.servers[1].is_full.store(false, Ordering::Relaxed);
    for sequence in 1..=20 {
        assert_eq!(device.answer(), (1, device.name(sequence)), "without being sent again");
    }
    let got: Vec<u32> = world.servers[1].got.lock().unwrap().iter().map(|id| id.sequence).collect();
    assert_eq!(got, (0..=20).collect::<Vec<_>>());
    assert_eq!(gateway.stop().delivered, [21; 2]);
}

#[test]
fn a_stranger_who_names_a_device_does_not_take_its_answers_away() {
    let world = World::new("poser");
    let gateway = world.gateway(TCP);
    let (mut device, mut stranger) = (gateway.device(5), gateway.device(5));
    device.send(1, 8);
    device.both_answer(1);
    stranger.send(2, 8);
    stranger.both_answer(2);
    device.both_answer(2);
}

#[test]
fn a_full_buffer_keeps_the_oldest_and_leaves_the_newest_to_the_devices() {
    let (world, addresses) = World::without_server1("full");
    let section = format!("{TCP}\nbuffer_mib = 1");
    let gateway = Running::start(&world.deployment, addresses, &world.scratch.0, &section);
    gateway.says("server 1 away", is_away(Role::Server1));
    let mut device = gateway.device(5);
    for sequence in 0..3000 {
        device.send(sequence, 4096);
    }
    until("all at server 0", || world.servers[0].count() == 3000);
    gateway.says("full", |news| matches!(news, News::Full { server: Role::Server1, .. }));
    let back = Server::again(&world.deployment, Role::Server1, addresses[1]);
    gateway.says("server 1 there", is_here(Role::Server1));
    until("room again", || {
        device.send(3000, 8);
        thread::sleep(Duration::from_millis(20));
        back.got.lock().unwrap().last().is_some_and(|id| id.sequence == 3000)
    });
    let got: Vec<u32> = back.got.lock().unwrap().iter().map(|id| id.sequence).filter(|n| *n < 3000).collect();
    // While a spill is on its way to the disk, memory may be full; when it is there, what then comes has room again.
    assert!(got.is_sorted_by(|a, b| a < b), "in order, each once: {got:?}");
    assert!(got.iter().take(1000).copied().eq(0..1000), "the oldest are there: {got:?}");
    let file = fs::metadata(world.scratch.0.join("buffer/server1.redb")).unwrap().len();
    let status = gateway.stop();
    assert!(file < 4 << 20, "{file}");
    assert!((100..2900).contains(&got.len()) && status.full[0] == 0, "{status}");
    // Each of the others, and perhaps some of the last ones.
    assert!(status.full[1] >= 3000 - got.len() as u64, "{status}");
}

#[test]
fn hostile_bytes_are_counted_and_hurt_nobody() {
    let world = World::new("hostile");
    let gateway = world.gateway(&format!("{TCP}\nconnections = 5"));
    let mut device = gateway.device(5);
    device.send(0, 0);
    device.both_answer(0);
    let mut hostile = gateway.device(6);
    let mut noise = 1u32;
    let bytes: Vec<u8> = (0..1 << 20)
        .map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            noise as u8
        })
        .collect();
    hostile.socket.write_all(&bytes).unwrap();
    hostile.socket.write_all(&vec![1; 1 << 20]).unwrap(); // a frame without end
    hostile.socket.write_all(&[0]).unwrap();
    // An answer is no device's to send; a header may be of any bytes.
    let id = hostile.name(1);
    let whole = frame_of(id, &[1; 40], &mut Vec::new());
    for cut in 0..whole.len() {
        hostile.socket.write_all(&on_stream(&whole[..cut])).unwrap();
    }
    // The same line then is as good as any.
    hostile.send(2, 8);
    hostile.both_answer(2);

    // Of five places, one host has three.
    let idle = gateway.device(7);
    thread::sleep(Duration::from_millis(100));
    let mut one_too_many = TcpStream::connect(gateway.address.unwrap()).unwrap();
    one_too_many.set_read_timeout(Some(PATIENCE)).unwrap();
    // Closed, with a reset or without.
    assert!(matches!(one_too_many.read(&mut [0]), Ok(0) | Err(_)));
    device.send(1, 8);
    device.both_answer(1);
    hostile.socket.shutdown(Shutdown::Both).unwrap();
    drop(idle);
    until("a place again", || {
        let mut next = gateway.device(8);
        next.socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let frame = frame_of(next.name(1), &[1], &mut Vec::new());
        next.socket.write_all(&on_stream(&frame)).is_ok() && next.socket.read(&mut [0]).is_ok_and(|len| len == 1)
    });
    let status = gateway.stop();
    assert!(status.damaged > 1000 && status.refused > 0, "{status}");
    assert!(world.servers.iter().all(|server| server.count() == 4), "{status}");
}

/// The figure in the documentation: `cargo test --release --test gateway -- --ignored --nocapture throughput`.
#[test]
#[ignore = "measures; run it alone, optimised"]
fn throughput() {
    const REPORTS: u32 = 200_000;
    let world = World::new("throughput");
    let gateway = world.gateway(TCP);
    SERVERS.iter().for_each(|role| gateway.says("there", is_here(*role)));
    let mut device = gateway.device(5);
    let mut answers = device.socket.try_clone().unwrap();
    thread::spawn(move || while answers.read(&mut [0; 1 << 16]).is_ok_and(|len| len > 0) {});
    let (mut out, mut scratch) = (Vec::new(), Vec::new());
    (1..=REPORTS).for_each(|n| out.extend(on_stream(&frame_of(device.name(n), &[n as u8; 80], &mut scratch))));
    let started = Instant::now();
    device.socket.write_all(&out).unwrap();
    until("all delivered", || world.servers.iter().all(|server| server.count() >= REPORTS as usize));
    let seconds = started.elapsed().as_secs_f64();
    println!("{:.0} reports/s of {} bytes", f64::from(REPORTS) / seconds, out.len() / REPORTS as usize);
    let status = gateway.stop();
    println!("{status}");
    assert_eq!(status.full, [0, 0]);
}
