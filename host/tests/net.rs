//! Two ends over loopback: authentication, transfers, and every way in which a peer can fail.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use symbolon::net::{
    Cause, CertificateFault, ClientTls, Connection, Deployment, GRANULE, Hosts, Identity, Listener, NetError,
    Operation, Role, ServerTls, Timeouts, accept, connect,
};

const SHORT: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    handshake: Duration::from_secs(10),
    idle: Duration::from_secs(10),
    close: Duration::from_millis(500),
};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn deployment() -> Deployment {
    Deployment::generate(&Hosts::default(), SystemTime::now() - DAY, 10).unwrap()
}

fn identity(deployment: &Deployment, role: Role) -> Identity {
    deployment.identity(role).unwrap()
}

type Met = (Result<Connection, NetError>, Result<(Connection, Role), NetError>);

/// `from` connects and believes to reach `to`; `there` is who listens, and accepts `accepted`.
fn meet(from: &Identity, to: Role, there: &Identity, accepted: &[Role]) -> Met {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tls = ServerTls::new(there, accepted);
    let server = thread::spawn(move || accept(listener.accept().unwrap().0, &tls, &SHORT));
    let client = connect(&address, &ClientTls::new(from), to, &SHORT);
    (client, server.join().unwrap())
}

/// A connection's two ends: server 0, which connected, and server 1.
fn pair() -> (Connection, Connection) {
    let deployment = deployment();
    let (from, there) = (identity(&deployment, Role::Server0), identity(&deployment, Role::Server1));
    let (one, other) = meet(&from, Role::Server1, &there, &[Role::Server0]);
    (one.unwrap(), other.unwrap().0)
}

/// The cause of a handshake's failure.
fn cause<T>(result: Result<T, NetError>) -> Cause {
    let error = result.err().unwrap();
    assert_eq!(error.operation, Operation::Handshake, "{error}");
    error.cause
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 7) as u8).collect()
}

#[test]
fn all_roles_meet_and_know_each_other() {
    let deployment = deployment();
    for from in Role::ALL {
        for to in Role::ALL {
            let (one, other) = meet(&identity(&deployment, from), to, &identity(&deployment, to), &Role::ALL);
            let (mut one, (mut other, who)) = (one.unwrap(), other.unwrap());
            assert_eq!((one.role(), other.role(), who), (to, from, from));
            one.send("hello").unwrap();
            assert_eq!(other.recv::<String>(100).unwrap(), "hello");
        }
    }
}

#[test]
fn a_server_of_another_authority_is_refused() {
    let (ours, theirs) = (deployment(), deployment());
    let (client, server) = (identity(&ours, Role::Client), identity(&theirs, Role::Server0));
    let (one, other) = meet(&client, Role::Server0, &server, &Role::ALL);
    assert!(matches!(cause(one), Cause::Certificate(CertificateFault::UnknownCa)));
    assert!(matches!(cause(other), Cause::Refused(_)));
}

/// Trusts `ours`, and proves itself with a certificate of `theirs`.
fn stranger(ours: &Deployment, theirs: &Deployment, role: Role) -> Identity {
    let credentials = theirs.credentials(role);
    Identity::from_pem(credentials.certificate.as_bytes(), credentials.key.as_bytes(), ours.ca().as_bytes()).unwrap()
}

#[test]
fn a_client_of_another_authority_is_refused_and_told() {
    let (ours, theirs) = (deployment(), deployment());
    let stranger = stranger(&ours, &theirs, Role::Client);
    stranger.check().unwrap_err();
    let (one, other) = meet(&stranger, Role::Server0, &identity(&ours, Role::Server0), &Role::ALL);
    assert!(matches!(cause(other), Cause::Certificate(CertificateFault::UnknownCa)));
    let told = one.unwrap_err();
    assert!(matches!(told.cause, Cause::Refused(rustls::AlertDescription::UnknownCA)), "{told}");
    assert_eq!(told.peer.role, Some(Role::Server0));
}

