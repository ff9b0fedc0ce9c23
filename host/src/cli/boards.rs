//! Sensor nodes on boards that QEMU emulates, for the demonstration: the firmware's program, its files in place of hardware, its serial line at the gateway.
//!
//! What an emulated board finds in its folder the firmware says (`board/emulated.rs`): `seed`, `blob`, `readings`. The emulator is the gateway's client; the line
//! is not made again when it breaks, as neither outlives the demonstration.

use super::{exit::Failure, local::Local};
use crate::{
    net::{ClientTls, Role},
    session::reports,
};
use std::{
    collections::BTreeMap,
    env, fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use symbolon_core::report::{identity::Identity, record::get, schema::Layout};
use zeroize::Zeroizing;

/// Between two questions to the servers.
const LOOK: Duration = Duration::from_millis(200);
/// A board that brings no record for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A board that QEMU knows and the firmware runs on.
pub(super) struct Board {
    /// For people.
    pub(super) name: &'static str,
    target: &'static str,
    /// In an ELF file's header.
    elf_machine: u16,
    emulator: &'static str,
    machine: &'static [&'static str],
    /// Debian's, of the emulator.
    package: &'static str,
}

const BOARDS: [Board; 2] = [
    Board {
        name: "mps2-an386 (Cortex-M4F)",
        target: "thumbv7em-none-eabihf",
        elf_machine: 40,
        emulator: "qemu-system-arm",
        machine: &["-machine", "mps2-an386", "-cpu", "cortex-m4"],
        package: "qemu-system-arm",
    },
    Board {
        name: "virt (RISC-V 32)",
        target: "riscv32imac-unknown-none-elf",
        elf_machine: 243,
        emulator: "qemu-system-riscv32",
        machine: &["-machine", "virt", "-m", "16M", "-bios", "none"],
        package: "qemu-system-misc",
    },
];

impl Board {
    fn check_emulator(&self) -> Result<(), Failure> {
        let Self { name, emulator, package, .. } = self;
        let runs = Command::new(emulator).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if runs.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        Err(Failure::Input(format!(
            "{emulator} does not run; install QEMU for {name} (Debian: apt-get install {package})"
        )))
    }
}

/// A sensor node's program and the board that it is for.
pub(super) struct Firmware {
    /// Where it runs.
    pub(super) board: &'static Board,
    program: PathBuf,
}

/// A running board: its process, who it is, how many records it has.
pub(super) struct Running<'a> {
    pub(super) process: u32,
    identity: &'a Identity,
    records: u64,
}

impl Firmware {
    /// The programs of these files; if there are none, one for each board, built from the source tree around the working directory.
    ///
    /// # Errors
    ///
    /// If a file is no program for a board, nothing can be built, or an emulator is missing.
    pub(super) fn find(files: &[PathBuf]) -> Result<Vec<Self>, Failure> {
        let found: Vec<Self> = match files {
            [] => {
                let tree = source_tree()?;
                // What is missing is said before half a minute of building.
                BOARDS.iter().try_for_each(Board::check_emulator)?;
                let build = |board: &'static Board| Ok(Self { board, program: build(&tree, board)? });
                BOARDS.iter().map(build).collect::<Result<_, Failure>>()?
            }
            files => files.iter().map(|file| Self::open(file)).collect::<Result<_, _>>()?,
        };
        found.iter().try_for_each(|firmware| firmware.board.check_emulator())?;
        Ok(found)
    }

    fn open(file: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::Input(format!("{}: {error}", file.display()));
        let program = fs::canonicalize(file).map_err(failed)?;
        let mut head = [0; 20];
        fs::File::open(&program).and_then(|mut file| file.read_exact(&mut head)).map_err(failed)?;
        let machine = u16::from_le_bytes([head[18], head[19]]);
        let board = BOARDS.iter().find(|board| head.starts_with(b"\x7fELF") && board.elf_machine == machine);
        let none = || {
            let names = BOARDS.each_ref().map(|board| board.name).join(" or ");
            Failure::Input(format!("{}: no ELF program for {names}", file.display()))
        };
        Ok(Self { board: board.ok_or_else(none)?, program })
    }

