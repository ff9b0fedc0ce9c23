//! Every set of kernels that this processor runs against the portable one, bit for bit.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod products;
mod shapes;
mod streams;

use super::{HostWord, available};
use proptest::prelude::*;
use shapes::{Arg, Case};
use symbolon_core::{
    kernel::{Kernels, portable},
    with_kernels,
};

/// For one word size: all names, and a call of the kernel of that name on arguments that a case determines.
macro_rules! list {
    ($(fn $name:ident($($arg:ident: $ty:ty),*);)*) => {
        pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// What the kernel writes.
        pub(super) fn call(kernels: &dyn Kernels<W>, case: &Case) -> Vec<W> {
            let mut outputs = Vec::new();
            match case.kernel {
                $(stringify!($name) => {
                    $(let mut $arg = <$ty as Arg<'_, W>>::own(case, stringify!($arg));)*
                    kernels.$name($(<$ty as Arg<'_, W>>::lend(&mut $arg)),*);
                    $(outputs.extend_from_slice(<$ty as Arg<'_, W>>::written(&$arg));)*
                })*
                other => panic!("no kernel is called {other}"),
            }
            outputs
        }
    };
}
mod narrow {
    use super::*;
    type W = u32;
    with_kernels!(list);
}
mod wide {
    use super::*;
    type W = u64;
    with_kernels!(list);
}

/// Runs the case on all sets but the portable one, which comes last.
fn check<W: HostWord + Eq>(case: &Case, call: fn(&dyn Kernels<W>, &Case) -> Vec<W>) {
    let sets: Vec<_> = available::<W>().collect();
    let (portable, others) = sets.split_last().unwrap();
    let want = call(portable.kernels, case);
    assert!(case.n == 0 || !want.is_empty(), "{case:?} writes nothing");
    for set in others {
        assert!(call(set.kernels, case) == want, "{} differs: {case:?}", set.name);
    }
}

fn check_all(n: usize, seed: u64) {
    for kernel in narrow::NAMES {
        check(&Case { kernel, n, seed, word_bits: 32 }, narrow::call);
    }
    for kernel in wide::NAMES {
        check(&Case { kernel, n, seed, word_bits: 64 }, wide::call);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn agree_at_small_lengths(n in 0usize..70, seed: u64) {
        check_all(n, seed);
    }
}

#[test]
fn agree_at_large_lengths() {
    for (n, seed) in (1022..1027).chain([2047, 2048, 4200]).zip(0..) {
        check_all(n, seed);
    }
}

#[test]
fn what_was_compared_is_said() {
    let names: Vec<_> = available::<u64>().map(|set| set.name).collect();
    assert_eq!(names.last(), Some(&"portable"));
    println!("kernels compared on this processor: {}", names.join(", "));
}

#[test]
fn cases_draw_the_subsets_that_terms_need() {
    assert_eq!(portable::needed_subsets(&shapes::TERMS).count(), shapes::SUBSETS);
}
