//! A microcontroller as server 0 of a computation, against a host party on the serial line: see
//! `symbolon_firmware::compute`.
//!
//! The sigmoid, the reciprocal and the square root: `symbolon_firmware::compute::functions`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use static_cell::ConstStaticCell;
    use symbolon_core::kernel::Portable;
    use symbolon_firmware::{
        board,
        compute::{functions, node},
    };

    static INPUTS: ConstStaticCell<[u32; functions::INPUT_WORDS]> = ConstStaticCell::new([0; functions::INPUT_WORDS]);
    static OUTPUTS: ConstStaticCell<[u32; functions::OUTPUT_WORDS]> =
        ConstStaticCell::new([0; functions::OUTPUT_WORDS]);
    static ARENA: ConstStaticCell<[u32; functions::ARENA_WORDS]> = ConstStaticCell::new([0; functions::ARENA_WORDS]);

    #[board::entry]
    fn main() -> ! {
        node::main(node::Computation {
            run: functions::run,
            kernels: &Portable,
            inputs: INPUTS.take(),
            outputs: OUTPUTS.take(),
            arena: ARENA.take(),
        })
    }
}
