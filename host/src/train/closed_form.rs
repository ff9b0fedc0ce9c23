//! Logistic regression in closed form: two passes over the records, and the choice and the fit
//! between and behind them on the first lane.

use super::{enter, order::Batch, step::Trainer};
use crate::{alarms::ENOUGH, job::Job, lanes::Lanes, secret::Secret};
use symbolon_core::{
    link::Error,
    optimizer::ClosedForm,
    party::Party,
    protocol::{alarm::check_kept, masked::Masked},
    word::Word,
};

/// The sums over all records, and the choice of features.
pub(super) struct ClosedFormState<W: Word> {
    method: ClosedForm,
    /// This party's shares of the moments, then of the counts.
    moments: Secret<W>,
    counts: Secret<W>,
    /// Each lane's part of them, of the records that pass at once.
    partial: Vec<Secret<W>>,
    /// The choice, open under a mask.
    choice: Vec<W>,
}

/// Words of a lane's part of moments or counts.
fn partial_words(method: &ClosedForm) -> usize {
    method.moment_words().max(method.count_words())
}

/// Words of a job's state.
pub(super) fn words(job: &Job, lanes: usize) -> usize {
    job.closed_form().map_or(0, |method| {
        method.moment_words() + method.count_words() + lanes * partial_words(&method) + method.choice_words()
    })
}

impl<W: Word> ClosedFormState<W> {
    /// Zeros; `None` for another optimizer.
    pub(super) fn new(job: &Job, lanes: usize) -> Option<Self> {
        let method = job.closed_form()?;
        Some(Self {
            method,
            moments: Secret::zeros(method.moment_words()),
            counts: Secret::zeros(method.count_words()),
            partial: (0..lanes).map(|_| Secret::zeros(partial_words(&method))).collect(),
            choice: vec![W::default(); method.choice_words()],
        })
    }
}

impl<W: Word> Trainer<'_, W> {
    /// Writes the model that is fitted to the records `rows` in place of the gradient.
    pub(super) fn closed_form(&mut self, lanes: &mut Lanes<'_, W>, rows: Batch<'_>) -> Result<(), Error> {
        let Some(mut state) = self.closed_form.take() else { return Ok(()) };
        let ClosedFormState { method, moments, counts, partial, choice } = &mut state;
        self.sum_passes(lanes, rows, (moments, &mut *partial), |party, (x, labels), sums| {
            enter(party, 0, "moments");
            method.moments(party, x, labels, sums)
        })?;
        let mask = lanes.draw()?.mask(choice.len());
        let view = mask.view();
        lanes.on_first((&mut choice[..], mask), |party, open| {
            enter(party, 0, "choice of features");
            method.choose(party, moments, open)?;
            check_kept(party, ENOUGH)
        })?;
        let choice = Masked { words: choice, mask: view };
        self.sum_passes(lanes, rows, (counts, &mut *partial), |party, records, sums| {
            enter(party, 0, "counts");
            method.count(party, records, choice, sums)
        })?;
        lanes.on_first(&mut self.gradient, |party, model| {
            enter(party, 0, "fit");
            method.fit(party, counts, choice, model)?;
            check_kept(party, ENOUGH)
        })?;
        self.closed_form = Some(state);
        Ok(())
    }

    /// Sums `f` of the records, pass by pass, each lane over its rows.
    fn sum_passes(
        &self,
        lanes: &mut Lanes<'_, W>,
        rows: Batch<'_>,
        (sum, partial): (&mut Secret<W>, &mut [Secret<W>]),
        f: impl Fn(&mut Party<'_, W>, (Masked<'_, W>, Masked<'_, W>), &mut [W]) -> Result<(), Error> + Sync,
    ) -> Result<(), Error> {
        let (train, labels, most, len) = (&self.train, &self.labels, self.job.rows_at_once(), sum.len());
        for start in (0..rows.len()).step_by(most) {
            let pass = rows.part(start..rows.len().min(start + most));
            let own = |lane: usize| lanes.part(lane, pass.len(), 1);
            let work = partial.iter_mut().enumerate().map(|(lane, partial)| (own(lane), &mut partial[..len])).collect();
            lanes.each(work, |party, (own, partial)| {
                if own.is_empty() {
                    partial.fill(W::default());
                    return Ok(());
                }
                let own = pass.part(own);
                let ([x, y], mut party) = party.scratch([own.len() * train.cols(), own.len() * labels.cols()])?;
                let records = (train.rows_of(own, x)?, labels.rows_of(own, y)?);
                f(&mut party, records, partial)?;
                check_kept(&mut party, ENOUGH)
            })?;
            partial.iter().for_each(|partial| lanes.kernels().add(sum, &partial[..len]));
        }
        Ok(())
    }
}
