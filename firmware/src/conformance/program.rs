//! The programs' common part.

use super::File;
use crate::board::{self, Board, Outcome, now_ms, stack};

/// Runs all vectors of `files` on a board. Logs counts for each file, the line of each vector that
/// fails, and the stack's peak.
pub fn on_board(board: Board, files: &[File]) -> ! {
    let mut outcome = Outcome::Pass;
    for file in files {
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
