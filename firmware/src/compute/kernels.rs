//! The kernels that inference takes.
//!
//! [`Kernels`] is a trait object to the protocols, so all of them would be linked, whether anything calls them or not: 17 kB of Cortex-M4
//! code for training, the dealer and the clear engine. Those panic here; the tests run every protocol of the job on the boards.

use symbolon_core::{
    kernel::{Kernels, portable},
    with_kernels,
    word::Word,
};

/// [`portable`], without what only training, the dealer and the clear engine take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inference;

/// The body of kernel `$name`.
macro_rules! body {
    // training
    (add_scaled $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (widen $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (sub_wide $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (squared $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (times_masked $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (scaled $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (scaled_parts $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (multiply $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (blend $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (fold $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (spread_windows $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (gather_windows $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (scatter_windows $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (pairs_of_columns $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (pairs $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (add_rows $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (sum_rows $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (interleave $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (mul_add_rows $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (unit_rows $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (alarms $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (fold_alarms $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (digit_leaves $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (digit_less $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (choose $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (keep_planes $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (move_planes $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    // the dealer
    (mask_carry_and_top $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (mask_parts $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (one_hot $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (subsets $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (one_hot_words $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    // the clear engine
    (blind_clear $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (truncated_clear $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (scaled_clear $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (keep_where $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (index_clear $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (saturate_clear $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (lookup $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (cells_clear $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    // inference
    ($name:ident ($($arg:expr),*)) => { portable::$name($($arg),*) };
}

macro_rules! define {
    ($(fn $name:ident($($arg:ident: $ty:ty),*);)*) => {
        impl<W: Word> Kernels<W> for Inference {
            $(fn $name(&self, $($arg: $ty),*) { body!($name ($($arg),*)) })*
        }
    };
}
with_kernels!(define);

#[cold]
fn left_out() -> ! {
    panic!("inference takes no such kernel")
}
