//! What passes: exchanges, folds, messages, last words, and how fast.

use super::*;

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
