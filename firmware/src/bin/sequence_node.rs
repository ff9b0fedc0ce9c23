//! A microcontroller as server 0 of a computation, against a host party on the serial line: see
//! `symbolon_firmware::compute`.
//!
//! A gated recurrent unit over a sequence, and scores of classes:
//! `symbolon_firmware::compute::sequence`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use static_cell::ConstStaticCell;
    use symbolon_firmware::{
        board,
        compute::{kernels::Sequences, node, sequence},
    };

    static INPUTS: ConstStaticCell<[u32; sequence::INPUT_WORDS]> = ConstStaticCell::new([0; sequence::INPUT_WORDS]);
    static OUTPUTS: ConstStaticCell<[u32; sequence::OUTPUT_WORDS]> = ConstStaticCell::new([0; sequence::OUTPUT_WORDS]);
    static ARENA: ConstStaticCell<[u32; sequence::ARENA_WORDS]> = ConstStaticCell::new([0; sequence::ARENA_WORDS]);

    #[board::entry]
    fn main() -> ! {
        node::main(node::Computation {
            run: sequence::run,
            kernels: &Sequences,
            inputs: INPUTS.take(),
            outputs: OUTPUTS.take(),
            arena: ARENA.take(),
        })
    }
}
