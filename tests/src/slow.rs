//! A line of few bytes a second between two roles.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// Pieces that a second is cut into.
const PIECES: usize = 20;

/// Passes connections on to `port`, each way with at most `bytes_per_second` a connection; returns
/// where it listens.
///
/// # Panics
///
/// If there is no port, or nothing listens at `port`.
#[must_use]
pub fn slow_line(port: u16, bytes_per_second: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let far = TcpStream::connect(("127.0.0.1", port)).unwrap();
            for (from, to) in [(&near, &far), (&far, &near)] {
                to.set_nodelay(true).unwrap();
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                thread::spawn(move || pass(from, to, bytes_per_second / PIECES));
            }
        }
    });
    own
}

fn pass(mut from: TcpStream, mut to: TcpStream, piece: usize) {
    let mut bytes = vec![0; piece];
    while let Ok(len @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..len]).is_err() {
            break;
        }
        // In proportion: a short message does not wait for a whole piece's time.
        thread::sleep(Duration::from_secs_f64(len as f64 / (piece * PIECES) as f64));
    }
    let _ = to.shutdown(Shutdown::Write);
}