#[test]
fn an_expired_server_is_refused_and_told() {
    let old = Deployment::generate(&Hosts::default(), SystemTime::now() - 10 * DAY, 1).unwrap();
    let expired = identity(&old, Role::Server1);
    let told = expired.check().unwrap_err().to_string();
    assert!(told.contains("expired 9 days"), "{told}");

    let (one, other) = meet(&identity(&old, Role::Client), Role::Server1, &expired, &Role::ALL);
    let error = one.unwrap_err();
    assert!(matches!(error.cause, Cause::Certificate(CertificateFault::Expired { ago: Some(_) })), "{error}");
    assert!(error.to_string().starts_with("server1 (127.0.0.1:"), "{error}");
    assert!(matches!(cause(other), Cause::Refused(rustls::AlertDescription::CertificateExpired)));
}

#[test]
fn an_expired_client_is_refused_and_told() {
    // The client trusts today's authority, the server the old one.
    let now = deployment();
    let old = Deployment::generate(&Hosts::default(), SystemTime::now() - 10 * DAY, 1).unwrap();
    let (client, server) = (stranger(&now, &old, Role::Client), stranger(&old, &now, Role::Server1));
    let (one, other) = meet(&client, Role::Server1, &server, &Role::ALL);
    let error = other.unwrap_err();
    assert!(matches!(error.cause, Cause::Certificate(CertificateFault::Expired { .. })), "{error}");
    assert!(matches!(cause(one), Cause::Refused(rustls::AlertDescription::CertificateExpired)));
}

#[test]
fn a_certificate_of_another_role_is_refused() {
    let deployment = deployment();
    let (from, there) = (identity(&deployment, Role::Server0), identity(&deployment, Role::Server1));
    let (one, other) = meet(&from, Role::Dealer, &there, &[Role::Server0]);
    let error = one.unwrap_err();
    match &error.cause {
        Cause::Certificate(CertificateFault::WrongRole { wanted: Role::Dealer, names }) => {
            assert_eq!(names, &["server1", "127.0.0.1"]);
        }
        _ => panic!("{error}"),
    }
    assert!(matches!(cause(other), Cause::Refused(_)));
}

#[test]
fn a_role_that_has_no_business_here_is_refused_and_told() {
    let deployment = deployment();
    let (from, there) = (identity(&deployment, Role::Client), identity(&deployment, Role::Dealer));
    let (one, other) = meet(&from, Role::Dealer, &there, &[Role::Server0, Role::Server1]);
    assert!(matches!(cause(one), Cause::RoleRefused { role: Role::Client }));
    let error = other.unwrap_err();
    assert_eq!(error.peer.role, Some(Role::Client));
    assert!(matches!(error.cause, Cause::Unwelcome { role: Role::Client }));
}

#[test]
fn whoever_speaks_no_tls_is_refused() {
    let identity = identity(&deployment(), Role::Server0);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3], &[]] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.write_all(garbage).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let result = accept(listener.accept().unwrap().0, &ServerTls::new(&identity, &Role::ALL), &SHORT);
        match cause(result) {
            Cause::NotTls => assert!(!garbage.is_empty()),
            Cause::Lost => assert!(garbage.is_empty()),
            other => panic!("{garbage:?}: {other}"),
        }
    }
    // And a server that answers in another language.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let web = thread::spawn(move || {
        let mut peer = listener.accept().unwrap().0;
        peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let _ = peer.read_to_end(&mut Vec::new());
    });
    let result = connect(&address, &ClientTls::new(&identity), Role::Server1, &SHORT);
    assert!(matches!(cause(result), Cause::NotTls));
    web.join().unwrap();
}

