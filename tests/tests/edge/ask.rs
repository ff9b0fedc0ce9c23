//! Devices ask a model that learned from their reports: answers, and each reason for which there is
//! none.

use super::{TRAINING, alone};
use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};
use symbolon::{
    device::{Device, DeviceError, Options},
    job::{Format, Job},
    model_store::{Askers, ModelVersion, Terms},
    net::Role,
    session::{models, reports},
    train::AnswerKind,
};
use symbolon_core::report::{
    Reason,
    frame::{Decoder, Frame, Predicted},
    node::{Event, Node},
    outbox::{Pace, WhenFull},
    question::{Question, Reply},
    record::get,
};
use symbolon_tests::{
    dir::TempDir,
    emulator::{Board, Emulated, Files},
    fleet::Fleet,
    jobs::Values,
    predict::in_the_clear,
    program::{LONG, eventually, finish, symbolon},
    roles::{ANYTHING, CALM},
};

const SCHEMA: &str = "task = \"rooms\"\n\
    [[field]]\nname = \"sound\"\nwidth = 16\noffset = -1\nstep = 0.001\nunit = \"1\"\n\
    [[field]]\nname = \"light\"\nwidth = 16\noffset = -1\nstep = 0.001\nunit = \"1\"\n\
    [[field]]\nname = \"busy\"\nlabel = { bits = 1, classes = 2 }\n";
const JOB: &str = "version = 2\nname = \"rooms\"\nloss = \"softmax-cross-entropy\"\n\
    [data]\nscale = { divide = 1 }\n\
    [data.reports]\nschema = \"rooms.toml\"\nfeatures = [\"sound\", \"light\"]\nlabel = \"busy\"\n\
    [network]\nlayers = [{ kind = 'dense', units = 8 }, { kind = 'relu' }, { kind = 'dense', units = 2 }]\n\
    [training]\nepochs = 8\nbatch = 16\nseed = 3\n\
    [optimizer]\nkind = \"momentum\"\nlearning_rate = 0.05\nmomentum = 0.9\n\
    [reveal]\nmetrics = false\nmodel = true\n";
/// Rows a device and day.
const PER_DAY: u32 = 12;
/// Records that the model learns from.
const ROWS: usize = 320;

/// A fleet whose servers let models answer predictions.
pub(super) fn fleet(names: &[&str]) -> Fleet {
    let policy = ANYTHING.replace("\"model\"", "\"model\", \"predictions\"");
    Fleet::start(names, SCHEMA, CALM, &format!("{policy}\n[serve]\nbatches = [1, 4]\npool_rows = 16\n"))
}

/// Records that are clearly of one class or the other, in turns.
pub(super) fn clear_records(fleet: &Fleet, count: usize, salt: u64) -> Vec<Vec<u8>> {
    let mut values = Values(salt);
    let record = |i: usize| {
        let side = if i.is_multiple_of(2) { 0.7 } else { -0.7 };
        let reals = [side + 0.2 * values.unit(), side + 0.2 * values.unit(), 0.0];
        fleet.schema.record(&reals).unwrap()
    };
    (0..count).map(record).collect()
}

/// Trains the model of a room on its device's reports, which are boot 1; its version, job and
/// words.
pub(super) fn train_rooms(fleet: &Fleet) -> (ModelVersion, Job, Vec<u64>) {
    let mut values = Values(5);
    let mut device = Device::new(&fleet.identities[0], 1, &fleet.gateway(), Options::default()).unwrap();
    for _ in 0..ROWS {
        let (sound, light) = (values.unit(), values.unit());
        let mut record = fleet.schema.record(&[sound, light, f64::from(u8::from(sound + light > 0.0))]).unwrap();
        device.send(0, None, &mut record).unwrap();
    }
    device.finish().unwrap();
    let dir = TempDir::new();
    let _ = dir.file("rooms.toml", SCHEMA);
    let mut command = symbolon(["train", "--keep", "rooms"]);
    command.arg(dir.file("job.toml", JOB)).arg("--config").arg(fleet.config(Role::Client));
    let output = finish(command.spawn().unwrap(), TRAINING);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (config, tls) = fleet.client();
    let model = ModelVersion { name: "rooms".to_owned(), version: 1 };
    let [entry, _] = models::show(&config, &tls, &model).unwrap();
    let job = entry.public.job().unwrap();
    let words = models::open(&config, &tls, (&entry, &job)).unwrap();
    (model, job, words)
}

/// Publishes a model for devices.
pub(super) fn publish(fleet: &Fleet, model: &ModelVersion, per_day: Option<u32>) {
    let (config, tls) = fleet.client();
    let terms = Terms { answer: AnswerKind::Class, per_day, askers: Askers::Devices };
    models::publish(&config, &tls, model, Some(&terms)).unwrap();
}

