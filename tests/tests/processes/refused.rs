//! What servers and dealer do not permit, and what cannot be trained: a refusal names the rule.

use super::{alone, assert_useful, folder, train};
use std::io::{Read, Write};
use std::time::Duration;
use symbolon::{
    job::{Job, Scale},
    net::{PROTOCOL_VERSION, Role, Timeouts},
};
use symbolon_core::layer::{self, AnyLayer, Dense};
use symbolon_tests::{
    dir::TempDir,
    jobs::{CLASSES, FEATURES, Shape},
    program::{assert_fails, run, symbolon},
    relay::speak,
    roles::{ANYTHING, HASTY, Roles, at, deployment, write},
    wire::{Answer, Data, GREETING, No, Order, Update, last_update},
};

#[test]
fn by_policy() {
    let _alone = alone();
    let job = folder(&Shape::default());
    let hash: String = Shape::default().job().hash().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let rules = [
        ("reveals = [\"accuracy\", \"loss\"]\nsmallest_batch = 1".to_owned(), "policy.reveals does not permit `model`"),
        ("reveals = [\"accuracy\", \"model\"]\nsmallest_batch = 1".to_owned(), "policy.reveals does not permit `loss`"),
        (
            format!("{ANYTHING}\n").replace("smallest_batch = 1", "smallest_batch = 17"),
            "policy.smallest_batch is 17, the job's smallest step has",
        ),
        (ANYTHING.replace("records = 1", "records = 113"), "policy.smallest_records is 113, the job has 112"),
        (ANYTHING.replace("\"any\"", "\"listed\""), &*format!("policy.jobs does not list job {hash}")),
        (format!("{ANYTHING}\nlargest_memory_mib = 0"), "policy.largest_memory_mib is 0, the job needs "),
        (
            format!("{ANYTHING}\nlargest_disk_mib = 0\n[storage]\nmemory_mib = 0"),
            "policy.largest_disk_mib is 0, the job needs 1",
        ),
    ];
    for (rule, named) in rules {
        let mut roles = Roles::start(HASTY, &rule);
        let output = train(&job, &roles.client(), &[]);
        assert_fails(&output, 4, &["server0 refused: ", named, "change the job, or have the operator change the rule"]);
        roles.server0.says(&[named]);
        roles.assert_well();
    }
}

/// A client that orders different jobs at the two servers gets nothing from either.
#[test]
fn different_plans() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    let jobs = [Shape::default().job(), Shape { epochs: 2, ..Shape::default() }.job()];
    let mut servers = [Role::Server0, Role::Server1].map(|role| roles.reach(Role::Client, role));
    for (server, job) in servers.iter_mut().zip(&jobs) {
        server.send(&Order::of([9; 16], job)).unwrap();
        server.recv::<Answer>(1000).unwrap().unwrap();
    }
    servers[0].send(&Data::Seed([1; 32])).unwrap();
    servers[1].send(&Data::Words).unwrap();
    servers[1].send_bytes(&vec![0; 8 * 140 * (FEATURES + CLASSES)]).unwrap();
    for server in &mut servers {
        let Update::No(No::Failed(reason)) = last_update(server) else { panic!("it ran") };
        assert!(reason.contains("server0 has another order under this number; start the job again"), "{reason}");
    }
    for server in [&roles.server0, &roles.server1] {
        server.says(&["another order under this number"]);
    }
    for role in [Role::Server0, Role::Server1] {
        assert_eq!(roles.state(role, &[9; 16]), "failed");
    }
    assert_useful(&mut roles);
}

/// A client of another version, or of another program, is told so, and learns this one's version.
#[test]
fn other_versions() {
    let _alone = alone();
    let mut roles = Roles::start(HASTY, ANYTHING);
    for greeting in [b"SYMB\x01\0\0\0", b"HTTP/1.1"] {
        let mut server = speak(&roles.deployment, Role::Client, Role::Server0, roles.server0.port);
        server.write_all(greeting).unwrap();
        let mut theirs = [0; GREETING];
        server.read_exact(&mut theirs).unwrap();
        assert_eq!(&theirs, b"SYMB\x0e\0\0\0");
        let _ = server.read_to_end(&mut Vec::new()); // until it has ended, in whatever way
    }
    roles.server0.says(&[
        "client (127.0.0.1:",
        &format!("it speaks version 1 of the protocol, this program {PROTOCOL_VERSION}"),
        "the same release",
    ]);
    roles.server0.says(&["it does not speak the Symbolon protocol"]);
    assert_useful(&mut roles);
}

