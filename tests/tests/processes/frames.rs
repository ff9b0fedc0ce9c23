//! Frames that do not belong: mutated messages and noise from a client, and from a server, whose certificates are good.

use super::{alone, assert_useful};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    time::{Duration, Instant},
};
use symbolon::{
    data::Lengths,
    net::{ClientTls, Config, Connection, Hosts, Role, ServerTls, Timeouts, accept},
    session::client::{self, Ticket},
};
use symbolon_tests::{
    dir::TempDir,
    jobs::{Shape, Values},
    program::eventually,
    roles::{ANYTHING, CALM, Roles, at, deployment, write},
    wire::{
        Answer, Data, DealerHello, JobRequest, JobsRequest, LaneHello, MAX_BYTES, No, Order, RunProposal, Update,
        frame, fresh_session,
    },
};

/// Nobody waits for long here.
const TIMES: Timeouts = Timeouts {
    connect: Duration::from_millis(400),
    handshake: Duration::from_secs(5),
    idle: Duration::from_millis(400),
    close: Duration::from_millis(20),
};

/// Changes a frame: a few bits, a byte, its length, its end, or all behind its head.
fn mutate(values: &mut Values, mut frame: Vec<u8>) -> Vec<u8> {
    let at = |values: &mut Values, frame: &Vec<u8>| values.below(frame.len());
    match values.below(6) {
        0 => {
            for _ in 0..=values.below(4) {
                let at = at(values, &frame);
                frame[at] ^= 1 << values.below(8);
            }
        }
        1 => {
            let at = at(values, &frame);
            frame[at] = [0, 0x7f, 0x80, 0xff][values.below(4)];
        }
        2 => frame.truncate(at(values, &frame)),
        3 => {
            let behind = 1 + values.below(40);
            frame.extend((0..behind).map(|_| noise(values)));
        }
        4 => {
            let len = u32::try_from(values.next() >> values.below(64) & 0xffff_ffff).unwrap();
            frame[..4].copy_from_slice(&len.to_le_bytes());
        }
        _ => {
            let from = at(values, &frame);
            frame[from..].iter_mut().for_each(|byte| *byte = noise(values));
        }
    }
    frame
}

fn noise(values: &mut Values) -> u8 {
    values.next().to_le_bytes()[0]
}

/// Sends what is wrong and reads until the peer ends. It may not like what it is sent before all is sent.
fn send(mut connection: Connection, bytes: &[u8]) {
    let _ = connection.send_bytes(bytes);
    let _ = connection.recv_exact(&mut [0; 4096]);
}

#[test]
fn mutated_and_random_ones() {
    let _alone = alone();
    let mut roles = Roles::start_audited(TIMES, ANYTHING, &mut |_, _, _, port| port);
    let mut values = Values(2026);
    let shape = Shape::default();
    let (order, seed) = (Order::of([6; 16], &shape.job()), Data::Seed([1; 32]));
    let lane = LaneHello { hello: 0, session: [6; 16], lane: 0, plan_hash: [2; 32] };
    let (job, plan_hash) = (order.job.clone(), [2; 32]);
    let join =
        DealerHello::Join { session: [6; 16], job, work: 0, position: 0, plan_hash, nonce: [3; 32], seed: [4; 32] };
    let (states, results) = (vec![(28, [7; 16])], Some([8; 16]));
    let proposal =
        RunProposal { hello: 2, job: [6; 16], digest: [5; 32], session: [6; 16], states, results, last_epoch: 3 };
    let cancel = JobRequest { request: JobsRequest { ask: 4, request: 2 }, job: [6; 16] };
    let stream = DealerHello::Lane { session: [6; 16], lane: 1 };
    let first = [
        (Role::Client, Role::Server0, frame(&order)),
        (Role::Client, Role::Server1, frame(&order)),
        (Role::Client, Role::Server0, frame(&cancel)),
        (Role::Server1, Role::Server0, frame(&lane)),
        (Role::Server1, Role::Server0, frame(&proposal)),
        (Role::Server0, Role::Dealer, frame(&join)),
        (Role::Server1, Role::Dealer, frame(&join)),
        (Role::Server1, Role::Dealer, frame(&stream)),
        (Role::Server0, Role::Auditor, frame(&join)),
        (Role::Server1, Role::Auditor, frame(&join)),
    ];
    std::thread::scope(|scope| {
        for (from, to, good) in first {
            let (mut values, roles) = (Values(values.next()), &roles);
            scope.spawn(move || {
                for _ in 0..16 {
                    send(roles.reach(from, to), &mutate(&mut values, good.clone()));
                    let len = values.below(200);
                    let noise: Vec<u8> = (0..len).map(|_| noise(&mut values)).collect();
                    send(roles.reach(from, to), &noise);
                }
            });
        }
        // What follows an order that was accepted: a server takes two at a time.
        let (mut values, roles) = (Values(values.next()), &roles);
        scope.spawn(move || {
            for _ in 0..16 {
                let mut server = roles.reach(Role::Client, Role::Server1);
                server.send(&Order { id: fresh_session(), ..order.clone() }).unwrap();
                if matches!(server.recv::<Answer>(1000), Ok(Ok(()))) {
                    send(server, &mutate(&mut values, frame(&seed)));
                }
            }
        });
    });
    assert_tells_every_time(&roles);
    roles.assert_well();
    let free = eventually(Duration::from_secs(10), || {
        let mut server = roles.reach(Role::Client, Role::Server0);
        server.send(&Order::of(fresh_session(), &shape.job())).unwrap();
        matches!(server.recv::<Answer>(1000), Ok(Ok(())))
    });
    assert!(free, "a session kept its place");
}