/// The classes that the clear engine gives records.
pub(super) fn clear_classes(job: &Job, model: &[u64], records: &[Vec<u8>]) -> Vec<u32> {
    let Format::Reports(of) = &job.data.format else { panic!("no reports") };
    let mut rows = vec![0; records.len() * job.data.features()];
    for (row, record) in rows.chunks_exact_mut(job.data.features()).zip(records) {
        of.codes::<u64>(record, row);
    }
    let classes = in_the_clear(job, AnswerKind::Class, model, rows);
    classes.into_iter().map(|class| u32::try_from(class).unwrap()).collect()
}

/// Why a device has no answer.
fn refusal(device: &mut Device, record: &[u8]) -> Option<Reason> {
    match device.ask(0, &mut record.to_vec()) {
        Ok(_) => None,
        Err(DeviceError::Unanswered(reason)) => Some(reason),
        Err(error) => panic!("{error}"),
    }
}

/// Asks until the model's session answers.
fn await_answer(device: &mut Device, record: &[u8]) {
    let mut last = None;
    let answered = eventually(LONG, || {
        thread::sleep(Duration::from_millis(100)); // one that a server takes counts towards its quota
        last = refusal(device, record);
        last.is_none()
    });
    assert!(answered, "{last:?}");
}

#[test]
fn devices_ask_a_model_that_learned_from_their_reports() {
    let _alone = alone();
    let mut fleet = fleet(&["room", "other", "board"]);
    let (model, job, words) = train_rooms(&fleet);
    let gateway = fleet.gateway();
    let mut device = Device::new(&fleet.identities[1], 1, &gateway, Options::default()).unwrap();
    let records = clear_records(&fleet, 6, 1);
    assert_eq!(refusal(&mut device, &records[0]), Some(Reason::NoModel), "a draft answers nobody");
    publish(&fleet, &model, None);
    await_answer(&mut device, &records[0]);
    let started = Instant::now();
    let classes = records.iter().map(|record| device.ask(0, &mut record.clone()).unwrap().class().unwrap());
    let classes: Vec<u32> = classes.collect();
    println!("{} answers took {:?}", records.len(), started.elapsed());
    assert_eq!(classes, clear_classes(&job, &words, &records));
    assert_eq!(classes, [1, 0, 1, 0, 1, 0]);
    if Board::CortexM4.available() {
        a_board_asks(&fleet, (&job, &words));
    }
    replays(&mut fleet, &records[0]);
    let mut device = Device::new(&fleet.identities[1], 3, &gateway, Options::default()).unwrap();
    await_answer(&mut device, &records[0]);

    publish(&fleet, &model, Some(PER_DAY));
    await_answer(&mut device, &records[0]);
    let last = (0..PER_DAY).find_map(|_| refusal(&mut device, &records[1]));
    assert_eq!(last, Some(Reason::Quota));
    let (config, tls) = fleet.client();
    models::retire(&config, &tls, &model).unwrap();
    assert_eq!(refusal(&mut device, &records[1]), Some(Reason::NoModel));
    assert_counted(&fleet);
    fleet.assert_well();
}

/// Nothing of this is a record, or a gap among records; refusals are counted where they were drawn.
fn assert_counted(fleet: &Fleet) {
    let (config, tls) = fleet.client();
    let own = [Role::Server0, Role::Server1].map(|server| {
        let told = reports::devices(&config, &tls, server).unwrap().devices;
        told.into_iter().find(|own| own.device == fleet.identities[1].device.0).unwrap()
    });
    assert!(own.iter().all(|own| (own.stored, own.missing) == (0, 0)), "{own:?}");
    for (reason, least) in [(Reason::ReplayedQuery, 2), (Reason::Forged, 1), (Reason::NoModel, 2), (Reason::Quota, 1)] {
        let counts = own.iter().flat_map(|own| &own.refused).filter(|count| count.reason() == Some(reason));
        assert!(counts.map(|count| count.parts).sum::<u64>() >= least, "{reason}: {own:?}");
    }
}

