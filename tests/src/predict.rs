//! Predictions on all three engines in one process: two servers and a dealer over real connections,
//! the clear engine under the same seeds, and the plan.

use crate::play::{Keys, Wires, sent};
use std::{ops::ControlFlow, sync::Mutex, thread};
use symbolon::{
    engine::{
        dealer::deal_serving_lane,
        plan::{ServingPlan, serving_plan},
        secure::{Fault, NetCorrections, NetLink},
    },
    job::Job,
    kernel::{HostWord, best},
    lanes::{Lane, Lanes},
    net::Connection,
    secret::Secret,
    train::{AnswerKind, Batches, Predictor, Serving},
};
use symbolon_core::{
    correlation::{Corrections, Server as Source, Whole, receiver},
    kernel::Kernels,
    link::{Alone, Count},
    party::{NoTrace, Role as Party},
    prg::{ChaCha20Prg, MaskId, Prg, Seed},
    share::{expand, split},
    word::{Word, word_bytes},
};
use symbolon_parties::dither::{DitherRecorder, DitherReplay, Dithers, MaskTracker};

/// Answers of each batch, lane by lane.
pub type Answers<W> = Vec<Vec<Vec<W>>>;

/// A model, and the rows of each batch, lane by lane: whole values, or a server's shares.
#[derive(Clone)]
pub struct Asked<W> {
    /// Parameters, then running statistics.
    pub model: Vec<W>,
    /// As many batches for each lane.
    pub rows: Vec<Vec<Vec<W>>>,
}

/// One lane's batches, and the answers so far.
struct Own<'a, W> {
    rows: std::slice::Iter<'a, Vec<W>>,
    answers: &'a Mutex<Vec<Vec<W>>>,
}

