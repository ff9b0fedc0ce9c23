//! Who sent each of many parts, in order, by runs of one source.
//!
//! - **Memory:** [`RUN_BYTES`] a run, and as much again where the table has room to grow. A flood is one run, however long; where sources take turns, each part is one.
//! - **Cost:** constant a call, but for the table's growth.

use super::pool::Source;
use std::collections::VecDeque;

/// Parts of one source that follow each other.
type Run = (Source, u32);

const RUN_BYTES: usize = 16;
const _: () = assert!(size_of::<Run>() == RUN_BYTES);

/// Sources in order: last in at the back, first out at the front.
#[derive(Default)]
pub(super) struct Runs {
    /// None is empty.
    runs: VecDeque<Run>,
    parts: u64,
}

impl Runs {
    /// How many parts.
    pub(super) fn parts(&self) -> u64 {
        self.parts
    }

    /// Adds a part.
    pub(super) fn push(&mut self, source: Source) {
        self.parts += 1;
        if let Some((last, len)) = self.runs.back_mut()
            && *last == source
            && let Some(longer) = len.checked_add(1)
        {
            *len = longer;
        } else {
            self.runs.push_back((source, 1));
        }
    }

    /// Forgets the oldest part; says whose it was.
    pub(super) fn pop(&mut self) -> Option<Source> {
        let (source, len) = self.runs.front_mut()?;
        let source = *source;
        *len -= 1;
        if *len == 0 {
            self.runs.pop_front();
        }
        self.parts -= 1;
        Some(source)
    }

    /// Whose the parts are, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Source> {
        self.runs.iter().flat_map(|(source, len)| (0..*len).map(|_| *source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_flood_is_one_run_and_those_who_take_turns_are_one_each() {
        let mut runs = Runs::default();
        (0..1000).for_each(|_| runs.push(Source::Past));
        assert_eq!((runs.parts(), runs.runs.len()), (1000, 1));
        (0..1000).for_each(|n| runs.push(Source::Serial(n % 2)));
        assert_eq!((runs.parts(), runs.runs.len()), (2000, 1001));
        assert_eq!(std::iter::from_fn(|| runs.pop()).filter(|source| *source == Source::Past).count(), 1000);
        assert_eq!((runs.parts(), runs.runs.len(), runs.pop()), (0, 0, None));
    }

    #[test]
    fn a_run_that_can_grow_no_more_has_a_successor() {
        let mut runs = Runs { runs: [(Source::Past, u32::MAX - 1)].into(), parts: u64::from(u32::MAX) - 1 };
        (0..2).for_each(|_| runs.push(Source::Past));
        assert!(runs.runs.iter().eq(&[(Source::Past, u32::MAX), (Source::Past, 1)]));
        assert_eq!((runs.parts(), runs.pop()), (1 << 32, Some(Source::Past)));
    }

    proptest! {
        /// What a source for each part would say, and no two runs that could be one.
        #[test]
        fn runs_say_what_a_source_a_part_says(steps: Vec<(u8, u8, u8)>) {
            let (mut runs, mut model) = (Runs::default(), VecDeque::new());
            for (who, pushed, popped) in steps {
                let source = Source::Serial(u16::from(who % 3));
                for _ in 0..pushed % 8 {
                    runs.push(source);
                    model.push_back(source);
                }
                for _ in 0..popped % 8 {
                    prop_assert_eq!(runs.pop(), model.pop_front());
                }
                prop_assert_eq!(runs.parts(), model.len() as u64);
                prop_assert!(runs.iter().eq(model.iter().copied()));
                let slice = model.make_contiguous();
                prop_assert_eq!(runs.runs.len(), slice.chunk_by(|a, b| a == b).count());
            }
        }
    }
}