/// Each line that a role has said names a role and what was wrong.
fn assert_tells_every_time(roles: &Roles) {
    let auditor = roles.auditor.as_ref().unwrap();
    let all =
        [("server0", &roles.server0), ("server1", &roles.server1), ("dealer", &roles.dealer), ("auditor", auditor)];
    for (role, process) in all {
        let said = process.said();
        assert!(said.lines().count() > 20, "{role} said {said}");
        for line in said.lines() {
            let (time, line) = line.split_once(' ').unwrap();
            assert!(time.ends_with('Z') && line.starts_with(&format!("{role}: ")) && line.len() > 40, "{line}");
        }
    }
}

/// A server that answers an order and goes on with `bytes`.
fn serve(listener: &TcpListener, tls: &ServerTls, answer: &[u8], bytes: &[u8]) {
    let Ok((mut client, _)) = accept(listener.accept().unwrap().0, tls, &TIMES) else { return };
    if client.recv::<Order>(MAX_BYTES).is_ok() && client.send_bytes(answer).is_ok() {
        send(client, bytes);
    }
}

/// A client whose servers do not keep to the protocol ends with an error, whatever they say.
#[test]
fn to_a_client() {
    let _alone = alone();
    let deployment = deployment();
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [server0, server1] = listeners.each_ref().map(|l| at(l.local_addr().unwrap().port()));
    let dir = TempDir::new();
    let hosts = Hosts { server0, server1, dealer: at(1), auditor: None };
    let config = write(&dir, &deployment, &hosts, Role::Client, &TIMES, "");
    let config = Config::load(&config, &[Role::Client]).unwrap();
    let tls = ClientTls::new(&config.identity().unwrap());
    let servers =
        [Role::Server0, Role::Server1].map(|role| ServerTls::new(&deployment.identity(role).unwrap(), &[Role::Client]));
    let shape = Shape::default();
    let answer = frame(&Answer::Ok(()));
    let updates = [
        frame(&Update::Taken),
        frame(&Update::Ready { plan_hash: [1; 32] }),
        frame(&Update::Output { number: 1, sealed: vec![1; 80] }),
        frame(&Update::Step { done: u64::MAX, bytes_sent: u64::MAX }),
        frame(&Update::Output { number: u32::MAX, sealed: vec![0xff; 5] }),
        frame(&Update::Done { model_bytes: u64::MAX }),
        frame(&Update::Retry("nobody\nknows".to_owned())),
        frame(&Update::No(No::Failed("not today".to_owned()))),
    ];
    let mut values = Values(11);
    for round in 0..24 {
        let mut said = || -> Vec<u8> {
            // Most rounds get as far as watching.
            let first = if values.below(4) > 0 { updates[0].clone() } else { Vec::new() };
            let all: Vec<u8> = (0..4).flat_map(|_| updates[values.below(updates.len())].clone()).collect();
            [first, mutate(&mut values, all)].concat()
        };
        let (said0, said1) = (said(), said());
        let answer1 = if round % 4 == 3 { mutate(&mut values, answer.clone()) } else { answer.clone() };
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| serve(&listeners[0], &servers[0], &answer, &said0));
            scope.spawn(|| serve(&listeners[1], &servers[1], &answer1, &said1));
            // Not `run`: it would withdraw the job, on connections that nobody accepts.
            let ticket = Ticket::new((&shape.job()).into(), &Lengths::default()).unwrap();
            let ordered = client::order(&config, &tls, &ticket, Some(shape.inputs::<u64>()), &mut |_| {});
            ordered.and_then(|ordered| {
                client::follow::<u64>(&config, &tls, &ticket, Some((ordered, Instant::now())), &mut |_| {})
            })
        });
        let Err(error) = ended else { panic!("no model comes from that") };
        let error = error.to_string();
        assert!(["server0", "server1", "job-seal: "].iter().any(|word| error.contains(word)), "{error}");
    }
}

/// Without a certificate nobody gets as far as frames.
#[test]
fn from_nobody() {
    let _alone = alone();
    let mut roles = Roles::start(CALM, ANYTHING);
    let mut values = Values(7);
    for port in [roles.server0.port, roles.server1.port, roles.dealer.port] {
        for len in [0, 1, 5, 200, 20_000] {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let noise: Vec<u8> = (0..len).map(|_| noise(&mut values)).collect();
            let _ = socket.write_all(&noise);
            let _ = socket.shutdown(Shutdown::Write);
            let _ = socket.read_to_end(&mut Vec::new());
        }
    }
    for process in [&roles.server0, &roles.server1, &roles.dealer] {
        process.says(&["an unknown peer (127.0.0.1:", "it does not speak TLS"]);
    }
    assert_useful(&mut roles);
}
