//! A microcontroller as server 0 of a computation, against a host party on the serial line: see `symbolon_firmware::compute`.
//!
//! Products, comparisons, a look-up, and the inference of a small network:
//! `symbolon_firmware::compute::job`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use static_cell::ConstStaticCell;
    use symbolon_firmware::{
        board,
        compute::{job, kernels::Inference, node},
    };

    static INPUTS: ConstStaticCell<[u32; job::INPUT_WORDS]> = ConstStaticCell::new([0; job::INPUT_WORDS]);
    static OUTPUTS: ConstStaticCell<[u32; job::OUTPUT_WORDS]> = ConstStaticCell::new([0; job::OUTPUT_WORDS]);
    static ARENA: ConstStaticCell<[u32; job::ARENA_WORDS]> = ConstStaticCell::new([0; job::ARENA_WORDS]);

    #[board::entry]
    fn main() -> ! {
        node::main(node::Computation {
            run: job::run,
            kernels: &Inference,
            inputs: INPUTS.take(),
            outputs: OUTPUTS.take(),
            arena: ARENA.take(),
        })
    }
}
