//! A bad line between devices and their gateway: frames are lost, repeated, swapped and damaged, as a seed says.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// How bad a line is: of a thousand frames, so many.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Are lost.
    pub lost: u32,
    /// Come twice.
    pub repeated: u32,
    /// Come after the one behind them.
    pub swapped: u32,
    /// Have a byte changed, or are cut.
    pub damaged: u32,
}

impl Rates {
    /// A tenth of all frames for each fault.
    pub const TENTH: Self = Self { lost: 100, repeated: 100, swapped: 100, damaged: 100 };
}

/// A small generator for faults (xorshift64*); nothing secret comes from it.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall as `seed` says.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    #[allow(clippy::cast_possible_truncation)]
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32;
        ((u64::from(high) * u64::from(bound)) >> 32) as u32
    }

    /// True `rate` times in a thousand.
    pub fn hit(&mut self, rate: u32) -> bool {
        self.below(1000) < rate
    }
}

/// A line to a gateway. Ends when dropped.
#[derive(Debug)]
pub struct Noise {
    /// Where devices connect.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rates: Rates,
    /// Where the gateway listens.
    gateway: AtomicU16,
    /// Faults so far.
    faults: AtomicU64,
    quiet: AtomicBool,
    stop: AtomicBool,
}

impl Noise {
    /// A line to the gateway at `gateway`.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    #[must_use]
    pub fn start(seed: u64, rates: Rates, gateway: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            rates,
            gateway: AtomicU16::new(gateway),
            faults: AtomicU64::new(0),
            quiet: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        listener.set_nonblocking(true).unwrap();
        thread::spawn(move || {
            let mut connections = 0;
            while !own.stop.load(Ordering::Acquire) {
                match listener.accept() {
                    Ok((near, _)) => {
                        connections += 1;
                        near.set_nonblocking(false).unwrap();
                        join(near, &own, seed ^ (connections << 32));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Self { port, shared }
    }

    /// Faults so far.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.shared.faults.load(Ordering::Relaxed)
    }

    /// From now on nothing happens to frames.
    pub fn quiet(&self) {
        self.shared.quiet.store(true, Ordering::Release);
    }

    /// The gateway has moved.
    pub fn redirect(&self, gateway: u16) {
        self.shared.gateway.store(gateway, Ordering::Release);
    }

    /// Passes the bytes of a device that is connected already, such as an emulator's serial line. Its connection ends when the gateway's does.
    pub fn carry(&self, near: TcpStream, seed: u64) {
        join(near, &self.shared, seed);
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

/// Passes frames both ways between a device and the gateway.
fn join(near: TcpStream, shared: &Arc<Shared>, seed: u64) {
    let Ok(far) = TcpStream::connect(("127.0.0.1", shared.gateway.load(Ordering::Acquire))) else {
        let _ = near.shutdown(Shutdown::Both);
        return;
    };
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
    }
    let ways = [(near.try_clone(), far.try_clone(), seed), (Ok(far), Ok(near), !seed)];
    for (from, to, seed) in ways {
        let (Ok(from), Ok(to), shared) = (from, to, Arc::clone(shared)) else { return };
        thread::spawn(move || pass(from, to, &shared, Dice::new(seed)));
    }
}

/// Passes frames one way, with faults.
fn pass(mut from: TcpStream, mut to: TcpStream, shared: &Shared, mut dice: Dice) {
    let (mut bytes, mut frame, mut held) = ([0; 4096], Vec::new(), None::<Vec<u8>>);
    // A frame that is held back for the next goes alone when none comes.
    let _ = from.set_read_timeout(Some(Duration::from_millis(50)));
    while !shared.stop.load(Ordering::Acquire) {
        let read = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                match held.take() {
                    Some(frame) if to.write_all(&frame).is_err() => break,
                    _ => continue,
                }
            }
            Err(_) => break,
        };
        let mut out = Vec::new();
        for byte in &bytes[..read] {
            frame.push(*byte);
            if *byte == 0 {
                fault(shared, &mut dice, std::mem::take(&mut frame), &mut held, &mut out);
            }
        }
        if to.write_all(&out).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// What becomes of a frame.
fn fault(shared: &Shared, dice: &mut Dice, mut frame: Vec<u8>, held: &mut Option<Vec<u8>>, out: &mut Vec<u8>) {
    let Rates { lost, repeated, swapped, damaged } = shared.rates;
    let quiet = shared.quiet.load(Ordering::Acquire);
    let mut happens = |rate| {
        let hit = dice.hit(rate) && !quiet;
        shared.faults.fetch_add(u64::from(hit), Ordering::Relaxed);
        hit
    };
    let (lost, repeated, swapped, damaged) = (happens(lost), happens(repeated), happens(swapped), happens(damaged));
    let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    if damaged && len > 1 {
        let at = dice.below(len - 1) as usize;
        match dice.below(4) {
            0 => drop(frame.drain(at..=at)),
            _ => frame[at] ^= 1 << dice.below(8), // a zero splits the frame: that happens to lines, too
        }
    }
    match () {
        () if lost => {}
        () if swapped && held.is_none() => *held = Some(frame),
        () => {
            out.extend_from_slice(&frame);
            if repeated {
                out.extend_from_slice(&frame);
            }
            out.extend(held.take().into_iter().flatten());
        }
    }
}
