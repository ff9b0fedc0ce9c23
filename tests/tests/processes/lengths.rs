//! Lengths of sequences between processes: both servers receive them before the shares, and refuse
//! those that do not suit the job.

use super::{alone, assert_useful};
use symbolon::{
    data::{Dataset, SetLengths, Targets},
    job::Job,
    net::{Connection, Role},
    session::client,
    train::Inputs,
};
use symbolon_tests::{
    roles::{ANYTHING, HASTY, Roles},
    wire::{Answer, Data, Order, fresh_session},
};

/// 32 records and 8 to test on: sequences of four steps, a label each.
fn job() -> Job {
    let text = "version = 2\nname = 'lengths'\nloss = 'softmax-cross-entropy'\nmetrics = ['accuracy', 'perplexity']\n\
        [data]\ntrain_records = 32\ntest_records = 8\nclasses = 2\nscale = { divide = 1 }\n\
        shape = [4, 1]\nlabels_per_record = 4\n\
        [data.npz]\nfile = 'x.npz'\ntrain_features = 'a'\ntrain_labels = 'b'\ntest_features = 'c'\ntest_labels = 'd'\n\
        train_lengths = 'e'\ntest_lengths = 'f'\n\
        [network]\nlayers = [{ kind = 'recurrent', cell = 'simple', units = 2, states = 'all' }, \
        { kind = 'dense', units = 2, each_step = true }]\n\
        [training]\nepochs = 1\nbatch = 16\nseed = 1\n[optimizer]\nkind = 'sgd'\nlearning_rate = 0.00001\n\
        [reveal]\nloss = 'epoch'\nmetrics = true\nmodel = true\n";
    Job::parse(text, "lengths.toml".as_ref()).unwrap()
}

fn records(rows: u16) -> Dataset {
    let n = usize::from(rows);
    let lengths = SetLengths { records: (0..rows).map(|i| 1 + i % 4).collect(), labels: Vec::new() };
    let targets = Targets::Classes(vec![1; 4 * n]);
    Dataset { features: vec![f32::NAN; 4 * n], targets, lengths, rows: n, cols: 4, held: rows.into(), skipped: 0 }
}

/// Sequences of zeros, with anything in the padding.
fn inputs() -> Inputs<u64> {
    let [train, test] = [32, 8].map(|rows| {
        let mut data = records(rows);
        for (row, length) in data.features.chunks_exact_mut(4).zip(&data.lengths.records) {
            row[..usize::from(*length)].fill(0.0);
        }
        data
    });
    Inputs::encode(&job(), &train, &test).unwrap()
}

/// A policy that permits the job.
fn policy() -> String {
    ANYTHING.replace("\"loss\"", "\"loss\", \"perplexity\"")
}

#[test]
fn a_padded_job_runs_at_servers_and_dealer() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, &policy());
    let (config, tls) = roles.client_config();
    let outcome = client::run(&config, &tls, &job(), inputs(), &mut |_| {}).unwrap();
    let last = outcome.epochs.last().unwrap();
    // 20 of 32 labels of the test records count.
    assert_eq!(last.scored, Some(20));
    // All labels are alike, and so are their losses.
    let [loss, perplexity] = [last.loss.unwrap(), last.metrics[1].value.unwrap()];
    assert!((loss - perplexity.ln()).abs() < 0.1 * loss, "{loss} {perplexity}");
    assert!([0.0, 1.0].contains(&last.accuracy.unwrap()));
    roles.assert_well();
}

fn order(roles: &Roles, to: Role) -> Connection {
    let mut server = roles.reach(Role::Client, to);
    server.send(&Order::of(fresh_session(), &job())).unwrap();
    server.recv::<Answer>(1000).unwrap().unwrap();
    server
}

/// The bytes of lengths of which only record 1's is unlike the others.
fn lengths(second: u16) -> Vec<u8> {
    (0..40).flat_map(|i| if i == 1 { second } else { 3 }.to_le_bytes()).collect()
}

#[test]
fn servers_refuse_lengths_that_do_not_suit_the_job() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, &policy());
    for (to, first) in [(Role::Server0, Data::Seed([1; 32])), (Role::Server1, Data::Words)] {
        order(&roles, to).send(&first).unwrap();
        let process = if to == Role::Server0 { &roles.server0 } else { &roles.server1 };
        process.says(&["client sent something else where the lengths of the sequences was due"]);
        let mut short = order(&roles, to);
        short.send(&Data::Lengths { counts: [31, 0, 8, 0] }).unwrap();
        process.says(&["client sent 31 lengths where the job has 32 (train_lengths)"]);
        let mut long = order(&roles, to);
        long.send(&Data::Lengths { counts: [32, 0, 8, u64::MAX] }).unwrap();
        process.says(&["client sent 18446744073709551615 lengths where the job has 0 (test_label_lengths)"]);
        for wrong in [0, 5, u16::MAX] {
            let mut client = order(&roles, to);
            client.send(&Data::Lengths { counts: [32, 0, 8, 0] }).unwrap();
            client.send_bytes(&lengths(wrong)).unwrap();
            process.says(&[&format!(
                "client sent {wrong} as the length of record 1 (train_lengths), and the job takes 1 to 4"
            )]);
        }
        let mut twice = order(&roles, to);
        twice.send(&Data::Lengths { counts: [32, 0, 8, 0] }).unwrap();
        twice.send_bytes(&lengths(4)).unwrap();
        twice.send(&Data::Lengths { counts: [32, 0, 8, 0] }).unwrap();
        process.says(&["client sent something else where this server's share of the data was due"]);
    }
    assert_useful(&mut roles);
}
