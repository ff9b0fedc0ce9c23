//! Two ends over loopback: authentication, transfers, and every way in which a peer can fail.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod failure;
mod meeting;
mod transfer;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use symbolon::net::{
    Capacity, Cause, CertificateFault, ClientTls, Connection, Deployment, GRANULE, Hosts, Identity, Listener, NetError,
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
