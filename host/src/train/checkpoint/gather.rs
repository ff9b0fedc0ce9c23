//! Gathers a state from a run, and puts it back.

use super::{
    super::{
        newton::NewtonState,
        step::Trainer,
        tally::{Scores, Sum, Tally},
    },
    Outputs, Position, State,
    layout::loss_terms,
};
use crate::{job::Job, lanes::Lanes};
use symbolon_core::{link::Error, word::Word};

impl<W: Word> State<W> {
    /// Gathers the state at `position`; `outputs` are an epoch's, if it ends there.
    pub(in crate::train) fn gather(
        trainer: &mut Trainer<'_, W>,
        lanes: &Lanes<'_, W>,
        position: Position,
        outputs: Option<&Outputs<W>>,
    ) -> Self {
        let job = trainer.job;
        let mut state = Self::zeros(job, position);
        let layout = state.layout(job);
        lanes.save_alarms(&mut state.words[layout.alarms()]);
        let mut rest = &mut state.words[layout.trained()];
        for section in trainer.durable(position) {
            let (own, others) = rest.split_at_mut(section.len());
            own.copy_from_slice(section);
            rest = others;
        }
        assert!(rest.is_empty(), "a state has other lengths than its job's");
        if let Some(outputs) = outputs {
            outputs.write(&mut state.words[layout.outputs()]);
        }
        state
    }

    /// Gives the lanes the range alarms' state, and checks the words that they kept: three rounds,
    /// if there are any.
    pub(in crate::train) fn load_alarms(&self, job: &Job, lanes: &mut Lanes<'_, W>) -> Result<(), Error> {
        lanes.load_alarms(&self.words[self.layout(job).alarms()]);
        lanes.check_kept()
    }

    /// Gives `trainer`, which has made no step, its shares.
    pub(in crate::train) fn load(&self, trainer: &mut Trainer<'_, W>) {
        let (job, position) = (trainer.job, self.position);
        for (lane, tally) in trainer.loss.iter_mut().enumerate() {
            if let Some(terms) = loss_terms(job, position, lane) {
                *tally = Tally::after(job, terms);
            }
        }
        if let Some(newton) = &mut trainer.newton {
            newton.go_on();
        }
        let mut rest = &self.words[self.layout(job).trained()];
        for section in trainer.durable(position) {
            let (own, others) = rest.split_at(section.len());
            section.copy_from_slice(own);
            rest = others;
        }
    }

    /// Returns the loss and the scores that leave, if an epoch ends here.
    #[allow(clippy::type_complexity)] // as in the event of an epoch's end
    pub fn outputs(&self, job: &Job) -> Option<(Option<Sum<W::Wide>>, Option<Scores<W::Wide>>)> {
        let words = &self.words[self.layout(job).outputs()];
        let outputs = self.position.is_epoch_end(job).then(|| Outputs::read(job, self.position.epochs(job), words));
        outputs.map(|Outputs { loss, score }| (loss, score))
    }
}

impl<W: Word> Trainer<'_, W> {
    /// Lists all shares that later steps read, in the order of a state.
    fn durable(&mut self, position: Position) -> Vec<&mut [W]> {
        let Self { job, parameters, meetings, optimizer, newton, loss, .. } = self;
        let mut sections = vec![&mut parameters.shares[..], meetings.statistics_mut()];
        sections.extend(optimizer.durable());
        sections.extend(newton.as_mut().and_then(NewtonState::durable));
        for (lane, tally) in loss.iter_mut().enumerate() {
            if loss_terms(job, position, lane).is_some() {
                sections.extend(tally.durable());
            }
        }
        sections
    }
}
