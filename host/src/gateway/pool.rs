//! Room that sources share: memory, disk, connections.
//!
//! A dynamic threshold (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking 6(2), 1998; alpha = 1): a source takes
//! more while it holds less than is free.
//!
//! - **Bounds:** one source alone ends at half. `n` that fill the room together end at `1 / (n + 1)` each, and as much stays free for who holds nothing. One after the other, while nothing
//!   leaves, each gets half of what those before it left. What is taken last may pass a bound, by its own size.
//! - **Order:** while nothing is given back, who was told that there is no room is told so again, whatever others take: its later parts do not overtake those before.
//! - **Cost:** a look into a hash table a call; an entry for each source that holds something.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Whose room is counted together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Source {
    /// A host, by its address and not by connection: it can open many.
    V4(Ipv4Addr),
    /// A network of 64 bits: a host in it has as many addresses as it likes.
    V6([u16; 4]),
    /// A serial port, by its place in the configuration, from 0.
    Serial(u16),
    /// The broker, with all who publish there.
    Broker,
    /// Who sent what lay on disk when the file was opened, at a start or after an error of the disk: that was forgotten.
    Past,
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4(address) => write!(f, "{address}"),
            Self::V6([a, b, c, d]) => write!(f, "{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)),
            Self::Serial(port) => write!(f, "serial port {port}"),
            Self::Broker => f.write_str("the broker"),
            Self::Past => f.write_str("an earlier run"),
        }
    }
}

/// Room, and what each source holds of it.
pub(super) struct Pool {
    size: u64,
    used: u64,
    held: HashMap<Source, u64>,
}

impl Pool {
    pub(super) fn new(size: u64) -> Self {
        Self { size, used: 0, held: HashMap::new() }
    }

    /// Takes `amount` if the source holds less than is free; says whether it did.
    pub(super) fn take(&mut self, source: Source, amount: u64) -> bool {
        let free = self.free();
        match self.held.entry(source) {
            Entry::Occupied(held) if *held.get() >= free => return false,
            Entry::Vacant(_) if free == 0 => return false,
            held => *held.or_default() += amount,
        }
        self.used += amount;
        true
    }

    /// Whether [`Self::take`] would.
    pub(super) fn has_room(&self, source: Source) -> bool {
        self.held(source) < self.free()
    }

    /// Takes `amount`, whether there is room or not.
    pub(super) fn put(&mut self, source: Source, amount: u64) {
        *self.held.entry(source).or_default() += amount;
        self.used += amount;
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&mut self, source: Source, amount: u64) {
        self.used -= amount;
        if let Entry::Occupied(mut held) = self.held.entry(source) {
            *held.get_mut() -= amount;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }

    /// What all hold.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Whether the source holds something, and no less than the mean.
    pub(super) fn is_heavy(&self, source: Source) -> bool {
        let held = self.held(source);
        held > 0 && held.saturating_mul(self.held.len() as u64) >= self.used
    }

    /// What the source holds.
    pub(super) fn held(&self, source: Source) -> u64 {
        self.held.get(&source).copied().unwrap_or(0)
    }

    fn free(&self) -> u64 {
        self.size.saturating_sub(self.used)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// Takes one by one until there is no room; returns how many.
    fn fill(pool: &mut Pool, source: Source) -> u64 {
        (0..).find(|_| !pool.take(source, 1)).unwrap()
    }

    #[test]
    fn one_alone_gets_half_and_the_next_half_of_the_rest() {
        let mut pool = Pool::new(1000);
        assert_eq!(fill(&mut pool, Source::Broker), 500);
        assert_eq!([0, 1, 2].map(|port| fill(&mut pool, Source::Serial(port))), [250, 125, 63]);
        // Who holds nothing gets in as long as anything is free.
        assert!(!pool.has_room(Source::Broker) && pool.has_room(Source::Serial(3)));
        pool.give_back(Source::Broker, 500);
        assert_eq!(fill(&mut pool, Source::Broker), 281);
    }

    #[test]
    fn those_who_fill_it_together_get_the_same_and_leave_as_much() {
        let mut pool = Pool::new(1000);
        while (0..9).filter(|port| pool.take(Source::Serial(*port), 1)).count() > 0 {}
        assert!((0..9).all(|port| pool.held(Source::Serial(port)) == 100), "{:?}", pool.held);
        assert_eq!(pool.free(), 100);
    }

    #[test]
    fn edges() {
        let mut none = Pool::new(0);
        assert!(!none.has_room(Source::Broker) && !none.take(Source::Broker, 1) && none.held.is_empty());
        // A single place is the first one's; an odd number leaves the smaller half.
        for (size, alone) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)] {
            assert_eq!(fill(&mut Pool::new(size), Source::Broker), alone, "{size}");
        }
        // Larger than all: taken, for there was room, and then nobody takes more.
        let mut pool = Pool::new(10);
        assert!(pool.take(Source::Broker, 25));
        assert!(!pool.has_room(Source::Serial(0)) && !pool.take(Source::Serial(0), 1));
        pool.give_back(Source::Broker, 25);
        assert!(pool.held.is_empty() && pool.take(Source::Serial(0), 1));
        pool.put(Source::Past, 100);
        assert!(!pool.has_room(Source::Broker) && pool.used() == 101);
    }

    #[test]
    fn who_holds_more_than_others_is_heavy() {
        let mut pool = Pool::new(100);
        assert!(!pool.is_heavy(Source::Broker));
        assert!(pool.take(Source::Broker, 1) && pool.is_heavy(Source::Broker));
        assert!(pool.take(Source::Serial(0), 2));
        assert!(
            !pool.is_heavy(Source::Broker) && pool.is_heavy(Source::Serial(0)) && !pool.is_heavy(Source::Serial(1))
        );
    }

    #[test]
    fn a_host_is_one_source_whatever_addresses_it_takes() {
        let source = |address: &str| Source::from(address.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
    }

    proptest! {
        /// Sources take and give back at random: sums agree, no bound is passed by more than a part, and a refusal stands until something is given back.
        #[test]
        fn the_rule_holds(size in 1u64..500, steps: Vec<(u8, u8, bool)>) {
            let mut pool = Pool::new(size);
            let (mut taken, mut refused) = (Vec::new(), Vec::new());
            for (who, amount, gives) in steps {
                let (source, amount) = (Source::Serial(u16::from(who % 5)), u64::from(amount) + 1);
                let had_room = pool.held(source) < pool.free();
                prop_assert_eq!(pool.has_room(source), had_room);
                if gives && !taken.is_empty() {
                    let (source, amount) = taken.swap_remove(usize::from(who) % taken.len());
                    pool.give_back(source, amount);
                    refused.clear();
                } else if pool.take(source, amount) {
                    prop_assert!(had_room && !refused.contains(&source));
                    prop_assert!(pool.held(source) <= size / 2 + amount && pool.used() < size + amount);
                    taken.push((source, amount));
                } else {
                    prop_assert!(!had_room);
                    refused.push(source);
                }
                prop_assert_eq!(pool.used(), taken.iter().map(|(_, amount)| amount).sum::<u64>());
                prop_assert_eq!(pool.used(), pool.held.values().sum::<u64>());
                prop_assert!(pool.held.values().all(|held| *held > 0));
            }
        }
    }
}
