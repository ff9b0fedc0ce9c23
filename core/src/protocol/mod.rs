//! The protocols, a file each. Every one is a plain function over slices: inputs, outputs, and scratch from the party's arena; every
//! network round is one visible call of `open` or `exchange`.
//!
//! Each begins with what it ideally does on whole values ([`crate::party::Role::Clear`]); the long way below equals it bit for
//! bit under the same masks.

pub mod alarm;
pub mod bit;
pub mod buckets;
pub mod clamp;
pub mod compare;
pub mod conjunction;
pub mod convolution;
pub mod dots;
pub mod equal;
pub mod exact;
pub mod into_ring;
pub mod knots;
pub mod lift;
pub mod masked;
pub mod maximum;
pub mod narrow;
pub mod pair;
pub mod pool;
pub mod product;
pub mod rank;
pub mod relu;
pub mod rows;
pub mod scaled;
pub mod select;
pub mod sign;
pub mod sort;
pub mod square;
pub mod times;
pub mod truncate;
pub(crate) mod upper;
