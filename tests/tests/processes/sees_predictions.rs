//! Recordings of all that each role receives while a model answers predictions.

use super::alone;
use symbolon::{
    model_store::{Askers, Keep, ModelVersion, Terms},
    net::Role,
    session::{
        client::{self, Predictions, TrainRequest},
        models,
    },
    train::{AnswerKind, real},
};
use symbolon_core::{fixed::encode, word::Word};
use symbolon_tests::{
    jobs::{CLASSES, FEATURES, Shape},
    program::{LONG, eventually},
    relay::Relay,
    roles::{ANYTHING, CALM, Roles},
    statistics::{bytes_are_uniform, chi_square, padded_words_are_uniform},
    wire::{Answer as Answered, LaneHello, take},
};

/// Whether any eight bytes of `secret` lie anywhere in `bytes`.
fn holds(bytes: &[u8], secret: &[u8]) -> bool {
    let windows: std::collections::HashSet<&[u8]> = secret.windows(8).filter(|own| !own.contains(&0)).collect();
    bytes.windows(8).any(|window| windows.contains(window))
}

/// The same rows again and again: nobody receives anything from which they, or the answers, can be
/// told, but the asker.
#[test]
fn a_recording_of_all_that_each_received_for_predictions() {
    let _alone = alone();
    let mut relays = Vec::new();
    let policy = format!(
        "{}\n[jobs]\nretry_s = 0\n[serve]\nbatches = [8, 64]\npool_rows = 64\n",
        ANYTHING.replace("\"model\"", "\"model\", \"predictions\"")
    );
    let mut roles = Roles::start_over(CALM, &policy, &mut |deployment, from, to, port| {
        relays.push(Relay::start(deployment, from, to, port));
        relays[relays.len() - 1].port
    });
    let ((config, tls), shape) = (roles.client_config(), Shape::default());
    let (job, keep) = (shape.job(), Keep { name: "small".to_owned(), required: true });
    let request = TrainRequest { job: &job, keep: Some(&keep) };
    let kept = client::run::<u64>(&config, &tls, request, shape.inputs(), &mut |_| {}).unwrap().kept;
    let model = ModelVersion { name: keep.name, version: kept.unwrap().unwrap() };
    let frac_bits = job.numbers.frac_bits;
    let terms = Terms { answer: AnswerKind::Values { frac_bits }, per_day: None, askers: Askers::Owner };
    // What passed before is of the training.
    let before: Vec<usize> = relays.iter().map(|relay| relay.talks().len()).collect();
    models::publish(&config, &tls, &model, Some(&terms)).unwrap();
    let mut asking = None;
    assert!(eventually(LONG, || {
        asking = Predictions::open(&config, &tls, None, &model).ok();
        asking.is_some()
    }));
    let mut asking = asking.unwrap();
    let row: Vec<u64> = (0..FEATURES).map(|_| encode(0.25, frac_bits).unwrap()).collect();
    let rows = row.repeat(64);
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers = asking.ask::<u64>(&rows).unwrap();
        // All rows are one row: so are their answers, but for the dither.
        let spread = answers.chunks(CLASSES).map(|answer| real(&job, answer[0]));
        let (least, most) = spread.fold((f64::MAX, f64::MIN), |(a, b), p| (a.min(p), b.max(p)));
        assert!(most - least < 0.01, "{least} to {most}");
    }
    drop(asking);
    models::retire(&config, &tls, &model).unwrap();
    let since = |from, to| {
        let at = relays.iter().position(|relay| (relay.from, relay.to) == (from, to)).unwrap();
        relays[at].talks_after_greetings().split_off(before[at])
    };
    // Server 0 gets seeds, server 1 uniform words.
    let asked = |server| since(Role::Client, server).into_iter().max_by_key(|talk| talk.answered.len()).unwrap();
    let [with0, with1] = [asked(Role::Server0), asked(Role::Server1)];
    assert!(with0.asked.len() < 20 * 80 + 100, "server 0 receives {} bytes", with0.asked.len());
    assert!(with1.asked.len() > 20 * 64 * FEATURES * 8);
    bytes_are_uniform(&with1.asked[200..], "the rows' shares at server 1");
    for (talk, name) in [(&with0, "answers of server 0"), (&with1, "answers of server 1")] {
        // The public part of the model comes first.
        let shares = 20 * 64 * CLASSES * 8;
        bytes_are_uniform(&talk.answered[talk.answered.len() - shares..], name);
    }
    // Between the servers: masked words, lane by lane.
    let mut between = [Vec::new(), Vec::new()];
    for talk in since(Role::Server1, Role::Server0) {
        if talk.asked.len() < 10_000 {
            continue; // no lane
        }
        let (mut asked, mut answered) = (&talk.asked[..], &talk.answered[..]);
        let _: LaneHello = take(&mut asked);
        take::<Answered>(&mut answered).unwrap();
        between[0].extend(asked);
        between[1].extend(answered);
    }
    let dealt = since(Role::Server0, Role::Dealer).into_iter().chain(since(Role::Server1, Role::Dealer));
    let dealt: Vec<u8> = dealt.flat_map(|talk| talk.answered).collect();
    for (bytes, name) in between.iter().zip(["masked, to server 0", "masked, to server 1"]) {
        padded_words_are_uniform(&bytes[..bytes.len() / 8 * 8], name);
    }
    padded_words_are_uniform(&dealt[..dealt.len() / 8 * 8], "dealt");
    assert!(chi_square(u64::bytes(&answers), 256) > 1e4, "the answers are not uniform");
    // Nobody but the asker meets rows or answers.
    for bytes in [&with0.asked, &with1.asked, &between[0], &between[1], &dealt, &with0.answered, &with1.answered] {
        assert!(!holds(bytes, u64::bytes(&answers[..CLASSES])));
    }
    roles.assert_well();
}
