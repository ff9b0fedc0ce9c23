//! The sensor node on emulated boards: what both servers join is what the sensor measured, before and after a reset.
#![allow(clippy::unwrap_used)]

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    time::{Duration, Instant},
};
use symbolon_core::report::{
    frame::{Decoder, Frame},
    header::DeviceId,
    identity::{Identity, PublicKey, SecretKey, ServerKey},
    record::{get, join},
    schema::Layout,
    session::Receiver,
};
use symbolon_tests::emulator::{Board, Emulated, Files, sizes};

const LONG: Duration = Duration::from_secs(30);
/// Readings of a record: four of 16 bits and a label.
const CODES: usize = 5;
const LAYOUT: Layout = Layout { words: 0, halves: 4, bytes: 0, labels: [1, 0, 0, 0], bits: 0 };
/// Reports that a node keeps.
const SLOTS: usize = 16;

/// Both servers, in one place; nothing is stored.
struct Servers {
    secrets: [SecretKey; 2],
    device: PublicKey,
    sessions: BTreeMap<u32, [Receiver; 2]>,
    /// By boot and sequence.
    records: BTreeMap<(u32, u32), Vec<i32>>,
}

impl Servers {
    /// Takes a frame of the device; the answers.
    fn take(&mut self, frame: &Frame<'_>) -> Vec<Frame<'static>> {
        let parts = frame.parts().unwrap();
        if let Frame::Start { header, .. } = frame {
            let boot = u32::from_le_bytes(header[9..13].try_into().unwrap());
            let session =
                |j: u8| Receiver::accept(j, &self.secrets[usize::from(j)], &self.device, &parts[usize::from(j)]);
            let sessions = [0, 1].map(|j| session(j).unwrap());
            let answers = sessions.iter().map(|s| Frame::Ack(s.ack(1, 0))).collect();
            self.sessions.insert(boot, sessions);
            return answers;
        }
        let Some((boot, sessions)) = self.sessions.last_key_value() else { return vec![] };
        let mut shares = [[0; 9]; 2];
        let mut sequence = 0;
        for ((session, part), share) in sessions.iter().zip(&parts).zip(&mut shares) {
            sequence = session.open(&LAYOUT, part, share).unwrap().id.sequence;
        }
        let [mut record, other] = shares;
        join(&LAYOUT, &mut record, &other);
        let codes = [0, 16, 32, 48, 64].map(|at| get(&record, at, if at == 64 { 8 } else { 16 }).cast_signed());
        let known = self.records.insert((*boot, sequence), codes.to_vec());
        assert!(known.is_none_or(|known| known == codes), "a report was sent again with other words");
        sessions.iter().map(|s| Frame::Ack(s.ack(sequence, 1))).collect()
    }

    /// Answers the device until `enough`.
    fn serve(&mut self, node: &mut Emulated, enough: impl Fn(&Self) -> bool) {
        node.serial.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut decoder = Box::new(Decoder::<512>::new());
        let (mut bytes, end) = ([0; 256], Instant::now() + LONG);
        while !enough(self) {
            assert!(Instant::now() < end && node.runs(), "{} records came", self.records.len());
            let Ok(len) = node.serial.read(&mut bytes) else { continue };
            for byte in &bytes[..len] {
                let Some(frame) = decoder.push(*byte) else { continue };
                for answer in self.take(&frame.unwrap()) {
                    let (mut plain, mut framed) = ([0; 256], [0; 260]);
                    node.serial.write_all(answer.encode_stream(&mut plain, &mut framed).unwrap()).unwrap();
                }
            }
        }
    }
}

/// A device, its key file, and the servers that know it.
fn provision() -> (Vec<u8>, Servers) {
    let mut rng = ChaCha20Rng::from_seed([4; 32]);
    let secret = SecretKey::generate(&mut rng);
    let secrets = [SecretKey::generate(&mut rng), SecretKey::generate(&mut rng)];
    let servers = [0, 1].map(|j: u8| ServerKey { id: u32::from(j), key: secrets[usize::from(j)].public() });
    let device = secret.public();
    let identity = Identity { device: DeviceId(7), secret, schema: [3; 32], layout: LAYOUT, servers };
    let servers = Servers { secrets, device, sessions: BTreeMap::new(), records: BTreeMap::new() };
    (identity.to_bytes().to_vec(), servers)
}

fn reading(i: usize) -> i32 {
    let label = i % CODES == CODES - 1;
    i32::try_from(if label { i / CODES % 2 } else { 37 * i }).unwrap()
}

#[test]
fn servers_join_what_the_sensor_measured() {
    for board in [Board::CortexM4, Board::RiscV32].into_iter().filter(|b| b.available()) {
        let (blob, mut servers) = provision();
        let recorded: Vec<i32> = (0..60 * CODES).map(reading).collect();
        let files =
            Files { seed: Some([1; 32]), blob: Some(blob), boots: 0, readings: recorded[..40 * CODES].to_vec() };
        let mut node = Emulated::boot(board, "sensor_node", files);
        servers.serve(&mut node, |s| s.records.len() == 20);
        let before = node.reset();
        node.feed(&recorded[40 * CODES..]);
        // The last record comes; what waited at the reset may be lost.
        servers.serve(&mut node, |s| s.records.values().any(|r| *r == recorded[59 * CODES..]));

        assert_eq!(node.counted(), 2);
        let boots: Vec<u32> = servers.sessions.keys().copied().collect();
        assert_eq!(boots, [1, 2], "{board:?}: {before:?}");
        let expected: Vec<&[i32]> = recorded.chunks(CODES).collect();
        let mut places = servers
            .records
            .values()
            .map(|r| expected.iter().position(|e| e == r).expect("a record that nobody measured"));
        let places: Vec<usize> = places.by_ref().collect();
        assert!(places.is_sorted_by(|a, b| a < b), "{board:?}: a record came twice, or in another order: {places:?}");
        assert!(places.len() + SLOTS >= expected.len(), "{board:?}: more was lost than waited: {places:?}");
        let sizes = sizes(&board.build("sensor_node"));
        println!("{board:?}: {} bytes of flash, {} of RAM", sizes.flash_bytes, sizes.ram_bytes);
        if board == Board::CortexM4 {
            assert!(sizes.ram_bytes <= 8 * 1024);
        }
    }
}
