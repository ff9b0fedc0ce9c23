//! A device's identity and both servers' ends of its sessions.

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use symbolon_core::report::{
    frame::{Frame, Part},
    header::DeviceId,
    identity::{Identity, PublicKey, SecretKey, ServerKey},
    schema::{Field, Kind, Schema, Width},
    session::Receiver,
};

pub fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn reading(name: &str, count: u16, width: Width) -> Field<'_> {
    Field { name, count, kind: Kind::Reading { width, offset: 0.0, step: 1.0, unit: "" } }
}

/// All widths, two labels, bits that do not fill their last byte.
pub fn mixed() -> Vec<Field<'static>> {
    let label = |name, bits, classes| Field { name, count: 1, kind: Kind::Label { bits, classes } };
    vec![
        reading("door", 3, Width::Bit),
        reading("t", 20, Width::Half),
        label("class", 3, 6),
        reading("level", 5, Width::Byte),
        reading("counter", 9, Width::Word),
        label("other", 8, 256),
        reading("motion", 8, Width::Bit),
    ]
}

pub struct World {
    pub identity: Identity,
    pub device_key: PublicKey,
    pub servers: [SecretKey; 2],
}

pub fn world(fields: &[Field<'_>]) -> World {
    let schema = Schema { task: "test", fields };
    let servers = [SecretKey::generate(&mut rng(1)), SecretKey::generate(&mut rng(2))];
    let secret = SecretKey::generate(&mut rng(3));
    let device_key = secret.public();
    let key = |i: usize, id| ServerKey { id, key: servers[i].public() };
    let identity = Identity {
        device: DeviceId(0x0123_4567_89ab_cdef),
        secret,
        schema: schema.hash(),
        layout: schema.layout().unwrap(),
        servers: [key(0, 7), key(1, 9)],
    };
    World { identity, device_key, servers }
}

impl World {
    /// Both servers accept a start.
    pub fn accept(&self, start: &Frame<'_>) -> [Receiver; 2] {
        let parts = start.parts().unwrap();
        [0, 1].map(|i: u8| self.accept_at(i, &parts[usize::from(i)]).unwrap())
    }

    pub fn accept_at(&self, i: u8, part: &Part<'_>) -> Result<Receiver, symbolon_core::report::Reason> {
        Receiver::accept(i, &self.servers[usize::from(i)], &self.device_key, part)
    }
}