#[test]
fn a_peer_that_never_authenticates_is_dropped() {
    let identity = identity(&deployment(), Role::Server0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let hasty = Timeouts { handshake: Duration::from_millis(100), ..SHORT };
    let result = accept(listener.accept().unwrap().0, &ServerTls::new(&identity, &Role::ALL), &hasty);
    assert!(matches!(cause(result), Cause::Slow(_)));
}

#[test]
fn nobody_there_is_an_error_in_time() {
    let identity = identity(&deployment(), Role::Server0);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let hasty = Timeouts { connect: Duration::from_millis(1500), ..SHORT };
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    let waiting = |peer, _: &str| {
        assert_eq!(peer, Role::Dealer);
        TOLD.fetch_add(1, Ordering::Relaxed);
    };
    let start = Instant::now();
    let error = connect(&free, &ClientTls::new(&identity).telling(waiting), Role::Dealer, &hasty).unwrap_err();
    assert_eq!(TOLD.load(Ordering::Relaxed), 1, "who waits is told once");
    assert!(matches!(error.cause, Cause::Unreachable { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(error.to_string().starts_with(&format!("dealer ({free}), while connecting: ")), "{error}");
}

#[test]
fn a_peer_that_starts_late_is_reached() {
    let deployment = deployment();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (dealer, server) = (identity(&deployment, Role::Dealer), identity(&deployment, Role::Server0));
    let late = thread::spawn({
        let address = address.clone();
        move || {
            thread::sleep(Duration::from_millis(300));
            let stream = TcpListener::bind(address).unwrap().accept().unwrap().0;
            accept(stream, &ServerTls::new(&dealer, &[Role::Server0]), &SHORT).unwrap().1
        }
    });
    connect(&address, &ClientTls::new(&server), Role::Dealer, &SHORT).unwrap();
    assert_eq!(late.join().unwrap(), Role::Server0);
}

#[test]
fn exchanges_of_every_size_both_ways_at_once() {
    let (mut one, mut other) = pair();
    let sizes = [0, 1, 65_535, 65_536, 65_537, 20_000_000];
    let run = move |connection: &mut Connection, me: usize| {
        for len in sizes {
            for (zeroth, first) in [(len, len), (len, 65_535), (0, len)] {
                let (mine, theirs) = if me == 0 { (zeroth, first) } else { (first, zeroth) };
                let mut got = vec![0; theirs];
                connection.exchange(&pattern(mine, me), &mut got).unwrap();
                assert!(got == pattern(theirs, 1 - me), "{mine} {theirs}");
            }
        }
        connection.traffic()
    };
    let there = thread::spawn(move || run(&mut other, 1));
    let here = run(&mut one, 0);
    let there = there.join().unwrap();
    let sum: usize = sizes.iter().sum();
    assert_eq!(here.payload_sent, 2 * sum as u64);
    assert_eq!(here.payload_received, 2 * sum as u64 + 6 * 65_535);
    assert_eq!((here.payload_sent, here.wire_sent), (there.payload_received, there.wire_received));
    // 22 bytes a record of 16 KiB, the handshake, and the short records.
    assert!(here.wire_sent < here.payload_sent + here.payload_sent / 700 + 5000, "{here:?}");
}

#[test]
fn folds_in_place_what_the_peer_sends() {
    let (mut one, mut other) = pair();
    let sizes = [0, 1, GRANULE - 1, 65_535, 65_536, 65_537, 20_000_008];
    let run = move |connection: &mut Connection, me: usize| {
        for len in sizes {
            let mut bytes = pattern(len, me);
            let (mut at, mut calls) = (0, 0);
            let mut fold = |mine: &mut [u8], theirs: &[u8]| {
                assert_eq!((mine.len(), at % GRANULE), (theirs.len(), 0));
                at += mine.len();
                calls += 1;
                mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine = mine.wrapping_add(*theirs));
            };
            connection.exchange_in_place(&mut bytes, &mut fold).unwrap();
            assert_eq!(at, len);
            let sum = pattern(len, 0).into_iter().zip(pattern(len, 1)).map(|(a, b)| a.wrapping_add(b));
            assert!(bytes.iter().copied().eq(sum), "{len} bytes in {calls} calls");
        }
    };
    let there = thread::spawn(move || run(&mut other, 1));
    run(&mut one, 0);
    there.join().unwrap();
}

#[test]
fn folds_whole_granules_of_oddly_cut_records() {
    const LEN: usize = 300_000;
    let (mut one, mut other) = pair();
    // A peer may cut its records as it likes: sends and exchanges are one stream.
    let there = thread::spawn(move || {
        for piece in pattern(LEN, 1).chunks(1001) {
            other.send_bytes(piece).unwrap();
        }
        let mut got = vec![0; LEN];
        other.recv_exact(&mut got).unwrap();
        got
    });
    let mut bytes = pattern(LEN, 0);
    let mut at = 0;
    let mut fold = |mine: &mut [u8], theirs: &[u8]| {
        assert_eq!(at % GRANULE, 0);
        at += mine.len();
        mine.copy_from_slice(theirs);
    };
    one.exchange_in_place(&mut bytes, &mut fold).unwrap();
    assert!(bytes == pattern(LEN, 1));
    assert!(there.join().unwrap() == pattern(LEN, 0));
}

#[test]
fn messages_and_buffered_bytes_keep_their_order() {
    let (mut one, mut other) = pair();
    let there = thread::spawn(move || {
        let mut bytes = [0; 5];
        other.recv_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"12345");
        assert_eq!(other.recv::<(u32, Vec<u8>)>(1 << 22).unwrap(), (7, pattern(3_000_000, 5)));
        let mut bulk = vec![0; 400_000];
        other.recv_exact(&mut bulk).unwrap();
        assert!(bulk == pattern(400_000, 6));
        other.send(&Role::Dealer).unwrap();
        other.close().unwrap();
    });
    one.buffer_bytes(b"123").unwrap();
    one.buffer_bytes(b"45").unwrap();
    one.send(&(7_u32, pattern(3_000_000, 5))).unwrap();
    for piece in pattern(400_000, 6).chunks(70_001) {
        one.buffer_bytes(piece).unwrap();
    }
    assert_eq!(one.recv::<Role>(16).unwrap(), Role::Dealer); // flushes first
    one.close().unwrap();
    there.join().unwrap();
}

#[test]
fn bad_frames_are_refused() {
    let refused = |sent: &'static [u8], max_len: usize| {
        let (mut one, mut other) = pair();
        one.send_bytes(sent).unwrap();
        drop(one);
        other.recv::<(u8, u8)>(max_len).unwrap_err().cause
    };
    assert!(matches!(refused(&[3, 0, 0, 0, 1, 2, 3], 2), Cause::TooLong { len: 3, max: 2 }));
    assert!(matches!(refused(&[255, 255, 255, 255], 1 << 20), Cause::TooLong { .. }));
    assert!(matches!(refused(&[3, 0, 0, 0, 1, 2, 3], 100), Cause::Trailing { len: 1 }));
    assert!(matches!(refused(&[1, 0, 0, 0, 1], 100), Cause::Frame(_)));
    assert!(matches!(refused(&[2, 0, 0, 0, 1], 100), Cause::Closed)); // truncated
    assert!(matches!(refused(&[2, 0], 100), Cause::Closed));
    // A length that was announced costs no memory before it arrives.
    assert!(matches!(refused(&[0, 0, 0, 240, 1], usize::MAX), Cause::Closed));
}

#[test]
fn a_failed_connection_stays_failed() {
    let (one, mut other) = pair();
    drop(one);
    assert!(matches!(other.recv_exact(&mut [0]).unwrap_err().cause, Cause::Closed));
    assert!(matches!(other.send_bytes(&[0]).unwrap_err().cause, Cause::Unusable));
    other.close().unwrap();
}

#[test]
fn last_words_arrive_even_after_an_error() {
    let (mut one, mut other) = pair();
    let there = thread::spawn(move || {
        other.send_bytes(&[9; 100_000]).unwrap(); // never read
        other.send(&70_000_u32).unwrap();
        thread::sleep(Duration::from_millis(100));
        let last: String = other.recv(100).unwrap();
        assert!(matches!(other.recv_exact(&mut [0]).unwrap_err().cause, Cause::Lost));
        last
    });
    one.send("no").unwrap();
    assert!(matches!(one.recv::<u8>(10).unwrap_err().cause, Cause::TooLong { .. }));
    one.close().unwrap();
    assert_eq!(there.join().unwrap(), "no");
}

/// What stands between two ends.
struct Relay {
    sockets: [TcpStream; 2],
    /// Alters one bit of what passes towards the connecting end.
    alter: Arc<AtomicBool>,
}

impl Relay {
    /// As by a power failure.
    fn cut(&self) {
        // The second may have ended with the first.
        self.sockets.iter().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, alter: Arc<AtomicBool>) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(len) = from.read(&mut bytes) {
        if len > 0 && alter.swap(false, Ordering::Relaxed) {
            bytes[len / 2] ^= 1;
        }
        if len == 0 || to.write_all(&bytes[..len]).is_err() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
}

fn relayed_pair() -> (Connection, Connection, Relay) {
    let deployment = deployment();
    let back = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let (back_address, front_address) = (back.local_addr().unwrap(), front.local_addr().unwrap().to_string());
    let alter = Arc::new(AtomicBool::new(false));
    let relaying = thread::spawn({
        let alter = Arc::clone(&alter);
        move || {
            let a = front.accept().unwrap().0;
            let b = TcpStream::connect(back_address).unwrap();
            let clones = || [a.try_clone().unwrap(), b.try_clone().unwrap()];
            let ([a1, b1], [a2, b2]) = (clones(), clones());
            thread::spawn(move || relay(a1, b1, Arc::default()));
            thread::spawn(move || relay(b2, a2, alter));
            [a, b]
        }
    });
    let tls = ServerTls::new(&identity(&deployment, Role::Server1), &[Role::Server0]);
    let server = thread::spawn(move || accept(back.accept().unwrap().0, &tls, &SHORT).unwrap().0);
    let client = ClientTls::new(&identity(&deployment, Role::Server0));
    let one = connect(&front_address, &client, Role::Server1, &SHORT).unwrap();
    let other = server.join().unwrap();
    (one, other, Relay { sockets: relaying.join().unwrap(), alter })
}

#[test]
fn a_peer_killed_in_an_exchange_is_lost() {
    let (mut one, mut other, relay) = relayed_pair();
    let there = thread::spawn(move || other.exchange(&vec![1; 30_000_000], &mut vec![0; 30_000_000]).unwrap_err());
    one.exchange(&vec![1; 1_000_000], &mut vec![0; 1_000_000]).unwrap();
    relay.cut();
    let error = one.exchange(&vec![2; 30_000_000], &mut vec![0; 30_000_000]).unwrap_err();
    assert!(matches!(error.cause, Cause::Lost), "{error}");
    assert_eq!((error.peer.role, error.operation), (Some(Role::Server1), Operation::Exchange));
    let error = there.join().unwrap();
    assert!(matches!(error.cause, Cause::Lost), "{error}");
}

#[test]
fn altered_bytes_are_found() {
    let (mut one, mut other, relay) = relayed_pair();
    relay.alter.store(true, Ordering::Relaxed);
    other.send_bytes(&[5; 1000]).unwrap();
    let error = one.recv_exact(&mut [0; 1000]).unwrap_err();
    assert!(matches!(error.cause, Cause::Tls(rustls::Error::DecryptError)), "{error}");
}

#[test]
fn a_peer_that_panics_is_lost_not_closed() {
    let (mut one, mut other) = pair();
    let there = thread::spawn(move || {
        other.recv_exact(&mut [0; 3]).unwrap();
        std::panic::resume_unwind(Box::new("gone"));
    });
    one.send_bytes(&[0; 3]).unwrap();
    assert!(matches!(one.recv_exact(&mut [0]).unwrap_err().cause, Cause::Lost));
    there.join().unwrap_err();
}

#[test]
fn a_silent_peer_is_given_up() {
    let (mut one, mut other) = pair();
    one.set_idle_timeout(Duration::from_millis(100));
    let start = Instant::now();
    let error = one.recv_exact(&mut [0; 10]).unwrap_err();
    assert!(matches!(error.cause, Cause::Idle(limit) if limit == Duration::from_millis(100)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    // One that reads nothing, too.
    other.set_idle_timeout(Duration::from_millis(100));
    let error = other.send_bytes(&vec![0; 50_000_000]).unwrap_err();
    assert!(matches!(error.cause, Cause::Idle(_)), "{error}");
}

#[test]
fn a_slow_but_steady_peer_is_waited_for() {
    let (mut one, mut other) = pair();
    one.set_idle_timeout(Duration::from_millis(500));
    let there = thread::spawn(move || {
        for byte in 0..8 {
            thread::sleep(Duration::from_millis(100));
            other.send_bytes(&[byte]).unwrap();
        }
        other
    });
    let mut got = [0; 8];
    one.recv_exact(&mut got).unwrap();
    assert_eq!(got, [0, 1, 2, 3, 4, 5, 6, 7]);
    there.join().unwrap();
}

#[test]
fn a_connection_is_aborted_from_another_thread() {
    let (mut one, mut other) = pair();
    let handle = one.abort_handle();
    let waiting = thread::spawn(move || one.recv_exact(&mut [0]).unwrap_err());
    thread::sleep(Duration::from_millis(50));
    handle.abort();
    assert!(matches!(waiting.join().unwrap().cause, Cause::Aborted));
    assert!(matches!(other.recv_exact(&mut [0]).unwrap_err().cause, Cause::Lost));
}

#[test]
fn a_listener_serves_until_stopped() {
    let deployment = deployment();
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().to_string();
    let stop = listener.stop_handle();
    let tls = ServerTls::new(&identity(&deployment, Role::Dealer), &[Role::Server0, Role::Server1]);
    let (give, take) = mpsc::channel();
    let server = thread::spawn(move || {
        listener.serve(&tls, &SHORT, 2, |met| match met {
            Ok((mut connection, role)) => {
                let number: u32 = connection.recv(16).unwrap();
                connection.send(&(role, number + 1)).unwrap();
                connection.close().unwrap();
            }
            Err(error) => give.send(error).unwrap(),
        });
    });
    // Three peers that never say a word hold the two slots for a while.
    let hold: Vec<_> = (0..3).map(|_| TcpStream::connect(&address).unwrap()).collect();
    thread::sleep(Duration::from_millis(50));
    drop(hold);
    let clients: Vec<_> = [Role::Server0, Role::Server1, Role::Server0, Role::Server1]
        .into_iter()
        .zip(1_u32..)
        .map(|(role, number)| {
            let (tls, address) = (ClientTls::new(&identity(&deployment, role)), address.clone());
            thread::spawn(move || {
                let mut connection = connect(&address, &tls, Role::Dealer, &SHORT).unwrap();
                connection.send(&number).unwrap();
                assert_eq!(connection.recv::<(Role, u32)>(16).unwrap(), (role, number + 1));
                connection.close().unwrap();
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    for _ in 0..3 {
        assert!(matches!(take.recv().unwrap().cause, Cause::Lost));
    }
    stop.stop();
    server.join().unwrap();
    assert!(stop.is_stopped());
}

#[test]
fn accepting_ends_in_time_or_when_stopped() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().to_string();
    let error = Listener::bind(&taken).unwrap_err();
    assert!(error.to_string().contains(&taken), "{error}");

    assert!(listener.accept(Some(Duration::from_millis(20))).unwrap().is_none());
    let stop = listener.stop_handle();
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        stop.stop();
    });
    assert!(listener.accept(None).unwrap().is_none());
    assert!(listener.accept(None).unwrap().is_none());
    stopper.join().unwrap();
}

/// `cargo test --release -p symbolon --test net -- --ignored --nocapture throughput`
#[test]
#[ignore = "measures"]
fn throughput() {
    const LEN: usize = 64 << 20;
    const TIMES: usize = 16;
    #[allow(clippy::cast_precision_loss)]
    let gigabytes = (LEN * TIMES) as f64 / 1e9;
    let measure = |what: &str, run: &(dyn Fn(&mut Connection, bool, &mut [u8]) + Sync)| {
        let (mut one, mut other) = pair();
        let mut buffers = (vec![1; LEN], vec![1; LEN]);
        let start = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| (0..TIMES).for_each(|_| run(&mut other, true, &mut buffers.1)));
            (0..TIMES).for_each(|_| run(&mut one, false, &mut buffers.0));
        });
        println!("{what}: {:.2} GB/s each way used", gigabytes / start.elapsed().as_secs_f64());
    };
    measure("one way", &|connection, sender, bytes| {
        if sender { connection.send_bytes(bytes).unwrap() } else { connection.recv_exact(bytes).unwrap() }
    });
    let mine = vec![3; LEN];
    measure("exchange", &|connection, _, bytes| connection.exchange(&mine, bytes).unwrap());
    measure("in place", &|connection, _, bytes| {
        let mut add = |mine: &mut [u8], theirs: &[u8]| {
            for (mine, theirs) in mine.as_chunks_mut::<8>().0.iter_mut().zip(theirs.as_chunks::<8>().0) {
                *mine = u64::from_le_bytes(*mine).wrapping_add(u64::from_le_bytes(*theirs)).to_le_bytes();
            }
        };
        connection.exchange_in_place(bytes, &mut add).unwrap();
    });
    let (mut one, mut other) = pair();
    let rounds = 20_000_u32;
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| (0..rounds).for_each(|_| other.exchange(&[1; 100], &mut [0; 100]).unwrap()));
        (0..rounds).for_each(|_| one.exchange(&[1; 100], &mut [0; 100]).unwrap());
    });
    println!("rounds of 100 bytes: {:.1} us", start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
}
