//! Admission of peers at a listener: handshakes by address, and connections by role.
//!
//! Before a handshake, a peer is only an address. Addresses that never authenticated here share a
//! few slots, and one of them gets a quarter of these at most. Known addresses, those that
//! authenticated before, have slots of their own; one of them gets half of these at most. A
//! connection without a slot is closed at once. So unknown peers that connect and send nothing keep
//! no known peer out. An address is an IPv4 address or an IPv6 network of 64 bits.

use super::role::Role;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Most known addresses; the address that authenticated longest ago is forgotten first.
const MAX_KNOWN: usize = 1024;
/// Shortest time between two reports of closed connections.
const REPORT: Duration = Duration::from_secs(60);

/// The number of peers that a listener serves at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capacity {
    /// Most handshakes of addresses that never authenticated here; at least 4, so that an address
    /// gets 1.
    pub strangers: usize,
    /// Most handshakes of known addresses; at least 2.
    pub known: usize,
    /// Most authenticated connections, each with a thread. One role gets three quarters at most.
    pub connections: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { strangers: 32, known: 64, connections: 1024 }
    }
}

impl Capacity {
    /// Returns the most connections of one role.
    pub(super) fn of_role(&self) -> usize {
        (self.connections - self.connections / 4).max(1)
    }
}

/// Counts a listener's handshakes and connections.
pub(super) struct Door {
    capacity: Capacity,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the last authentication of each known address.
    known: HashMap<IpAddr, u64>,
    authenticated: u64,
    /// Running handshakes by address; below, those of all unknown and of all known addresses.
    handshakes: HashMap<IpAddr, usize>,
    strangers: usize,
    acquaintances: usize,
    connections: HashMap<Role, usize>,
    reported: Option<Instant>,
}

/// A handshake's slot; free again when dropped.
pub(super) struct Knock<'a> {
    door: &'a Door,
    address: IpAddr,
    known: bool,
}

/// An authenticated connection's place; free again when dropped.
pub(super) struct Inside<'a> {
    door: &'a Door,
    role: Role,
}

impl Door {
    pub(super) fn new(capacity: Capacity) -> Self {
        Self { capacity, state: Mutex::default() }
    }

    /// Takes a slot for a handshake of `address`; returns `None` if all of its slots are taken.
    pub(super) fn knock(&self, address: IpAddr) -> Option<Knock<'_>> {
        let address = network(address);
        let mut state = self.lock();
        let known = state.known.contains_key(&address);
        let (all, most, share) = match known {
            true => (state.acquaintances, self.capacity.known, self.capacity.known / 2),
            false => (state.strangers, self.capacity.strangers, self.capacity.strangers / 4),
        };
        if all >= most || state.handshakes.get(&address).is_some_and(|own| *own >= share.max(1)) {
            return None;
        }
        *state.handshakes.entry(address).or_default() += 1;
        *state.slots(known) += 1;
        Some(Knock { door: self, address, known })
    }

    /// Returns whether a report of closed connections is due; if so, counts it as made.
    pub(super) fn reports(&self) -> bool {
        let mut state = self.lock();
        let due = state.reported.is_none_or(|at| at.elapsed() >= REPORT);
        if due {
            state.reported = Some(Instant::now());
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn slots(&mut self, known: bool) -> &mut usize {
        if known { &mut self.acquaintances } else { &mut self.strangers }
    }

    fn remember(&mut self, address: IpAddr) {
        self.authenticated += 1;
        self.known.insert(address, self.authenticated);
        if self.known.len() > MAX_KNOWN {
            let oldest = self.known.iter().min_by_key(|(_, last)| **last).map(|(address, _)| *address);
            oldest.map(|address| self.known.remove(&address));
        }
    }
}

impl<'a> Knock<'a> {
    /// Takes a place for the peer, which authenticated itself as `role`, and remembers its address.
    /// Returns `None` if all connections, or those of the role, are taken.
    pub(super) fn enter(&self, role: Role) -> Option<Inside<'a>> {
        let mut state = self.door.lock();
        state.remember(self.address);
        let all: usize = state.connections.values().sum();
        let own = state.connections.entry(role).or_default();
        if all >= self.door.capacity.connections || *own >= self.door.capacity.of_role() {
            return None;
        }
        *own += 1;
        Some(Inside { door: self.door, role })
    }
}

impl Drop for Knock<'_> {
    fn drop(&mut self) {
        let mut state = self.door.lock();
        *state.slots(self.known) -= 1;
        if let Some(own) = state.handshakes.get_mut(&self.address) {
            *own -= 1;
        }
        state.handshakes.retain(|_, own| *own > 0);
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some(own) = self.door.lock().connections.get_mut(&self.role) {
            *own -= 1;
        }
    }
}

/// Returns the address by which a peer is counted: an IPv4 address, or an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const CAPACITY: Capacity = Capacity { strangers: 8, known: 4, connections: 4 };

    fn at(host: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, host])
    }

    #[test]
    fn strangers_share_a_few_slots() {
        let door = Door::new(CAPACITY);
        let one: Vec<_> = (0..3).map_while(|_| door.knock(at(1))).collect();
        assert_eq!(one.len(), 2, "a quarter for one address");
        let others: Vec<_> = (2..9).map_while(|host| door.knock(at(host))).collect();
        assert_eq!(others.len(), 6, "and no more for all");
        drop(one);
        assert!(door.knock(at(9)).is_some());
        assert_eq!(door.lock().handshakes.len(), 6, "an address without a handshake is forgotten");
    }

    #[test]
    fn a_known_address_comes_in_beside_strangers() {
        let door = Door::new(CAPACITY);
        drop(door.knock(at(1)).unwrap().enter(Role::Client));
        let strangers: Vec<_> = (2..99).filter_map(|host| door.knock(at(host))).collect();
        assert_eq!(strangers.len(), 8);
        let known: Vec<_> = (0..9).map_while(|_| door.knock(at(1))).collect();
        assert_eq!(known.len(), 2, "half of the known addresses' slots");
    }

    #[test]
    fn the_address_that_came_longest_ago_is_forgotten() {
        let mut state = State::default();
        for i in 0..=MAX_KNOWN as u128 {
            state.remember(IpAddr::V6((i << 64).into()));
        }
        assert_eq!(state.known.len(), MAX_KNOWN);
        assert!(!state.known.contains_key(&network(IpAddr::V6(1.into()))));
    }

    #[test]
    fn no_role_has_all_connections() {
        let door = Door::new(CAPACITY);
        let knock = door.knock(at(1)).unwrap();
        let clients: Vec<_> = (0..9).map_while(|_| knock.enter(Role::Client)).collect();
        assert_eq!(clients.len(), 3);
        let server = knock.enter(Role::Server1);
        assert!(server.is_some() && knock.enter(Role::Gateway).is_none());
        drop(clients);
        assert!(knock.enter(Role::Client).is_some());
    }

    #[test]
    fn an_address_is_a_network_of_64_bits() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), at(1));
    }
}
