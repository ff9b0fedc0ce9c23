//! The kernels of [`symbolon_core::kernel`] for this processor, chosen when the program runs.
//!
//! [`best`] gives the fastest set that the processor has. Nearly all of them are the portable source of `core`, compiled a second and a third
//! time for wider registers, so that they agree with it bit for bit by construction. Only matrix products are written by hand, since no
//! compiler finds them.
//!
//! - **Timing:** as the portable ones: no branch and no address depends on data.
//! - **Memory:** matrix products keep up to one MiB a thread, as their sizes need.
//!
//! This is the one module of the workspace with `unsafe` code.
#![allow(unsafe_code)]
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, unused_imports, unused_macros))]

#[cfg(target_arch = "x86_64")]
mod aes;
mod gemm;
#[cfg(test)]
mod tests;

use gemm::Lane;
use symbolon_core::{
    kernel::{Kernels, Portable},
    prg::{Aes128Prg, Prg, Seed},
    with_kernels,
};

/// A set of kernels and the name of what it needs, for reports.
#[derive(Clone, Copy)]
pub struct Set<W: 'static> {
    /// `avx512`, `avx2` or `portable`.
    pub name: &'static str,
    /// The set itself.
    pub kernels: &'static dyn Kernels<W>,
}

/// A word that has kernels: `u32` or `u64`.
pub trait HostWord: Lane {}
impl HostWord for u32 {}
impl HostWord for u64 {}

/// The fastest kernels that this processor runs.
pub fn best<W: HostWord>() -> &'static dyn Kernels<W> {
    available().next().map_or(&Portable, |set| set.kernels)
}

/// All kernels that this processor runs, fastest first; the last are portable.
pub fn available<W: HostWord>() -> impl Iterator<Item = Set<W>> {
    let portable = Set { name: "portable", kernels: &Portable as &dyn Kernels<W> };
    simd().into_iter().flatten().chain([portable])
}

/// The streams of [`Aes128Prg`], as fast as this processor makes them.
pub fn aes128_prg(seed: &Seed, session: &[u8; 16]) -> Box<dyn Prg> {
    #[cfg(target_arch = "x86_64")]
    if let Some(prg) = aes::Aes128Vector::new(seed, session) {
        return Box::new(prg);
    }
    Box::new(Aes128Prg::new(seed, session))
}

#[cfg(target_arch = "x86_64")]
fn simd<W: HostWord>() -> [Option<Set<W>>; 2] {
    [
        avx512::Avx512::detect().map(|k| Set { name: "avx512", kernels: k }),
        avx2::Avx2::detect().map(|k| Set { name: "avx2", kernels: k }),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn simd<W: HostWord>() -> [Option<Set<W>>; 0] {
    []
}

/// Kernels of `$source`, compiled for the processor features `$features`, as methods of `$set`.
macro_rules! compile {
    ($set:ident $features:literal $(fn $name:ident($($arg:ident: $ty:ty),*);)*) => {
        mod compiled {
            $(
                #[target_feature(enable = $features)]
                #[allow(clippy::too_many_arguments)]
                pub(super) fn $name<W: $crate::kernel::Lane>($($arg: $ty),*) {
                    super::source::$name($($arg),*);
                }
            )*
        }
        impl<W: $crate::kernel::Lane> symbolon_core::kernel::Kernels<W> for $set {
            $(
                fn $name(&self, $($arg: $ty),*) {
                    // SAFETY: a value of this type exists only where `detect` found the features.
                    unsafe { compiled::$name($($arg),*) }
                }
            )*
        }
    };
}

/// For processors since Ice Lake and Zen 4.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    /// Kernels for AVX-512 with its integer and 16-bit dot product extensions.
    #[derive(Debug)]
    pub(super) struct Avx512(());

    impl Avx512 {
        /// The kernels, if this processor runs them.
        pub(super) fn detect() -> Option<&'static Self> {
            let all = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512cd")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512ifma")
                && is_x86_feature_detected!("avx512vbmi")
                && is_x86_feature_detected!("avx512vnni")
                && is_x86_feature_detected!("bmi2");
            all.then_some(&Self(()))
        }
    }

    /// The portable kernels, but for `gemm`.
    mod source {
        pub(super) use crate::kernel::gemm::avx512::gemm;
        pub(super) use symbolon_core::kernel::portable::*;
    }
    super::with_kernels!(compile Avx512 "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512ifma,avx512vbmi,avx512vnni,bmi2");
}

/// For processors since Haswell and Zen.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    /// Kernels for AVX2.
    #[derive(Debug)]
    pub(super) struct Avx2(());

    impl Avx2 {
        /// The kernels, if this processor runs them.
        pub(super) fn detect() -> Option<&'static Self> {
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2")).then_some(&Self(()))
        }
    }

    /// The portable kernels, but for `gemm`.
    mod source {
        pub(super) use crate::kernel::gemm::avx2::gemm;
        pub(super) use symbolon_core::kernel::portable::*;
    }
    super::with_kernels!(compile Avx2 "avx2,bmi2");
}
