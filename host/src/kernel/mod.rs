//! The kernels of [`symbolon_core::kernel`] for this processor, chosen when the program runs.
//!
//! [`best`] gives the fastest set that the processor has. Nearly all of them are the portable source of `core`, compiled a second and a third
//! time for wider registers, so that they agree with it bit for bit by construction. Only matrix products are written by hand, since no
//! compiler finds them.
//!
//! - **Timing:** as the portable ones: no branch and no address depends on data.
//! - **Memory:** matrix products keep up to one MiB a thread, as their sizes need.
//!
//! The modules for x86-64 alone have `unsafe` code; other processors run the portable kernels.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod aes;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod gemm;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod simd;
#[cfg(test)]
mod tests;

use symbolon_core::{
    kernel::{Kernels, Portable},
    prg::{Aes128Prg, Prg, Seed},
    word::Word,
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
pub trait HostWord: Word + bytemuck::Pod {
    /// Its matrix products on AVX-512.
    #[cfg(target_arch = "x86_64")]
    type Avx512: gemm::Scheme<Word = Self>;
    /// Its matrix products on AVX2.
    #[cfg(target_arch = "x86_64")]
    type Avx2: gemm::Scheme<Word = Self>;
}
impl HostWord for u32 {
    #[cfg(target_arch = "x86_64")]
    type Avx512 = gemm::avx512::Pairs;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = gemm::avx2::Pairs;
}
impl HostWord for u64 {
    #[cfg(target_arch = "x86_64")]
    type Avx512 = gemm::avx512::Limbs;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = gemm::avx2::Halves;
}

/// The fastest kernels that this processor runs.
pub fn best<W: HostWord>() -> &'static dyn Kernels<W> {
    available().next().map_or(&Portable, |set| set.kernels)
}

/// All kernels that this processor runs, fastest first; the last are portable.
pub fn available<W: HostWord>() -> impl Iterator<Item = Set<W>> {
    let portable = Set { name: "portable", kernels: &Portable as &dyn Kernels<W> };
    #[cfg(target_arch = "x86_64")]
    let wide = simd::sets();
    #[cfg(not(target_arch = "x86_64"))]
    let wide: [Option<Set<W>>; 0] = [];
    wide.into_iter().flatten().chain([portable])
}

/// The streams of [`Aes128Prg`], as fast as this processor makes them.
pub fn aes128_prg(seed: &Seed, session: &[u8; 16]) -> Box<dyn Prg> {
    #[cfg(target_arch = "x86_64")]
    if let Some(prg) = aes::Aes128Vector::new(seed, session) {
        return Box::new(prg);
    }
    Box::new(Aes128Prg::new(seed, session))
}
