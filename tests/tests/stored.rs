//! Training on reports that the servers hold: two servers with narrow shares on their shelves, a dealer, and a client that sends nothing but the job.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use symbolon::{
    data::{Pile, Shelf},
    job::{Column, Format, Job, Noise, Place, Reports, Target},
    net::{Capacity, ClientTls, Config, Hosts, Limits, Listener, Role, ServerTls, StopHandle},
    release::allowed::{Allowed, Entry, listed_with},
    session::{
        SessionError,
        client::{Keep, Outcome, TrainRequest, run, run_stored},
        dealer::Dealer,
        models,
        server::{Notice, Server},
    },
    storage::Storage,
    train::{Inputs, real},
};
use symbolon_core::layer::{AnyLayer, Dense, Shape};
use symbolon_core::{
    metric::{AnyMetric, confusion::Confusion, log_loss::LogLoss},
    prg::{ChaCha20Prg, MaskId, Seed},
    report::record::{expand, split},
};
use symbolon_tests::{
    dir::TempDir,
    jobs::{OPTIMIZERS, Shape as OnFiles},
    play::{Game, Keys},
    program::eventually,
    roles::{ANYTHING, CALM, at, deployment, write},
    stored::Task,
};

/// Splits records as devices do: what each server stores.
fn shares(whole: &Pile) -> [Pile; 2] {
    let layout = Task::schema().layout().unwrap();
    let stream = ChaCha20Prg::new(&Seed::from_bytes(&[5; 32]), &[6; 16]);
    let mut piles = [whole.clone(), whole.clone()];
    for record in 0..whole.records.len() {
        let id = MaskId { lane: 0, request: u32::try_from(record).unwrap(), part: 0 };
        expand(&layout, &stream, id, &mut piles[0].records[record].1);
        split(&layout, &stream, id, &mut piles[1].records[record].1);
    }
    piles
}

/// Two servers and a dealer on threads of this process.
struct Servers {
    client: Config,
    stops: Vec<StopHandle>,
    /// What the servers told of jobs.
    told: Arc<Mutex<Vec<String>>>,
    dir: TempDir,
}

impl Servers {
    fn start(shelves: [Option<Pile>; 2]) -> Self {
        Self::start_with(ANYTHING, shelves, Limits::default())
    }

    /// With this policy at the servers and these limits at the dealer.
    fn start_with(policy: &str, shelves: [Option<Pile>; 2], limits: Limits) -> Self {
        let (dir, deployment, mut stops) = (TempDir::new(), deployment(), Vec::new());
        let told = Arc::default();
        let mut hosts = Hosts { server0: at(0), server1: at(0), dealer: at(0), auditor: None };
        let [shelf0, shelf1] = shelves;
        for (role, shelf) in [(Role::Dealer, None), (Role::Server0, shelf0), (Role::Server1, shelf1)] {
            let mut config = Config::load(&write(&dir, &deployment, &hosts, role, &CALM, policy), &[role]).unwrap();
            if role == Role::Dealer {
                config.policy.limits = limits;
            }
            let listener = Listener::bind(config.listen().unwrap()).unwrap();
            let port = at(listener.local_addr().port());
            match role {
                Role::Dealer => hosts.dealer = port,
                Role::Server0 => hosts.server0 = port,
                _ => hosts.server1 = port,
            }
            stops.push(listener.stop_handle());
            let told = Arc::clone(&told);
            thread::spawn(move || listen(&listener, &config, shelf, told));
        }
        let client = write(&dir, &deployment, &hosts, Role::Client, &CALM, "");
        Self { client: Config::load(&client, &[Role::Client]).unwrap(), stops, told, dir }
    }

    fn run(&self, job: &Job) -> Result<Outcome<u64>, SessionError> {
        let tls = ClientTls::new(&self.client.identity().unwrap());
        run_stored(&self.client, &tls, job, &mut |_| {})
    }

    /// Lists a job at both servers.
    fn list(&self, job: &Job) {
        self.list_hash(job.listed_hash().unwrap());
    }

