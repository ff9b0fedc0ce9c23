//! Predictions in a deployment with an auditor: its agreement precedes the use of what is dealt.

use super::{
    alone,
    predict::{PREDICTS, asking, clear_rows, terms},
};
use symbolon::{
    job::Job,
    model_store::ModelVersion,
    net::{ClientTls, Config, Role},
    session::{client::Predictions, models},
    train::AnswerKind,
};
use symbolon_core::fixed::encode;
use symbolon_tests::{
    jobs::{FEATURES, Shape, Values},
    predict::in_the_clear,
    program::{LONG, eventually},
    relay::Relay,
    roles::{ANYTHING, CALM, Roles, Route},
};

/// A byte of the corrections of a lane's first batch.
const BYTE: usize = 200;

/// Audited roles whose servers have lanes of these batches.
fn roles(batches: &str, route: Route<'_>) -> Roles {
    let policy = ANYTHING.replace("\"model\"", "\"model\", \"predictions\"");
    Roles::start_audited(CALM, &format!("{policy}\n{}", PREDICTS.replace("[1, 4, 32]", batches)), route)
}

/// Imports a model and publishes it for classes: the dealer has dealt nothing before.
fn published(config: &Config, tls: &ClientTls, job: &Job) -> (ModelVersion, Vec<u64>) {
    let mut values = Values(21);
    let words: Vec<u64> =
        (0..job.model_words()).map(|_| encode(0.6 * values.unit(), job.numbers.frac_bits).unwrap()).collect();
    let model = models::import::<u64>(config, tls, (job, "own"), words.clone()).unwrap();
    models::publish(config, tls, &model, Some(&terms(AnswerKind::Class))).unwrap();
    (model, words)
}

/// Answers are those of the clear engine, and again once the auditor has been away.
#[test]
fn an_audited_model_answers_as_in_the_clear() {
    let _alone = alone();
    let mut roles = roles("[1, 4, 32]", &mut |_, _, _, port| port);
    let (config, tls) = roles.client_config();
    let job = Shape::default().job();
    let (model, words) = published(&config, &tls, &job);
    let rows = clear_rows(&job, &words, 300, 3);
    let want = in_the_clear(&job, AnswerKind::Class, &words, rows.clone());
    let mut open = asking(&config, &tls, &model);
    for count in [1, 3, 300] {
        assert_eq!(open.ask::<u64>(&rows[..count * FEATURES]).unwrap(), want[..count]);
    }
    roles.restart(Role::Auditor);
    let answered = eventually(LONG, || {
        let asked = Predictions::open(&config, &tls, None, &model).and_then(|mut open| open.ask::<u64>(&rows));
        asked.is_ok_and(|answers| answers == want)
    });
    assert!(answered, "{}{}", roles.server0.said(), roles.server1.said());
    roles.assert_well();
}

/// A dealer that flips one bit of a lane's corrections: the server that receives them ends the
/// session before they are used.
#[test]
fn a_flipped_bit_ends_predictions() {
    let _alone = alone();
    // The one lane's corrections go to one of the servers, those of a second lane to the other.
    flipped_for(Role::Server1, "[4]", true);
    flipped_for(Role::Server0, "[4, 4]", false);
}

/// The bit is among the corrections of `receiver`, which finds it; if it receives those of all
/// lanes, no answer leaves.
fn flipped_for(receiver: Role, batches: &str, of_all: bool) {
    let mut dealer = None;
    let mut roles = roles(batches, &mut |deployment, from, to, port| {
        if (from, to) != (receiver, Role::Dealer) {
            return port;
        }
        dealer.insert(Relay::start_flipping(deployment, from, to, port, Some(BYTE))).port
    });
    let (config, tls) = roles.client_config();
    let job = Shape::default().job();
    let (model, words) = published(&config, &tls, &job);
    let rows = clear_rows(&job, &words, 1, 3);
    let want = in_the_clear(&job, AnswerKind::Class, &words, rows.clone());
    let found = "the dealer's corrections are not the auditor's, found before release ";
    let [finder, other] = match receiver {
        Role::Server0 => [&roles.server0, &roles.server1],
        _ => [&roles.server1, &roles.server0],
    };
    let ended = eventually(LONG, || {
        let asked = Predictions::open(&config, &tls, None, &model).and_then(|mut open| open.ask::<u64>(&rows));
        assert!(asked.is_err() || (!of_all && asked.is_ok_and(|class| class == want)), "an answer left");
        finder.said().contains(found)
    });
    assert!(ended, "{}{}", finder.said(), other.said());
    finder.says(&["this server's outputs are withheld; have dealer and auditor compare"]);
    assert!(!other.said().contains(found), "the other server's corrections were right");
    roles.assert_well();
}
