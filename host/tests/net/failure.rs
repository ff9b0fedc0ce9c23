//! Peers that die, lie, stall or stop.

use super::*;

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

/// Two handshakes of a strange address, four of a known one; six connections of a role.
const CAPACITY: Capacity = Capacity { strangers: 8, known: 8, connections: 8 };

#[test]
fn a_listener_serves_until_stopped() {
    let deployment = deployment();
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().to_string();
    let stop = listener.stop_handle();
    let tls = ServerTls::new(&identity(&deployment, Role::Dealer), &[Role::Server0, Role::Server1]);
    let (give, take) = mpsc::channel();
    let server = thread::spawn(move || {
        listener.serve(&tls, &SHORT, CAPACITY, |met| match met {
            Ok((mut connection, role)) => {
                let Ok(number) = connection.recv::<u32>(16) else { return };
                connection.send(&(role, number + 1)).unwrap();
                connection.close().unwrap();
            }
            Err(error) => give.send(error).unwrap(),
        });
    });
    // Peers that never say a word hold the slots for strangers of their address; one more is
    // closed.
    let hold: Vec<_> = (0..3).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let error = take.recv().unwrap();
    assert!(matches!(error.cause, Cause::Crowded) && error.to_string().contains("hold all slots"), "{error}");
    drop(hold);
    for _ in 0..2 {
        assert!(matches!(take.recv().unwrap().cause, Cause::Lost));
    }
    let known = connect(&address, &ClientTls::new(&identity(&deployment, Role::Server0)), Role::Dealer, &SHORT);
    let mut known = known.unwrap();
    known.send(&7_u32).unwrap();
    known.recv::<(Role, u32)>(16).unwrap();
    known.close().unwrap();
    // Now the address is known: four handshakes at once.
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
    thread::sleep(Duration::from_millis(200)); // the last handlers return
    // The connections that server 0 may have are taken, and one of server 1 is served.
    let reach = |role| connect(&address, &ClientTls::new(&identity(&deployment, role)), Role::Dealer, &SHORT);
    let held: Vec<_> = (0..6).map(|_| reach(Role::Server0).unwrap()).collect();
    for error in [reach(Role::Server0).unwrap_err(), take.recv().unwrap()] {
        assert!(matches!(error.cause, Cause::Full { role: Role::Server0 }), "{error}");
    }
    let mut other = reach(Role::Server1).unwrap();
    drop(held);
    other.send(&1_u32).unwrap();
    assert_eq!(other.recv::<(Role, u32)>(16).unwrap(), (Role::Server1, 2));
    drop(other);
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
