//! Who meets whom: roles, certificates, versions, and who is not there.

use super::*;

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