/// A job that cannot be read, or that no server could ever plan, is refused at once.
#[test]
fn jobs_without_sense_or_bounds() {
    let _alone = alone();
    // The largest plan takes seconds where the program is hardly optimised.
    let patient = Timeouts { idle: Duration::from_secs(15), ..HASTY };
    let mut roles = Roles::start(patient, ANYTHING);
    let order = |roles: &Roles, job: Vec<u8>| {
        let mut server = roles.reach(Role::Client, Role::Server0);
        server.send(&Order { job, ..Order::of([4; 16], &Shape::default().job()) }).unwrap();
        match server.recv::<Answer>(1000).unwrap() {
            Err(No::Refused(reason) | No::Failed(reason) | No::Busy(reason)) => reason,
            Ok(()) => panic!("taken"),
        }
    };
    let edited = |edit: &dyn Fn(&mut Job)| {
        let mut job = Shape::default().job();
        edit(&mut job);
        job.encode().unwrap()
    };
    assert!(
        order(&roles, vec![1, 2, 3])
            .contains("the job from client: the peer sent bytes that are no job of this version")
    );
    assert!(order(&roles, edited(&|job| job.training.batch = 3)).contains("training.batch"));
    assert!(order(&roles, edited(&|job| job.network.nodes.truncate(2))).contains("network.layers"));
    let endless = edited(&|job| {
        job.training.epochs = 1 << 20;
        job.data.train_records = 1 << 28;
    });
    let reason = order(&roles, endless);
    assert!(reason.contains("training.epochs") || reason.contains("largest_memory_mib"), "{reason}");
    // Large jobs of few bytes: refused before they are planned, or planned at once.
    let large = |batch, lanes| {
        edited(&|job| {
            (job.data.train_records, job.training.batch, job.lanes.lanes) = (1 << 25, batch, lanes);
        })
    };
    let started = std::time::Instant::now();
    let reason = order(&roles, large(16, 64));
    assert!(reason.contains("(the rule plan.work)"), "{reason}");
    for (records, features, units, rule) in
        [(1 << 28, 60, 8, "largest_disk_mib is 65536"), (1 << 20, 6, 1 << 16, "largest_memory_mib is 8192")]
    {
        let reason = order(
            &roles,
            edited(&|job| {
                (job.data.train_records, job.training.batch, job.lanes.lanes) = (records, 1 << 16, 64);
                (job.data.shape, job.data.scale) = (layer::Shape::vector(features), Scale::Divide(1.0));
                job.network.nodes[0].layer = AnyLayer::Dense(Dense::new(units));
            }),
        );
        assert!(reason.contains(&format!("policy.{rule}, the job needs ")), "{reason}");
    }
    let mut server = roles.reach(Role::Client, Role::Server0);
    server.send(&Order { job: large(1 << 16, 4), ..Order::of([5; 16], &Shape::default().job()) }).unwrap();
    server.recv::<Answer>(1000).unwrap().unwrap();
    drop(server);
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    assert_useful(&mut roles);
}

#[test]
fn jobs_and_data_that_do_not_fit() {
    let _alone = alone();
    let shape = Shape::default();
    let dir = TempDir::new();
    let hosts = symbolon::net::Hosts { server0: at(1), server1: at(1), dealer: at(1), auditor: None };
    let client = write(&dir, &deployment(), &hosts, Role::Client, &HASTY, "");
    // Each is refused before anybody is asked: nobody listens.
    let jobs = [
        (shape.toml().replace("units = 3 }", "units = 4 }"), ["network.layers[2]", "[3, 1, 1]"]),
        (shape.toml().replace("'relu'", "'relax'"), ["job.toml:", "relax"]),
        (shape.toml().replace("batch = 16", "batch = 12"), ["training.batch", "power of two"]),
        (shape.toml().replace("shape = [6]", "shape = [7]"), ["data.shape", "records.csv"]),
        (shape.toml().replace("train_records = 112", "train_records = 113"), ["data.train_records", "records.csv"]),
        (shape.toml().replace("epochs = 1", "epochs = \"one\""), ["job.toml", "job.toml:20:10"]),
        (shape.toml().replace("kind = \"sgd\"", "kind = \"sgd\"\nbuckets = 3"), ["optimizer.buckets", "sgd"]),
    ];
    for (text, said) in jobs {
        let folder = folder(&shape);
        let _ = folder.file("job.toml", &text);
        assert_fails(&train(&folder, &client, &[]), 2, &said);
    }
    let csv = shape.csv();
    let line = csv.lines().nth(3).unwrap();
    let cell = line.split(',').next().unwrap();
    let data = [
        (csv.replacen(line, &line.replacen(cell, "NaN", 1), 1), "records.csv:4, column \"f0\": not a finite number"),
        (csv.replacen(line, &line.replacen(cell, "", 1), 1), "records.csv:4, column \"f0\": no value; on_missing"),
        (
            csv.replacen(line, &line.replacen(cell, "many", 1), 1),
            "records.csv:4, column \"f0\": \"many\" is not a number",
        ),
        (csv.replacen(line, &format!("{line},1"), 1), "records.csv:4: 8 cells, expected 7"),
        (
            csv.replacen(line, &format!("{}7", &line[..line.len() - 1]), 1),
            "records.csv:4, column \"label\": 7 is not a class",
        ),
        (csv.replacen(line, &line.replacen(cell, "1e25", 1), 1), "training record 2, feature 0"),
        (String::new(), "records.csv holds no records"),
        (csv.lines().next().unwrap().to_owned(), "records.csv holds no records"),
    ];
    for (text, said) in data {
        let folder = folder(&shape);
        let _ = folder.file("records.csv", &text);
        assert_fails(&train(&folder, &client, &[]), 2, &[said]);
    }
    let folder = folder(&shape);
    std::fs::remove_file(folder.join("records.csv")).unwrap();
    assert_fails(&train(&folder, &client, &[]), 2, &["no data file", "--data"]);
    assert_fails(&run(&mut symbolon(["train", "nowhere.toml", "--data", "."])), 2, &["nowhere.toml"]);
    assert_fails(&run(&mut symbolon(["train"])), 2, &["Usage"]);
}

/// The file that lacks the address is named, not the job.
#[test]
fn a_client_that_knows_no_address() {
    let _alone = alone();
    let job = folder(&Shape::default());
    let mut roles = Roles::start(HASTY, ANYTHING);
    let text = std::fs::read_to_string(roles.client()).unwrap();
    let text: String =
        text.lines().filter(|line| !line.starts_with("server1")).map(|line| format!("{line}\n")).collect();
    let client = roles.client().with_file_name("no-server1.toml");
    std::fs::write(&client, text).unwrap();
    let output = train(&job, &client, &[]);
    assert_fails(&output, 2, &["no-server1.toml: peers.server1: is missing; give `host:port`"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("same version"));
    roles.assert_well();
}