impl<W: Word> Batches<W> for Own<'_, W> {
    fn next(&mut self, rows: &mut [W]) -> ControlFlow<()> {
        match self.rows.next() {
            Some(own) => {
                rows.copy_from_slice(own);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }
    fn answer(&mut self, answers: &mut [W]) {
        self.answers.lock().unwrap().push(answers.to_vec());
    }
}

/// One party's predictions.
fn predict<W: Word>(
    lanes: &mut Lanes<'_, W>,
    (job, serving): (&Job, &Serving),
    asked: &Asked<W>,
) -> (Answers<W>, Count) {
    let predictor = Predictor::open(lanes, job, serving.answer, &asked.model).unwrap();
    let answers: Vec<Mutex<Vec<Vec<W>>>> = asked.rows.iter().map(|_| Mutex::default()).collect();
    let sources = serving.batches.iter().zip(asked.rows.iter().zip(&answers));
    let sources = sources.map(|(rows, (own, answers))| (usize::from(*rows), Own { rows: own.iter(), answers }));
    predictor.run(lanes, sources.collect()).unwrap();
    (answers.into_iter().map(|lane| lane.into_inner().unwrap()).collect(), lanes.count())
}

/// Splits whole values into both servers' shares.
fn shares<W: Word>(asked: &Asked<W>, keys: &Keys) -> [Asked<W>; 2] {
    let stream = ChaCha20Prg::new(&Seed::from_bytes(&keys.seeds[0].map(|b| b ^ 0x5a)), &keys.session);
    let mut request = 0;
    let mut both = |values: &[W]| {
        let id = MaskId { lane: 0, request, part: 0 };
        request += 1;
        let (mut theirs, mut own) = (values.to_vec(), vec![W::default(); values.len()]);
        split(&stream, id, 0, &mut theirs);
        expand(&stream, id, 0, &mut own);
        [own, theirs]
    };
    let [a, b] = both(&asked.model);
    let [mut first, mut second] = [a, b].map(|model| Asked { model, rows: Vec::new() });
    for lane in &asked.rows {
        let (a, b) = lane.iter().map(|rows| both(rows).into()).unzip();
        first.rows.push(a);
        second.rows.push(b);
    }
    [first, second]
}

/// One server.
fn serve<W: HostWord + Word>(
    (job, serving, plan): (&Job, &Serving, &ServingPlan),
    role: Party,
    (peers, streams): (&mut [Connection], Vec<Option<&mut Connection>>),
    (prg, kernels): (&dyn Prg, &dyn Kernels<W>),
    asked: &Asked<W>,
) -> (Answers<W>, Count) {
    let fault = Fault::default();
    let mut corrections: Vec<_> =
        streams.into_iter().map(|stream| Some(NetCorrections::new(stream?, fault.clone()))).collect();
    let arena = usize::try_from(plan.arena_bytes).unwrap() / word_bytes::<W>();
    let lanes = (0u16..).zip(peers.iter_mut().zip(&mut corrections)).map(|(lane, (peer, corrections))| {
        let corrections = corrections.as_mut().map(|c| c as &mut (dyn Corrections<W> + Send));
        Some(Lane {
            link: Box::new(NetLink::new(peer, fault.clone())),
            correlations: Box::new(Source::new(prg, kernels, lane, corrections)),
            trace: Box::new(NoTrace),
            arena: Secret::zeros(arena),
        })
    });
    let mut lanes = Lanes::new(role, kernels, lanes.collect(), 64);
    predict(&mut lanes, (job, serving), asked)
}

/// Predicts on shares and on whole values; returns the answers.
///
/// # Panics
///
/// If they differ, or the cost is not the plan's.
pub fn agreed<W: HostWord + Word>(job: &Job, serving: &Serving, asked: &Asked<W>, keys: &Keys) -> Answers<W> {
    let plan = serving_plan(job, serving).unwrap();
    let (count, batches) = (serving.batches.len(), asked.rows[0].len());
    let Wires { servers: [ends0, ends1], dealer, streams } = &mut Wires::new(u16::try_from(count).unwrap());
    let before = sent(dealer);
    let mut both: [Vec<Option<&mut Connection>>; 2] = Default::default();
    for (lane, stream) in (0..).zip(streams) {
        let to = usize::from(receiver(lane) == Party::Server1);
        both[to].push(Some(stream));
        both[1 - to].push(None);
    }
    let ([streams0, streams1], dithers) = (both, Dithers::default());
    let (prgs, shared) = ([keys.prg(job, 0), keys.prg(job, 1)], shares(asked, keys));
    let ((first, count0), (second, count1)) = thread::scope(|scope| {
        let (prgs, shared, dithers, plan) = (&prgs, &shared, &dithers, &plan);
        for (lane, connection) in (0u16..).zip(dealer.iter_mut()) {
            scope.spawn(move || {
                let batches = u32::try_from(batches).unwrap();
                let outlet = |bytes: &[u8]| {
                    connection.buffer_bytes(bytes).unwrap();
                    Ok(())
                };
                deal_serving_lane::<W>(job, serving, batches, [&*prgs[0], &*prgs[1]], lane, outlet).unwrap();
                connection.flush().unwrap();
            });
        }
        let session = (job, serving, plan);
        let first = scope.spawn(move || {
            let marked = MaskTracker(&*prgs[0]);
            let kernels = DitherRecorder { inner: best::<W>(), dithers };
            serve(session, Party::Server0, (ends0, streams0), (&marked as &dyn Prg, &kernels), &shared[0])
        });
        let second = serve(session, Party::Server1, (ends1, streams1), (&*prgs[1], best::<W>()), &shared[1]);
        (first.join().unwrap(), second)
    });
    let lanes = (0u16..).take(count).map(|lane| {
        let inner = Whole::new([&*prgs[0], &*prgs[1]], best::<W>(), lane);
        Some(Lane {
            link: Box::new(Alone),
            correlations: Box::new(DitherReplay { inner, dithers: &dithers }),
            trace: Box::new(NoTrace),
            arena: Secret::zeros(usize::try_from(plan.arena_bytes).unwrap() / word_bytes::<W>()),
        })
    });
    let mut lanes = Lanes::new(Party::Clear, best::<W>(), lanes.collect(), 1);
    let (clear, _) = predict(&mut lanes, (job, serving), asked);
    let joined: Answers<W> =
        first.into_iter().zip(second).map(|(a, b)| a.into_iter().zip(b).map(joined).collect()).collect();
    for (joined, clear) in joined.iter().flatten().zip(clear.iter().flatten()) {
        assert!(W::bytes(joined) == W::bytes(clear), "shares and clear differ: {job:?}");
    }
    let bytes: u64 = plan.batches.iter().map(|batch| batch.bytes_each_way).sum();
    let dealt: u64 = plan.batches.iter().map(|batch| batch.dealer_bytes).sum();
    let rounds = plan.batches.iter().map(|batch| batch.rounds).max().unwrap();
    let batches = batches as u64;
    for count in [count0, count1] {
        assert_eq!(count.bytes, plan.setup.bytes_each_way + batches * bytes, "{job:?}");
        assert_eq!(count.rounds, plan.setup.rounds + batches * rounds, "{job:?}");
    }
    assert_eq!(plan.setup.dealer_bytes, plan.setup_dealt.iter().sum::<u64>());
    assert_eq!(sent(dealer) - before, plan.setup.dealer_bytes + batches * dealt, "{job:?}");
    clear
}

/// Answers for rows of a model that is known, on whole values under seeds of their own.
///
/// # Panics
///
/// If the job answers no such predictions.
#[must_use]
pub fn in_the_clear<W: HostWord + Word>(job: &Job, answer: AnswerKind, model: &[W], rows: Vec<W>) -> Vec<W> {
    let count = u16::try_from(rows.len() / job.data.features()).unwrap();
    let serving = Serving { answer, batches: vec![count] };
    let plan = serving_plan(job, &serving).unwrap();
    let keys = Keys::new(9);
    let prgs = [keys.prg(job, 0), keys.prg(job, 1)];
    let lane = Lane {
        link: Box::new(Alone),
        correlations: Box::new(Whole::new([&*prgs[0], &*prgs[1]], best::<W>(), 0)),
        trace: Box::new(NoTrace),
        arena: Secret::zeros(usize::try_from(plan.arena_bytes).unwrap() / word_bytes::<W>()),
    };
    let mut lanes = Lanes::new(Party::Clear, best::<W>(), vec![Some(lane)], 1);
    let asked = Asked { model: model.to_vec(), rows: vec![vec![rows]] };
    predict(&mut lanes, (job, &serving), &asked).0.concat().concat()
}

fn joined<W: Word>((mut a, b): (Vec<W>, Vec<W>)) -> Vec<W> {
    symbolon_core::share::join(&mut a, &b);
    a
}
