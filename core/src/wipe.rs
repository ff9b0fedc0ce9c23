//! Overwrites the copies of secrets that moves leave on the stack.
//!
//! A type that wipes itself when dropped wipes its last place alone: a move copies its bytes and
//! leaves the old ones. So the caller of a function that handles seeds or keys overwrites, once it
//! has returned, the stack that it used.

use core::hint::black_box;
use zeroize::Zeroize;

/// Overwrites `N` bytes of the stack below the caller's frame: the frames of the functions that
/// have returned to the caller.
#[inline(never)]
pub fn wipe_stack<const N: usize>() {
    let mut below = [0u8; N];
    black_box(&mut below).zeroize();
    black_box(&below);
}
