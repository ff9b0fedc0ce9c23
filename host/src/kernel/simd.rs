//! The portable kernels of `core`, compiled for the wide registers of x86-64.

use super::{HostWord, Set};
use symbolon_core::with_kernels;

/// The sets that this processor runs, fastest first.
pub(super) fn sets<W: HostWord>() -> [Option<Set<W>>; 2] {
    [
        avx512::Avx512::detect().map(|k| Set { name: "avx512", kernels: k }),
        avx2::Avx2::detect().map(|k| Set { name: "avx2", kernels: k }),
    ]
}

/// Kernels of `$source`, compiled for the processor features `$features`, as methods of `$set`.
macro_rules! compile {
    ($set:ident $features:literal $(fn $name:ident($($arg:ident: $ty:ty),*);)*) => {
        mod compiled {
            $(
                #[target_feature(enable = $features)]
                #[allow(clippy::too_many_arguments)]
                pub(super) fn $name<W: $crate::kernel::HostWord>($($arg: $ty),*) {
                    super::source::$name($($arg),*);
                }
            )*
        }
        impl<W: $crate::kernel::HostWord> symbolon_core::kernel::Kernels<W> for $set {
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
