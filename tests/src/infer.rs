//! Outputs of a network on whole values, by the layers' own code.

use symbolon::{job::Job, kernel::best};
use symbolon_core::{
    correlation::Mask,
    fixed::{decode, encode},
    layer::{Backward, Graph, Meeting, Met, Model, NodeState, Pass},
    link::Error,
    party::Party,
    prg::{ChaCha20Prg, Prg, Seed},
    protocol::masked::{Masked, mask_and_open},
    word::Word,
};
use symbolon_parties::{Parties, Program, planned};

/// The forward pass of a job's network; inputs are records, parameters and running statistics.
struct Forward<'a>(&'a Job);

/// Opens `words` under a fresh mask.
fn open<'a, W: Word>(party: &mut Party<'_, W>, words: &'a mut [W]) -> Result<Masked<'a, W>, Error> {
    let mask = party.draw()?.mask(words.len());
    let mask = mask_and_open(party, words, mask)?;
    Ok(Masked { words, mask })
}

/// The words that a normalisation takes from its running statistics, with the names of their masks.
type Settled<W> = (Vec<W>, [symbolon_core::correlation::View<'static>; symbolon_core::layer::MASKS]);

/// Settles node `i`, if its rows meet.
fn settle<W: Word>(
    party: &mut Party<'_, W>,
    (graph, pass): (&Graph<'_, symbolon_core::layer::AnyLayer>, &Pass<'_, W>),
    i: usize,
    statistics: &[W],
) -> Result<Option<Settled<W>>, Error> {
    let Some(norm) = Backward::<W>::meets(&graph.nodes[i].layer) else { return Ok(None) };
    let lens = norm.lens(&graph.site(i, pass));
    let (mut draw, mut words) = (party.draw()?, vec![W::default(); lens.words]);
    let mut rights = lens.masks.map(|words| draw.mask(words));
    let masks = rights.each_ref().map(Mask::view);
    let mut meeting = Meeting { words: &mut words, rights: &mut rights, masks: &masks };
    norm.settle(party, &graph.site(i, pass), statistics, &mut meeting)?;
    Ok(Some((words, masks)))
}

impl Program for Forward<'_> {
    type Output<W: Word> = Vec<W>;

    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<Vec<W>, Error> {
        let laid = self.0.network();
        let graph = laid.graph();
        let [x, shares, statistics] = &mut inputs[..] else { panic!("three inputs") };
        let mut copy = shares.clone();
        let model = Model { open: open(party, &mut copy)?, shares };
        let data = open(party, x)?;
        let data = Masked { mask: data.mask.matrix(graph.input.words()), ..data };
        let pass = Pass { model, data, moment: None, met: &[], lengths: None };
        let mut settled = Vec::new();
        for (i, place) in graph.places.iter().enumerate() {
            settled.push(settle(party, (&graph, &pass), i, &statistics[place.statistics_range()])?);
        }
        let met: Vec<Met<'_, W>> = settled
            .iter()
            .map(|settled| match settled {
                Some((words, masks)) => Met { words, masks, is_folded: false },
                None => Met::default(),
            })
            .collect();
        let mut states: Vec<NodeState<'_, W>> = Vec::new();
        states.resize_with(graph.nodes.len(), NodeState::default);
        let mut out = vec![W::default(); pass.rows() * graph.output().words()];
        graph.infer(party, &Pass { met: &met, ..pass }, &mut states, &mut out)?;
        Ok(out)
    }
}

/// The outputs of the network of `job` with the model `words` for raw `records`, row after row.
///
/// # Panics
///
/// If lengths do not fit, or a scaled record is outside the range of numbers.
#[must_use]
pub fn infer(job: &Job, words: &[u64], records: &[f32]) -> Vec<f64> {
    let (features, frac_bits) = (job.data.features(), job.numbers.frac_bits);
    let scaled = |(i, raw): (usize, &f32)| {
        let scaled = job.data.scale.apply(i % features, features, f64::from(*raw));
        encode::<u64>(scaled, frac_bits).unwrap()
    };
    let x: Vec<u64> = records.iter().enumerate().map(scaled).collect();
    let (parameters, statistics) = words.split_at(job.parameters());
    let inputs = vec![x, parameters.to_vec(), statistics.to_vec()];
    let program = Forward(job);
    let lens: Vec<usize> = inputs.iter().map(Vec::len).collect();
    let arena = planned::<u64>(&program, &lens).unwrap().arena;
    let prgs = [1, 2].map(|seed| ChaCha20Prg::new(&Seed::from_bytes(&[seed; 32]), &[0; 16]));
    let prgs = prgs.each_ref().map(|prg| prg as &dyn Prg);
    let parties = Parties { program: &program, prgs, kernels: best::<u64>(), arena, dithers: None };
    let laid = job.network();
    let bits = laid.graph().output_frac_bits();
    parties.clear(inputs).unwrap().into_iter().map(|word| decode(word.cast_signed(), bits)).collect()
}
