//! Both servers' ends for one device on an emulated board, in one place; nothing is stored.

use crate::emulator::Emulated;
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
    record::join,
    schema::Layout,
    session::Receiver,
};

const LONG: Duration = Duration::from_secs(30);

/// Two servers that know one device, and see its records.
pub struct Servers {
    layout: Layout,
    secrets: [SecretKey; 2],
    device: PublicKey,
    /// By boot.
    pub sessions: BTreeMap<u32, [Receiver; 2]>,
    /// Joined, by boot and sequence.
    pub records: BTreeMap<(u32, u32), Vec<u8>>,
}

impl Servers {
    /// Makes a device's key file, and the servers that know it.
    #[must_use]
    pub fn provision(layout: Layout) -> (Vec<u8>, Self) {
        let mut rng = ChaCha20Rng::from_seed([4; 32]);
        let secret = SecretKey::generate(&mut rng);
        let secrets = [SecretKey::generate(&mut rng), SecretKey::generate(&mut rng)];
        let servers = [0, 1].map(|j: u8| ServerKey { id: u32::from(j), key: secrets[usize::from(j)].public() });
        let device = secret.public();
        let identity = Identity { device: DeviceId(7), secret, schema: [3; 32], layout, servers };
        let servers = Self { layout, secrets, device, sessions: BTreeMap::new(), records: BTreeMap::new() };
        (identity.to_bytes().to_vec(), servers)
    }

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
        let mut shares = [0, 1].map(|_| vec![0; self.layout.record_bytes()]);
        let mut sequence = 0;
        for ((session, part), share) in sessions.iter().zip(&parts).zip(&mut shares) {
            sequence = session.open(&self.layout, part, share).unwrap().id.sequence;
        }
        let [mut record, other] = shares;
        join(&self.layout, &mut record, &other);
        let known = self.records.insert((*boot, sequence), record.clone());
        assert!(known.is_none_or(|known| known == record), "a report was sent again with other words");
        sessions.iter().map(|s| Frame::Ack(s.ack(sequence, 1))).collect()
    }

    /// Answers the device until `enough`.
    ///
    /// # Panics
    ///
    /// If that does not come in time, or the device says something else than reports.
    pub fn serve(&mut self, node: &mut Emulated, enough: impl Fn(&Self) -> bool) {
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
