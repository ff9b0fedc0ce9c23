//! Symbolon on microcontrollers: boards, and the programs that run on them.
//!
//! A program is one file of `src/bin`. It takes `board` for all that differs between boards and
//! `symbolon-core` for all that does not. The board is chosen by the target, or by a feature:
//!
//! | target | feature | board | runs |
//! | --- | --- | --- | --- |
//! | `thumbv7em-none-eabihf` | | `mps2_an386`, Cortex-M4F | QEMU |
//! | `thumbv7em-none-eabihf` | `nrf52840` | nRF52840, Cortex-M4F | the chip |
//! | `thumbv6m-none-eabi` | | `microbit`, Cortex-M0 | QEMU |
//! | `riscv32imac-unknown-none-elf` | | `riscv_virt` | QEMU |
//!
//! Run one with `cargo run -p symbolon-firmware --profile firmware --target TARGET --bin smoke`. Build this package
//! alone (`-p`), or other packages' features reach it. There is no allocator: a program that allocates does not link.
//!
//! On the host the programs are empty. What both ends of a line share is built there too: [`compute`], [`boot_counter`]; and [`conformance`].
#![cfg_attr(target_os = "none", no_std)]

#[cfg(all(target_os = "none", feature = "predict"))]
pub mod asking;
#[cfg(target_os = "none")]
pub mod board;
pub mod boot_counter;
pub mod compute;
pub mod conformance;
