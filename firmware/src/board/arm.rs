//! What the Cortex-M boards have in common.

use cortex_m as _; // links its critical section
use cortex_m_rt::{ExceptionFrame, exception};

pub use cortex_m_rt::entry;

use super::{Outcome, end};

#[allow(unsafe_code)]
// SAFETY: the handler ends the program and touches no state of the interrupted code.
#[exception]
unsafe fn HardFault(_frame: &ExceptionFrame) -> ! {
    end(Outcome::Fault)
}
