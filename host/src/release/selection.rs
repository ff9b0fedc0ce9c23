//! The records of a manifest that a job covers, and the difference between two jobs' records.

use crate::{
    intake::manifest::Manifest,
    job::{Held, Reports, Senders, Set, Sorter},
};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use symbolon_core::report::{header::DeviceId, schema::SchemaHash};

/// The records that a job trains on and is tested on.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Digest of the manifest.
    pub manifest: [u8; 32],
    /// Hash of the records' schema.
    pub schema: SchemaHash,
    /// The devices whose records are for training.
    pub train: Senders,
    /// The records for testing.
    pub test: Held,
}

/// A record's name: device, boot and number.
type Name = (u64, u32, u32);

impl Selection {
    /// Returns the selection of a job that learns from reports.
    pub fn of(reports: &Reports) -> Self {
        Self {
            manifest: reports.manifest,
            schema: reports.records.schema,
            train: reports.train.clone(),
            test: reports.test.clone(),
        }
    }

    /// Returns each record and its set, in the manifest's order, which is the order of the names.
    fn records<'a>(&'a self, manifest: &'a Manifest) -> impl Iterator<Item = (Name, Set)> {
        let mut sorter = Sorter::new(&self.train, &self.test);
        let names = manifest
            .spans
            .iter()
            .flat_map(|span| (0..span.count).map(|i| (span.device, span.boot, span.first.wrapping_add(i))));
        names.filter_map(move |name| Some((name, sorter.next(DeviceId(name.0))?)))
    }
}

/// Returns by how many records the sets of two selections differ: training sets, test sets, `a`'s
/// training set and `b`'s test set, `a`'s test set and `b`'s training set.
pub fn difference(a: (&Selection, &Manifest), b: (&Selection, &Manifest)) -> [u64; 4] {
    let mut differ = [0; 4];
    let [mut ours, mut theirs] = [a.0.records(a.1), b.0.records(b.1)];
    let (mut x, mut y) = (ours.next(), theirs.next());
    loop {
        let order = match (x, y) {
            (None, None) => return differ,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((x, _)), Some((y, _))) => x.cmp(&y),
        };
        let sets = [x.filter(|_| order.is_le()), y.filter(|_| order.is_ge())].map(|record| record.map(|(_, set)| set));
        for (differ, [own, other]) in differ.iter_mut().zip(PAIRS) {
            *differ += u64::from((sets[0] == Some(own)) != (sets[1] == Some(other)));
        }
        if order.is_le() {
            x = ours.next();
        }
        if order.is_ge() {
            y = theirs.next();
        }
    }
}

/// Pairs of sets, of one selection and of another.
const PAIRS: [[Set; 2]; 4] =
    [[Set::Train, Set::Train], [Set::Test, Set::Test], [Set::Train, Set::Test], [Set::Test, Set::Train]];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::manifest::Span;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn manifest(counts: &[u32]) -> Manifest {
        let spans = (1..).zip(counts).filter(|(_, count)| **count > 0);
        let spans = spans.map(|(device, count)| Span::unlabelled(device, 1, 0, *count)).collect();
        Manifest { schema: [1; 32], labels: None, spans }
    }

    fn selection(train: Senders, test: Held) -> Selection {
        Selection { manifest: [0; 32], schema: [1; 32], train, test }
    }

    #[test]
    fn records_that_change_sets_count_in_both() {
        let (all, fifth) = (selection(Senders::All, Held::None), selection(Senders::All, Held::Every(5)));
        let m = manifest(&[7, 3]);
        assert_eq!(difference((&all, &m), (&all, &m)), [0, 0, 10, 10]);
        assert_eq!(difference((&all, &m), (&fifth, &m)), [2, 2, 8, 8]);
        let one = selection(Senders::Only(vec![1]), Held::Of(vec![2]));
        assert_eq!(difference((&all, &m), (&one, &m)), [3, 3, 7, 7]);
        assert_eq!(difference((&all, &m), (&all, &manifest(&[7, 4]))), [1, 0, 10, 11]);
    }

    proptest! {
        /// Against sets of names.
        #[test]
        fn differences_are_those_of_sets(a in prop::collection::vec(0u32..9, 4), b in prop::collection::vec(0u32..9, 4), every in 2u64..6, only in any::<bool>()) {
            let train = if only { Senders::Only(vec![1, 3]) } else { Senders::All };
            let (x, y) = (selection(train, Held::Every(every)), selection(Senders::All, Held::Of(vec![2])));
            let (m, n) = (manifest(&a), manifest(&b));
            let [p, q]: [BTreeMap<_, _>; 2] = [x.records(&m).collect(), y.records(&n).collect()];
            let count = |[own, other]: [Set; 2]| {
                let names = p.keys().chain(q.keys().filter(|name| !p.contains_key(name)));
                names.filter(|name| (p.get(name) == Some(&own)) != (q.get(name) == Some(&other))).count() as u64
            };
            prop_assert_eq!(difference((&x, &m), (&y, &n)), PAIRS.map(count));
        }
    }
}