/// A sensor node on an emulated board asks about its own records, one after the other, and logs the
/// classes.
fn a_board_asks(fleet: &Fleet, (job, model): (&Job, &[u64])) {
    let records = clear_records(fleet, 3, 7);
    let readings = |record: &[u8]| [0, 16, 32].map(|at| get(record, at, if at == 32 { 8 } else { 16 }).cast_signed());
    let blob = Some(fleet.identities[2].to_bytes().to_vec());
    let files = Files { seed: Some([3; 32]), blob, ..Files::default() };
    let node = Emulated::boot(Board::CortexM4, "sensor_node+predict", files);
    let gateway = TcpStream::connect(fleet.gateway()).unwrap();
    let ends = || (node.serial.try_clone().unwrap(), gateway.try_clone().unwrap());
    let (mut from_node, mut to_gateway) = ends();
    thread::spawn(move || io::copy(&mut from_node, &mut to_gateway));
    let (mut to_node, mut from_gateway) = ends();
    from_gateway.set_read_timeout(Some(LONG)).unwrap();
    let mut decoder = Decoder::<512>::new();
    for record in &records {
        node.feed(&readings(record));
        let mut servers = BTreeSet::new();
        while servers.len() < 2 {
            let mut byte = [0];
            from_gateway.read_exact(&mut byte).unwrap();
            to_node.write_all(&byte).unwrap();
            if let Some(Ok(Frame::Predicted(answer))) = decoder.push(byte[0]) {
                servers.insert(Predicted::parse(answer).unwrap().server);
            }
        }
        thread::sleep(Duration::from_millis(200)); // the node reads it
    }
    let outcome = node.stop();
    let classes = outcome.log.iter().filter_map(|line| line.strip_prefix("info class ")?.parse().ok());
    assert_eq!(classes.collect::<Vec<u32>>(), clear_classes(job, model, &records), "{outcome:?}");
}

type Asker = Node<1, 16>;

/// A device in this test's hands, and its line.
struct Hand {
    node: Asker,
    line: TcpStream,
    decoder: Decoder<512>,
}

impl Hand {
    fn send(&mut self, frame: &[u8]) {
        self.line.write_all(frame).unwrap();
    }

    /// The next reply to a question, or hint; the node takes the other frames.
    fn reply(&mut self, question: &mut Question<16>) -> Option<Result<u32, Reason>> {
        let (end, mut bytes) = (Instant::now() + Duration::from_secs(2), [0; 256]);
        while Instant::now() < end {
            let Ok(len) = self.line.read(&mut bytes) else { continue };
            for byte in &bytes[..len] {
                let Some(Ok(frame)) = self.decoder.push(*byte) else { continue };
                match self.node.answered(question, &frame) {
                    Reply::Predicted(answer) => return Some(Ok(answer.class().unwrap())),
                    Reply::Refused(reason) => return Some(Err(reason)),
                    Reply::Part => {}
                    Reply::Other => {
                        let event = self.node.receive(0, Ok(frame));
                        if let Event::Later { reason } = event {
                            return Some(Err(reason));
                        }
                    }
                }
            }
        }
        None
    }

    /// Sends a frame until the reply is this one; late replies to earlier frames are others.
    fn insist(&mut self, question: &mut Question<16>, frame: &[u8], wanted: Result<u32, Reason>) {
        let mut got = Vec::new();
        while got.last() != Some(&Some(wanted)) {
            assert!(got.len() < 20, "{got:?}, not {wanted:?}");
            self.send(frame);
            got.push(self.reply(question));
        }
    }
}

fn stream(frame: &Frame<'_>) -> Vec<u8> {
    frame.encode_stream(&mut [0; 512], &mut [0; 520]).unwrap().to_vec()
}

/// Frames that a line which keeps a device's can send: forged, older and forgotten queries.
fn replays(fleet: &mut Fleet, record: &[u8]) {
    const PACE: Pace = Pace { first_ms: 1, longest_ms: 1 };
    let line = TcpStream::connect(fleet.gateway()).unwrap();
    line.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut rng = ChaCha20Rng::from_seed([8; 32]);
    let node = Asker::new(&fleet.identities[1], 2, WhenFull::RefuseNew, PACE, &mut rng).unwrap();
    let mut hand = Hand { node, line, decoder: Decoder::new() };
    let start = stream(&hand.node.poll(0).unwrap());
    hand.send(&start);
    let ask = |hand: &mut Hand| {
        let mut question = hand.node.ask(0, 0, &mut record.to_vec()).unwrap();
        let frame = stream(&question.poll(0, &PACE).unwrap());
        (question, frame)
    };
    let (mut first, first_frame) = ask(&mut hand);
    let Frame::Report { header, tags, sealed } = first.poll(1000, &PACE).unwrap() else { panic!("no report") };
    let changed: Vec<u8> = sealed.iter().map(|byte| byte ^ 1).collect();
    let forged = stream(&Frame::Report { header, tags: [tags[1], tags[0]], sealed: &changed });
    hand.insist(&mut first, &forged, Err(Reason::Forged));
    hand.insist(&mut first, &first_frame, Ok(1));
    let (mut second, second_frame) = ask(&mut hand);
    hand.insist(&mut second, &second_frame, Ok(1));
    hand.insist(&mut first, &first_frame, Err(Reason::ReplayedQuery)); // older
    for server in [Role::Server0, Role::Server1] {
        fleet.restart(server);
    }
    hand.insist(&mut second, &second_frame, Err(Reason::ReplayedQuery)); // after a restart
}