    /// Lists this hash alone.
    fn list_hash(&self, hash: [u8; 32]) {
        for role in [Role::Server0, Role::Server1] {
            let mut list = Allowed::default();
            list.add(Entry { name: "listed".to_owned(), hash });
            list.write(&self.dir.join(format!("for-{role}/{role}/jobs.toml"))).unwrap();
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stops.iter().for_each(StopHandle::stop);
    }
}

/// Notes what a role tells of a job.
fn note(told: &Mutex<Vec<String>>, role: &str, notice: &Notice<'_>) {
    told.lock().unwrap().push(match notice {
        Notice::Begun { job, .. } => format!("{role}{} begins", job.name),
        Notice::Ended { job, well, .. } => format!("{role}{} ends: {well}", job.name),
        Notice::Again { error, .. } | Notice::Failed { error, .. } => format!("{role}fails: {error}"),
        Notice::Serves { .. } | Notice::Served { .. } | Notice::NotServed { .. } => return,
        Notice::Waits { .. } | Notice::Model { .. } | Notice::JobExpired { .. } | Notice::Unstored { .. } => return,
        Notice::LedgerBehind { missing } => format!("{role}{missing} releases were forgotten"),
    });
}

fn listen(listener: &Listener, config: &Config, shelf: Option<Pile>, told: Arc<Mutex<Vec<String>>>) {
    let identity = config.identity().unwrap();
    if config.role == Role::Dealer {
        let dealer = Dealer::new(config).telling(move |notice| note(&told, "dealer: ", &notice));
        let tls = ServerTls::new(&identity, &[Role::Server0, Role::Server1]);
        listener.serve(&tls, &config.timeouts, Capacity::default(), |accepted| {
            let (connection, role) = accepted.unwrap();
            let _ = dealer.serve(connection, role); // the client is told
        });
        return;
    }
    let accepted = if config.role == Role::Server0 { &[Role::Client, Role::Server1][..] } else { &[Role::Client] };
    let said = Arc::clone(&told);
    let tell = move |notice: Notice<'_>| note(&told, "", &notice);
    let mut server = Server::new(config.clone(), ClientTls::new(&identity), None).unwrap().telling(tell);
    if let Some(shelf) = shelf {
        server = server.with_shelf(Arc::new(shelf) as Arc<dyn Shelf>);
    }
    let server = Arc::new(server);
    let queue = Arc::clone(&server);
    thread::spawn(move || queue.run_queue()); // it ends with the process
    listener.serve(&ServerTls::new(&identity, accepted), &config.timeouts, Capacity::default(), |accepted| {
        let (connection, role) = accepted.unwrap();
        if let Err(error) = server.serve(connection, role) {
            said.lock().unwrap().push(format!("{}: {error}", config.role));
        }
    });
}

/// The Euclidean distance of two models.
fn distance(job: &Job, a: &[u64], b: &[u64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (real(job, *a) - real(job, *b)).powi(2)).sum::<f64>().sqrt()
}

const TASK: Task<'_> = Task { ring_bits: 64, lanes: 2, records: 113, regression: false, optimizer: OPTIMIZERS[0] };

#[test]
fn servers_train_on_what_they_hold() {
    let (job, pile) = (TASK.job(), TASK.pile());
    let servers = Servers::start(shares(&pile).map(Some));
    let outcome = servers.run(&job).unwrap();
    let told = servers.told.lock().unwrap().clone();
    assert_eq!(told.iter().filter(|said| *said == "stored begins").count(), 2, "{told:?}");
    let clear = |pile: &Pile| {
        let inputs = Inputs::<u64>::stored(&job, pile, &Storage::default()).unwrap();
        Game::new(job.clone()).clear(inputs, &Keys::new(3), 1).parameters
    };
    let mut shifted = pile.clone();
    shifted.records.rotate_left(1);
    let [whole, shifted, parameters] = [clear(&pile), clear(&shifted), outcome.parameters.unwrap()];
    assert_eq!(parameters.len(), whole.len());
    // Other dithers, so not the same words: runs in the clear lie 0.04 apart, 0.08 at most in 400. Records in another order lie 0.4 apart.
    let apart = [distance(&job, &parameters, &whole), distance(&job, &shifted, &whole)];
    assert!(apart[0] < apart[1] / 2.0, "{apart:?}");
    assert!(outcome.epochs[0].loss.is_some() && outcome.epochs[0].accuracy.is_some());
    assert!(outcome.bytes_sent < 4096, "a client sends the job alone, not {} bytes", outcome.bytes_sent);
}

/// A dealer runs no job beyond its own limits, and names the rule.
#[test]
fn a_dealer_has_limits() {
    let (job, shares) = (TASK.job(), shares(&TASK.pile()));
    let run = |limits| {
        let servers = Servers::start_with(ANYTHING, shares.clone().map(Some), limits);
        let ended = servers.run(&job).map(|_| ()).map_err(|error| error.to_string());
        // The dealer ends a moment after the client.
        let told = || servers.told.lock().unwrap().iter().any(|said| said.starts_with("dealer: stored ends"));
        let dealt = eventually(Duration::from_secs(if ended.is_ok() { 10 } else { 0 }), told);
        (ended, dealt)
    };
    let (ended, dealt) = run(Limits::default());
    assert!(ended.is_ok() && dealt);
    for (limits, rule) in [
        (Limits { largest_memory_bytes: 10_000, ..Limits::default() }, "policy.largest_memory_mib is 0, the job needs"),
        (Limits { places: 0, ..Limits::default() }, "policy.places is 0"),
    ] {
        let (ended, dealt) = run(limits);
        let error = ended.unwrap_err();
        assert!(error.contains("dealer refused: ") && error.contains(rule) && !dealt, "{error}");
    }
}

#[test]
fn who_lacks_records_says_so() {
    let job = TASK.job();
    let told = |shelves| Servers::start(shelves).run(&job).unwrap_err().to_string();
    let [pile0, pile1] = shares(&TASK.pile());
    let none = told([Some(pile0.clone()), None]);
    assert!(none.contains("server1") && none.contains("no reports are stored here"), "{none}");
    let mut fewer = pile1;
    fewer.records.truncate(112);
    let fewer = told([Some(pile0), Some(fewer)]);
    assert!(fewer.contains("90 training records") && fewer.contains("the job 91"), "{fewer}");
}

/// A policy that leaves everything about outputs as it is by default.
const DEFAULTS: &str =
    "jobs = \"any\"\nreveals = [\"accuracy\", \"loss\", \"model\"]\nsmallest_batch = 1\nsmallest_records = 1";

/// Returns the servers' refusal of a job.
fn refusal(servers: &Servers, job: &Job) -> String {
    let error = servers.run(job).unwrap_err();
    assert!(error.is_refusal(), "{error}");
    error.to_string()
}

/// An accuracy in each of 6,000 epochs would tell a hundred strangers' labels.
#[test]
fn a_label_is_not_read_by_thousands_of_outputs() {
    let servers = Servers::start_with(DEFAULTS, shares(&TASK.pile()).map(Some), Limits::default());
    let mut job = TASK.job();
    job.training.epochs = 6000;
    let told = refusal(&servers, &job);
    assert!(told.contains("policy.outputs_per_job is 128, the job opens 1200"), "{told}");
    // Nor by many jobs of few outputs, each without noise or within the day's epsilon.
    job.training.epochs = 1;
    job.reveal.model = false;
    job.reveal.noise = None;
    let told = refusal(&servers, &job);
    assert!(told.contains("policy.epsilon is 1, and the job's outputs have no noise"), "{told}");
    let mut job = TASK.job();
    job.reveal.model = false;
    job.reveal.noise = Some(Noise { epsilon_milli: 1000, largest_loss: 8 });
    let outcome = servers.run(&job).unwrap();
    assert!(outcome.epochs[0].accuracy_standard_error.unwrap() > 0.0);
    let told = refusal(&servers, &job);
    assert!(told.contains("policy.epsilon is 1, of which 0 are left today, and the job spends 1"), "{told}");
}

/// A policy names the kinds of metrics that jobs may open.
#[test]
fn a_metric_is_permitted_by_name() {
    let mut job = TASK.job();
    job.reveal.model = false;
    job.metrics.extend([AnyMetric::Confusion(Confusion {}), AnyMetric::LogLoss(LogLoss {})]);
    let servers = Servers::start_with(DEFAULTS, shares(&TASK.pile()).map(Some), Limits::default());
    let told = refusal(&servers, &job);
    assert!(told.contains("policy.reveals does not permit `confusion`"), "{told}");
    let named = DEFAULTS.replace("\"model\"", "\"confusion\", \"log-loss\"");
    let servers = Servers::start_with(&named, shares(&TASK.pile()).map(Some), Limits::default());
    let outcome = servers.run(&job).unwrap();
    let metrics = &outcome.epochs[0].metrics;
    assert_eq!(metrics.iter().map(|metric| &*metric.kind).collect::<Vec<_>>(), ["accuracy", "confusion", "log-loss"]);
    let table = metrics[1].table.as_ref().unwrap();
    assert!(table.len() == 3 && table.iter().all(|row| row.len() == 3), "{table:?}");
    assert!(metrics.iter().all(|metric| metric.value.is_none() || metric.standard_error.unwrap() > 0.0), "{metrics:?}");
    assert_eq!(
        (metrics[0].value, metrics[0].standard_error),
        (outcome.epochs[0].accuracy, outcome.epochs[0].accuracy_standard_error)
    );
}

/// Any bits of a reading could be called the label, and counted.
#[test]
fn a_label_is_a_declared_one() {
    let servers = Servers::start_with(DEFAULTS, shares(&TASK.pile()).map(Some), Limits::default());
    let with = |change: &dyn Fn(&mut Reports)| {
        let mut job = TASK.job();
        job.reveal.model = false;
        let Format::Reports(reports) = &mut job.data.format else { panic!() };
        change(reports);
        job.data.shape = Shape::vector(u32::try_from(reports.columns.len()).unwrap());
        refusal(&servers, &job)
    };
    let told = with(&|reports| {
        let reading = reports.columns.iter().position(|column| column.place.bits == 16).unwrap();
        let Column { place, .. } = reports.columns.remove(reading);
        reports.target = Target::Label(Place { bits: 2, at: place.at });
    });
    assert!(told.contains("intake.schemas: no field of the schema is the job's label of 2 bits"), "{told}");
    let told = with(&|reports| reports.columns[0].step *= 2.0);
    assert!(told.contains("no field of the schema is the job's feature"), "{told}");
    let mut job = TASK.job();
    job.reveal.model = false;
    job.data.task = symbolon::job::Task::Classes(2);
    job.network.nodes.pop();
    job.network.names.pop();
    job.network.push(AnyLayer::Dense(Dense::new(2)));
    let told = refusal(&servers, &job);
    assert!(told.contains("the label has 3 classes, and the job 2"), "{told}");
}

/// A model after one step contains the step's records.
#[test]
fn a_model_is_not_opened_after_a_step() {
    let servers = Servers::start_with(DEFAULTS, shares(&TASK.pile()).map(Some), Limits::default());
    let mut job = TASK.job();
    assert!(job.reveal.model);
    job.training.batch = 64;
    job.training.drop_last = true;
    let told = refusal(&servers, &job);
    assert!(told.contains("policy.fewest_steps is 100, and the job opens a model after 1 steps"), "{told}");
}

/// One step from weights that a client has chosen tells much about the step's records.
#[test]
fn a_job_on_reports_that_begins_with_a_model_is_listed() {
    let policy = ANYTHING.replace("\"model\"", "\"model\", \"predictions\"");
    let servers = Servers::start_with(&policy, shares(&TASK.pile()).map(Some), Limits::default());
    let job = TASK.job();
    let keep = Keep { name: "kept".to_owned(), required: true };
    let tls = ClientTls::new(&servers.client.identity().unwrap());
    let request = TrainRequest { job: &job, keep: Some(&keep) };
    let kept: Outcome<u64> = run_stored(&servers.client, &tls, request, &mut |_| {}).unwrap();
    assert_eq!(kept.kept, Some(Ok(1)));
    let tuning = Job { from: Some("kept:1".parse().unwrap()), ..job.clone() };
    assert!(refusal(&servers, &tuning).contains("policy.jobs does not list job"));
    servers.list(&tuning);
    assert!(refusal(&servers, &tuning).contains("policy.jobs does not list job"), "each client may have a kept:1");
    let [entry, _] = models::show(&servers.client, &tls, tuning.from.as_ref().unwrap()).unwrap();
    let with = |job: &Job| listed_with(&job.listed_hash().unwrap(), &entry.public.digest());
    servers.list_hash(with(&tuning));
    servers.run(&tuning).unwrap();

    // So is an evaluation of the model on its owner's records, which come from files.
    let mut source = OnFiles::default().job();
    (source.network, source.numbers, source.loss) = (job.network, job.numbers, job.loss);
    let data = &mut source.data;
    (data.shape, data.task, data.scale) = (job.data.shape, job.data.task, job.data.scale);
    let evaluation = source.evaluation("kept:1".parse().unwrap(), 20).unwrap();
    let evaluate = || {
        let inputs = Inputs::in_memory(&evaluation);
        run::<u64>(&servers.client, &tls, &evaluation, inputs, &mut |_| {})
    };
    assert!(evaluate().unwrap_err().to_string().contains("policy.jobs does not list job"));
    servers.list_hash(with(&evaluation));
    assert_eq!(evaluate().unwrap().epochs.len(), 1);
}

/// Without being listed, no job runs on other people's records.
#[test]
fn a_job_on_stored_records_is_listed() {
    let servers = Servers::start_with(
        &DEFAULTS.replace("jobs = \"any\"\n", ""),
        shares(&TASK.pile()).map(Some),
        Limits::default(),
    );
    let mut job = TASK.job();
    job.reveal.model = false;
    let told = refusal(&servers, &job);
    assert!(told.contains("policy.jobs does not list job") && told.contains("symbolon policy allow"), "{told}");
    // Server 1 may look at the order later than the client at server 0's refusal.
    let both = || {
        let told = servers.told.lock().unwrap();
        [Role::Server0, Role::Server1].iter().all(|role| told.iter().any(|said| said.starts_with(&format!("{role}: "))))
    };
    assert!(eventually(Duration::from_secs(10), both));
    servers.list(&job);
    servers.run(&job).unwrap();
    job.training.seed += 1;
    assert!(refusal(&servers, &job).contains("policy.jobs does not list job"));
}
