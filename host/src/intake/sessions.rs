//! Sessions in memory. A session that is not here is derived again from its stored start.

use std::collections::HashMap;
use symbolon_core::report::{
    header::DeviceId,
    identity::PublicKey,
    schema::{Layout, SchemaHash},
    session::Receiver,
};

/// A device's session of one boot.
pub(super) struct Session {
    pub(super) receiver: Receiver,
    /// Random: tells this start from any other.
    pub(super) started: [u8; 16],
    /// What its records hold.
    pub(super) schema: SchemaHash,
    /// Number of the schema in the store.
    pub(super) number: u32,
    pub(super) layout: Layout,
    /// The device's key that it was started with.
    pub(super) device_key: PublicKey,
    /// Number of this server's key that it was sealed to.
    pub(super) server_key: u32,
}

type Map = HashMap<(DeviceId, u32), Session>;

/// The sessions used last: two generations of at most `room`. When the young one is full it becomes the old one, which is forgotten; so the last `room` that were used
/// are always here.
pub(super) struct Sessions {
    young: Map,
    old: Map,
    room: usize,
}

impl Sessions {
    pub(super) fn new(room: usize) -> Self {
        Self { young: Map::new(), old: Map::new(), room }
    }

    /// The session, which was used now.
    pub(super) fn get(&mut self, device: DeviceId, boot: u32) -> Option<&Session> {
        let key = (device, boot);
        if let Some(session) = self.old.remove(&key) {
            self.insert(device, boot, session);
        }
        self.young.get(&key)
    }

    /// The session, if it is here.
    pub(super) fn peek(&self, device: DeviceId, boot: u32) -> Option<&Session> {
        let key = (device, boot);
        self.young.get(&key).or_else(|| self.old.get(&key))
    }

    pub(super) fn insert(&mut self, device: DeviceId, boot: u32, session: Session) {
        if self.young.len() >= self.room {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert((device, boot), session);
    }

    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}
