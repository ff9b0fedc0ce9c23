//! Two servers' intakes, in a folder of one test's own, and devices.

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};
use symbolon::{
    intake::{Intake, keys::KeyFile, validity::Validity},
    net::{IntakeFiles, Role},
    schema::SchemaFile,
};
use symbolon_core::report::{
    Reason,
    frame::{Frame, Part, Predicted},
    header::{DeviceId, ReportId},
    identity::{Identity, PublicKey, SecretKey, ServerKey},
    session::{Sealed, Sender, Start},
};

/// 2026-11-20, in milliseconds.
pub const NOW: u64 = 1_795_132_800_000;

pub const OCCUPANCY: &str = "task = \"occupancy\"\n[[field]]\nname = \"t\"\nwidth = 16\ncount = 4\n[[field]]\nname = \"x\"\nwidth = 8\n\
                             [[field]]\nname = \"door\"\nwidth = 1\n[[field]]\nname = \"occupied\"\nlabel = { bits = 1, classes = 2 }\n";
pub const LABELS: &str = "task = \"occupancy\"\n[[field]]\nname = \"occupied\"\nlabel = { bits = 3, classes = 5 }\n";
pub const GAIT: &str = "task = \"gait\"\n[[field]]\nname = \"g\"\nwidth = 32\n";

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// A device's entry in the registry.
pub struct Entry {
    pub id: u64,
    pub secret: [u8; 32],
    pub more: &'static str,
    pub key_more: &'static str,
}

/// What every test begins with: a folder for each server, with keys 1 and 2, three schemas, devices.
pub struct World {
    pub dir: PathBuf,
    pub keys: [Vec<(u32, PublicKey)>; 2],
    pub entries: Vec<Entry>,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl World {
    /// With devices `1..=devices`, which may use all tasks.
    pub fn new(devices: u64) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("symbolon-intake-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        let mut world = Self { dir, keys: Default::default(), entries: Vec::new() };
        for server in 0..2 {
            let files = world.files(server);
            fs::create_dir_all(&files.keys).unwrap();
            fs::create_dir_all(&files.schemas).unwrap();
            for (i, text) in [OCCUPANCY, LABELS, GAIT].iter().enumerate() {
                fs::write(files.schemas.join(format!("{i}.toml")), text).unwrap();
            }
            for id in [1, 2] {
                world.add_key(server, id, Validity::default());
            }
        }
        for id in 1..=devices {
            world.entries.push(Entry { id, secret: [id as u8; 32], more: "", key_more: "" });
        }
        world.register();
        world
    }

    pub fn files(&self, server: usize) -> IntakeFiles {
        IntakeFiles::beside(&self.dir.join(server.to_string()))
    }

    pub fn add_key(&mut self, server: usize, id: u32, validity: Validity) {
        let key = KeyFile::generate(validity).unwrap();
        let text = key.to_toml();
        write_private(&self.files(server).keys.join(KeyFile::name(id)), &text);
        self.keys[server].push((id, key.public()));
    }

    /// Writes the registry of both servers.
    pub fn register(&self) {
        let mut text = String::new();
        for Entry { id, secret, more, key_more } in &self.entries {
            let public = SecretKey::from_bytes(secret).public().0;
            let public = public.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            let tasks = if more.contains("tasks") { "" } else { "tasks = [\"occupancy\", \"gait\"]" };
            writeln!(text, "[[device]]\nid = \"{id:016x}\"\nname = \"d{id}\"\n{tasks}\n{more}").unwrap();
            writeln!(text, "[[device.key]]\npublic = \"{public}\"\n{key_more}").unwrap();
        }
        for server in 0..2 {
            fs::write(self.files(server).devices, &text).unwrap();
        }
    }

    pub fn intake(&self, server: usize) -> Intake {
        Intake::open(&self.files(server), [Role::Server0, Role::Server1][server]).unwrap()
    }

    pub fn intakes(&self) -> [Intake; 2] {
        [0, 1].map(|server| self.intake(server))
    }

    pub fn device(&self, id: u64, boot: u32, schema: &str) -> Device {
        self.device_with(id, [id as u8; 32], boot, schema, 1)
    }

    /// A device that is what it says, or pretends to be.
    pub fn device_with(&self, id: u64, secret: [u8; 32], boot: u32, schema: &str, key: u32) -> Device {
        static SEEDS: AtomicU64 = AtomicU64::new(0);
        self.device_seeded(id, secret, boot, schema, key, SEEDS.fetch_add(1, Ordering::Relaxed))
    }

    /// As [`Self::device_with`]: two of one seed have the same session.
    pub fn device_seeded(&self, id: u64, secret: [u8; 32], boot: u32, schema: &str, key: u32, seed: u64) -> Device {
        let schema = SchemaFile::parse(schema).unwrap();
        let server = |i: usize| {
            let known = self.keys[i].iter().find(|(id, _)| *id == key);
            ServerKey { id: key, key: known.map_or(PublicKey([9; 32]), |(_, key)| *key) }
        };
        let identity = Identity {
            device: DeviceId(id),
            secret: SecretKey::from_bytes(&secret),
            schema: schema.hash(),
            layout: *schema.layout(),
            servers: [server(0), server(1)],
        };
        let (sender, start) = Sender::start(&identity, boot, &mut rng(seed)).unwrap();
        Device { id, boot, schema, sender, start }
    }
}

pub struct Device {
    pub id: u64,
    pub boot: u32,
    pub schema: SchemaFile,
    pub sender: Sender,
    pub start: Start,
}

/// A sealed report, and what it hides.
#[derive(Clone)]
pub struct Report {
    pub id: ReportId,
    pub record: Vec<u8>,
    pub sealed: Sealed,
    pub share: Vec<u8>,
}

impl Report {
    pub fn parts(&self) -> [Vec<u8>; 2] {
        let Sealed { header, tags, .. } = &self.sealed;
        encode(Frame::Report { header: header.as_ref(), tags: *tags, sealed: &self.share })
    }
}

fn encode(frame: Frame<'_>) -> [Vec<u8>; 2] {
    frame.parts().unwrap().map(|part| bytes(&part))
}

pub fn bytes(part: &Part<'_>) -> Vec<u8> {
    postcard::to_stdvec(part).unwrap()
}

impl Device {
    /// Both servers' parts of the start.
    pub fn start(&self) -> [Vec<u8>; 2] {
        let Start { header, enc, tags } = &self.start;
        encode(Frame::Start { header, enc: *enc, tags: *tags })
    }