    /// Boots a board beside the roles, as this device, whose sensor will measure these records.
    ///
    /// # Errors
    ///
    /// If its files cannot be written, or the emulator does not start.
    pub(super) fn boot<'a>(
        &self,
        local: &Local,
        identity: &'a Identity,
        records: &[Vec<u8>],
        gateway: &str,
    ) -> Result<Running<'a>, Failure> {
        let folder = local.folder(&format!("board-{}", identity.device))?;
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| Failure::Other(format!("no random bytes: {error}")))?;
        let blob = Zeroizing::new(identity.to_bytes());
        let readings = records.iter().flat_map(|record| readings(&identity.layout, record));
        let readings: Vec<u8> = readings.flat_map(u32::to_le_bytes).collect();
        for (name, bytes) in [("seed", &seed[..]), ("blob", &blob[..]), ("readings", &readings)] {
            let path = folder.join(name);
            fs::write(&path, bytes).map_err(|error| Failure::write(&path, &error))?;
        }
        let Board { emulator, machine, .. } = self.board;
        let (host, port) = gateway.rsplit_once(':').unwrap_or((gateway, ""));
        let mut command = Command::new(emulator);
        command
            .args(*machine)
            .args(["-display", "none", "-monitor", "none", "-semihosting-config", "enable=on,target=native"])
            .args([
                "-chardev",
                &format!("socket,id=line,host={host},port={port},nodelay=on"),
                "-serial",
                "chardev:line",
            ])
            .arg("-kernel")
            .arg(&self.program)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null()); // its log, in defmt
        let process = local.adopt(&mut command, emulator)?;
        Ok(Running { process, identity, records: records.len() as u64 })
    }
}

/// The codes of a record, in its order: what a sensor measured.
fn readings<'a>(layout: &Layout, record: &'a [u8]) -> impl Iterator<Item = u32> + use<'a> {
    let [words, halves, bytes, labels, bits] = layout.regions();
    let whole = |region: std::ops::Range<usize>, bits: u32| {
        region.step_by(bits as usize / 8).map(move |byte| get(record, 8 * byte, bits))
    };
    let single = (8 * bits.start..).take(usize::from(layout.bits)).map(|bit| get(record, bit, 1));
    whole(words, 32).chain(whole(halves, 16)).chain(whole(bytes, 8)).chain(whole(labels, 8)).chain(single)
}

/// The folder of the source tree that the working directory is in.
fn source_tree() -> Result<PathBuf, Failure> {
    let here = env::current_dir().map_err(|error| Failure::Other(format!("the working directory: {error}")))?;
    let is_tree = |folder: &&Path| {
        fs::read_to_string(folder.join("firmware/Cargo.toml")).is_ok_and(|text| text.contains("\"symbolon-firmware\""))
    };
    here.ancestors().find(is_tree).map(Path::to_owned).ok_or_else(|| {
        Failure::Input(
            "the firmware's source is not here: run this inside the source tree, or give --firmware with a built sensor_node"
                .to_owned(),
        )
    })
}

/// Builds the sensor node; its path.
fn build(tree: &Path, board: &Board) -> Result<PathBuf, Failure> {
    let target = board.target;
    note!("building the sensor node for {}", board.name);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(&cargo)
        .current_dir(tree)
        .args(["build", "-q", "-p", "symbolon-firmware", "--profile", "firmware", "--bin", "sensor_node"])
        .args(["--target", target, "--message-format", "json"])
        .env_remove("RUSTFLAGS") // or those of the target's configuration would not count
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| {
            Failure::Input(format!(
                "cargo does not run: {error}; install Rust, or give --firmware with a built sensor_node"
            ))
        })?;
    let executable =
        |line| serde_json::from_str::<serde_json::Value>(line).ok()?["executable"].as_str().map(PathBuf::from);
    let built = String::from_utf8_lossy(&output.stdout).lines().find_map(executable);
    built.filter(|_| output.status.success()).ok_or_else(|| {
        Failure::Input(format!(
            "the sensor node does not build for {}; if the target is missing: rustup target add {target}",
            board.name
        ))
    })
}

/// Waits until both servers hold all that the boards measured.
///
/// # Errors
///
/// If a board ended or brings nothing any more, or a server does not answer.
pub(super) fn wait(local: &Local, boards: &[Running<'_>]) -> Result<(), Failure> {
    let tls = ClientTls::new(&local.client.identity()?);
    let (mut most, mut heard) = (0, Instant::now());
    loop {
        let mut held = u64::MAX;
        for server in [Role::Server0, Role::Server1] {
            let told = reports::devices(&local.client, &tls, server)?.devices;
            let stored: BTreeMap<u64, u64> = told.iter().map(|device| (device.device, device.stored)).collect();
            held = held.min(boards.iter().filter_map(|board| stored.get(&board.identity.device.0)).sum());
        }
        let records = boards.iter().map(|board| board.records).sum::<u64>();
        if held == records {
            return Ok(());
        }
        if held > most {
            (most, heard) = (held, Instant::now());
        }
        if let Some(board) = boards.iter().find(|board| local.has_ended(board.process)) {
            return Err(Failure::Other(format!("the board of device {} stopped", board.identity.device)));
        }
        if heard.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            return Err(Failure::Other(format!(
                "boards: {held} of {records} records came, none in the last {seconds} s; is the firmware of this version?"
            )));
        }
        thread::sleep(LOOK);
    }
}
