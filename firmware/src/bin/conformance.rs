//! Runs every conformance vector on the board: counts for each file, and the line of each vector that fails, on the log.
//!
//! Ends with `Outcome::Pass` if all pass.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use symbolon_firmware::{
        board::{self, Board, Outcome, now_ms, stack},
        conformance::FILES,
    };

    #[board::entry]
    fn main() -> ! {
        let board = Board::take();
        let mut outcome = Outcome::Pass;
        for file in FILES {
            let name = file.name;
            let from = now_ms();
            let tally = file.check(file.text, &mut |line, wrong| {
                defmt::error!("{=str}, line {=u32}: {}", name, line, wrong);
            });
            defmt::info!("{=str} passed {=u32}", name, tally.passed);
            defmt::info!("{=str} failed {=u32} in {=u64} ms", name, tally.failed, now_ms() - from);
            if tally.failed > 0 || tally.passed == 0 {
                outcome = Outcome::Fail;
            }
        }
        defmt::info!("stack {=usize}", stack::peak_bytes());
        drop(board);
        board::end(outcome)
    }
}
