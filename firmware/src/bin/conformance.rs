//! Runs every conformance vector but those of protocols: see `symbolon_firmware::conformance`.
//!
//! Ends with `Outcome::Pass` if all pass.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use symbolon_firmware::{
        board::{self, Board},
        conformance::{FILES, on_board},
    };

    #[board::entry]
    fn main() -> ! {
        on_board(Board::take(), FILES)
    }
}
