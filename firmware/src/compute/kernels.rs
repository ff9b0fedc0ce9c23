//! The kernels that inference takes.
//!
//! [`Kernels`] is a trait object to the protocols, so all of them would be linked, whether anything calls them or not: 17 kB of Cortex-M4
//! code for training, the dealer and the clear engine. Those panic here; the tests run every protocol of the job on the boards.
//! [`Sequences`] differ in a few.

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
    // tables that are cheaper in bits
    (sum_words $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    // inference
    ($name:ident ($($arg:expr),*)) => { portable::$name($($arg),*) };
}

/// [`Inference`] of recurrent cells, whose functions saturate: without images.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequences;

/// The body of kernel `$name` for sequences.
macro_rules! sequences {
    // beside inference's
    (add_scaled ($($arg:expr),*)) => { portable::add_scaled($($arg),*) };
    (digit_leaves ($($arg:expr),*)) => { portable::digit_leaves($($arg),*) };
    (digit_less ($($arg:expr),*)) => { portable::digit_less($($arg),*) };
    (choose ($($arg:expr),*)) => { portable::choose($($arg),*) };
    (keep_planes ($($arg:expr),*)) => { portable::keep_planes($($arg),*) };
    (move_planes ($($arg:expr),*)) => { portable::move_planes($($arg),*) };
    // images and ReLU
    (unfold $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (sum_windows $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    (selected $($args:tt)*) => {{ let _ = $($args)*; left_out() }};
    ($name:ident $args:tt) => { body!($name $args) };
}

macro_rules! define {
    ($Kernels:ident $body:ident $(fn $name:ident($($arg:ident: $ty:ty),*);)*) => {
        impl<W: Word> Kernels<W> for $Kernels {
            $(fn $name(&self, $($arg: $ty),*) { $body!($name ($($arg),*)) })*
        }
    };
}
with_kernels!(define Inference body);
with_kernels!(define Sequences sequences);

#[cold]
fn left_out() -> ! {
    panic!("inference takes no such kernel")
}