    /// A report whose codes depend on its name alone.
    pub fn report(&mut self) -> Report {
        self.report_about(None)
    }

    pub fn report_about(&mut self, about: Option<ReportId>) -> Report {
        self.report_at(5, about)
    }

    pub fn report_at(&mut self, time_ms: u64, about: Option<ReportId>) -> Report {
        let codes: usize = self.schema.fields().iter().map(|field| usize::from(field.count)).sum();
        let salt = self.id as usize * 7 + self.boot as usize * 3;
        let reals: Vec<_> = (0..codes).map(|i| ((i + salt) % 2) as f64).collect();
        let record = self.schema.record(&reals).unwrap();
        let mut share = record.clone();
        let sealed = self.sender.seal(time_ms, 0, about, &mut share).unwrap();
        let id = ReportId { device: DeviceId(self.id), boot: self.boot, sequence: sealed.sequence };
        Report { id, record, sealed, share }
    }

    /// A query, as [`Self::report`].
    pub fn query(&mut self) -> Report {
        let record = vec![0; self.schema.layout().record_bytes()];
        let mut share = record.clone();
        let sealed = self.sender.seal_query(5, &mut share).unwrap();
        let id = ReportId { device: DeviceId(self.id), boot: self.boot, sequence: sealed.sequence };
        Report { id, record, sealed, share }
    }

    /// Reads answers: names held (0 for the start), and refusals with whether they are authentic. All acknowledgements must be.
    pub fn hear(&self, frames: &[Vec<u8>]) -> Heard {
        let mut heard = Heard::default();
        for frame in frames {
            match Frame::decode(frame).unwrap() {
                Frame::Ack(ack) if (ack.device, ack.boot) == (self.id, self.boot) => {
                    assert!(self.sender.is_authentic(ack.server, &ack.message(), &ack.tag), "a forged ack");
                    heard.held.insert(0);
                    heard.held.extend((0..64).filter(|i| ack.held >> i & 1 == 1).map(|i| ack.from + i));
                }
                Frame::Refuse(no) if (no.device, no.boot) == (self.id, self.boot) => {
                    let authentic = self.sender.is_authentic(no.server, &no.message(), &no.tag);
                    assert!(authentic || no.tag == [0; 16]);
                    heard.refused.push((no.sequence, Reason::from_code(no.reason).unwrap(), authentic));
                }
                Frame::Predicted(bytes) => {
                    let answer = Predicted::parse(bytes).unwrap();
                    assert_eq!((answer.device, answer.boot), (self.id, self.boot));
                    let mut part = vec![0; answer.sealed.len()];
                    assert!(self.sender.open_answer(&answer, &mut part), "a forged answer");
                    heard.predicted.push((answer.sequence, part));
                }
                _ => {}
            }
        }
        heard
    }
}

#[derive(Debug, Default, PartialEq)]
pub struct Heard {
    pub held: BTreeSet<u32>,
    pub refused: Vec<(u32, Reason, bool)>,
    pub predicted: Vec<(u32, Vec<u8>)>,
}

impl Heard {
    pub fn held(sequences: impl IntoIterator<Item = u32>) -> Self {
        Self { held: sequences.into_iter().collect(), ..Self::default() }
    }

    pub fn refused(sequence: u32, reason: Reason, authentic: bool) -> Self {
        Self { refused: vec![(sequence, reason, authentic)], ..Self::default() }
    }
}

/// Parts that a server refused of a device, for this reason.
pub fn refused(intake: &Intake, device: u64, reason: Reason) -> u64 {
    let devices = intake.devices().unwrap().devices;
    let refused = devices.iter().filter(|report| report.device == device).flat_map(|report| &report.refused);
    refused.filter(|count| count.reason() == Some(reason)).map(|count| count.parts).sum()
}

pub fn stored(intake: &Intake, device: u64) -> u64 {
    intake.devices().unwrap().devices.iter().find(|report| report.device == device).map_or(0, |report| report.stored)
}

/// Writes a file that only its owner reads.
pub fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}
