//! Newton's method: the curvature of all records, and the step that it makes of the gradient.

use super::{enter, order::Batch, step::Trainer};
use crate::{alarms::ENOUGH, job::Job, lanes::Lanes, secret::Secret};
use symbolon_core::{
    correlation::View,
    link::Error,
    optimizer::{CurvatureInverse, Newton},
    protocol::alarm::check_kept,
    word::Word,
};

/// The curvature summed over a step's records, and the inverse kept between steps.
pub(super) struct NewtonState<W: Word> {
    newton: Newton,
    /// This party's share of the curvature.
    sum: Secret<W>,
    /// Each lane's part of it, of the records that pass at once.
    partial: Vec<Secret<W>>,
    /// The inverse of a fixed curvature, open under a mask.
    inverse: Vec<W>,
    mask: Option<View<'static>>,
    /// Whether a step was made. A lane of the dealer's, which runs alone, does not see the first
    /// lane's mask.
    has_stepped: bool,
    /// Each parameter's entry of the inverse's diagonal, which leaves with the model; empty if the
    /// job does not reveal it.
    variances: Secret<W>,
}

/// Words of a job's state.
pub(super) fn words(job: &Job, lanes: usize) -> usize {
    job.newton().map_or(0, |newton| {
        let matrix = newton.order() * newton.order();
        (1 + lanes) * newton.systems() * matrix + matrix + variances(job)
    })
}

/// Returns the words that a checkpoint stores: the curvature, unless each step computes it and no
/// variances leave with the model.
pub(super) fn durable_words(job: &Job) -> usize {
    let of = |newton: Newton| {
        let is_read = !newton.wants_curvature(false) || job.reveal.standard_errors;
        if is_read { newton.systems() * newton.order() * newton.order() } else { 0 }
    };
    job.newton().map_or(0, of)
}

/// Words of a job's variances.
fn variances(job: &Job) -> usize {
    if job.reveal.standard_errors { job.parameters() } else { 0 }
}

impl<W: Word> NewtonState<W> {
    /// Zeros; `None` for another optimizer.
    pub(super) fn new(job: &Job, lanes: usize) -> Option<Self> {
        let newton = job.newton()?;
        let matrix = newton.order() * newton.order();
        let n = newton.systems() * matrix;
        let partial = (0..lanes).map(|_| Secret::zeros(n)).collect();
        Some(Self {
            newton,
            sum: Secret::zeros(n),
            partial,
            inverse: vec![W::default(); matrix],
            mask: None,
            has_stepped: false,
            variances: Secret::zeros(variances(job)),
        })
    }

    /// The shares that a checkpoint stores; see [`durable_words`].
    pub(super) fn durable(&mut self) -> Option<&mut [W]> {
        let is_read = !self.newton.wants_curvature(false) || !self.variances.is_empty();
        is_read.then_some(&mut self.sum[..])
    }

    /// Goes on after a step of an earlier run: a fixed curvature is known, and its inverse, which
    /// is not stored, is made again.
    pub(super) fn go_on(&mut self) {
        self.has_stepped = true;
    }

    /// The variances of the parameters, after the last step.
    pub(super) fn into_variances(self) -> Secret<W> {
        self.variances
    }
}

impl<W: Word> Trainer<'_, W> {
    /// Adds a pass's curvature, each lane over its rows; `first` is the index of the pass's first
    /// record in the step.
    pub(super) fn add_curvature(
        &mut self,
        lanes: &mut Lanes<'_, W>,
        (rows, first): (Batch<'_>, usize),
    ) -> Result<(), Error> {
        let Some(NewtonState { newton, sum, partial, has_stepped, .. }) = &mut self.newton else { return Ok(()) };
        if !newton.wants_curvature(!*has_stepped) {
            return Ok(());
        }
        let (tape, train, labels) = (&self.tape, &self.train, &self.labels);
        let own = |lane: usize| lanes.part(lane, rows.len(), 1);
        let work: Vec<_> = partial.iter_mut().enumerate().map(|(lane, partial)| (own(lane), partial)).collect();
        lanes.each(work, |party, (own, partial)| {
            if own.is_empty() {
                partial.fill(W::default());
                return Ok(());
            }
            enter(party, 0, "curvature");
            let x = train.masked(rows.part(own.clone()), tape.rows(own.clone(), train.cols()));
            let ([y], mut party) = party.scratch([own.len() * labels.cols()])?;
            let y = labels.rows_of(rows.part(own.clone()), y)?;
            let Some(delta) = tape.gradient(0, own) else { panic!("a dense layer takes its gradient masked") };
            newton.curvature(&mut party, x, [delta, y], partial)?;
            check_kept(&mut party, ENOUGH)
        })?;
        if first == 0 {
            sum.fill(W::default());
        }
        partial.iter().for_each(|partial| lanes.kernels().add(sum, partial));
        Ok(())
    }

    /// Replaces the gradient by Newton's step, on the first lane.
    pub(super) fn newton_direction(&mut self, lanes: &mut Lanes<'_, W>) -> Result<(), Error> {
        let Some(NewtonState { newton, sum, inverse, mask, has_stepped, .. }) = &mut self.newton else { return Ok(()) };
        *has_stepped = true;
        let (weights, gradient) = (&self.parameters.shares, &mut self.gradient);
        lanes.on_first((CurvatureInverse { open: inverse, mask }, gradient), |party, (inverse, gradient)| {
            enter(party, 0, "newton");
            newton.direction(party, (sum, inverse), weights, gradient)?;
            check_kept(party, ENOUGH)
        })
    }

    /// Computes the variances that leave with the model, on the first lane.
    pub(super) fn newton_variances(&mut self, lanes: &mut Lanes<'_, W>) -> Result<(), Error> {
        let Some(NewtonState { newton, sum, inverse, mask, variances, .. }) = &mut self.newton else { return Ok(()) };
        if variances.is_empty() {
            return Ok(());
        }
        lanes.on_first((CurvatureInverse { open: inverse, mask }, variances), |party, (inverse, variances)| {
            enter(party, 0, "variances");
            newton.variances(party, (sum, inverse), variances)?;
            check_kept(party, ENOUGH)
        })
    }
}
