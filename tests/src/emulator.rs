//! Firmware on emulated boards: built, booted under QEMU, talked to over a serial line, its log decoded.
//!
//! What the board lacks it reads from files of a fresh folder ([`Files`]), by semihosting; see the firmware's `board`. The line is a TCP
//! connection on loopback. An emulator is killed when it is dropped, and nothing waits for ever.
//!
//! Without QEMU or the target a test is skipped, or fails where CI=true: ask [`Board::available`] first.

use crate::dir::TempDir;
use defmt_decoder::{DecodeError, Table};
use object::{Object, ObjectSection, SectionFlags, SectionKind, elf::SHF_ALLOC};
use std::{
    collections::BTreeMap,
    env, fs,
    io::{ErrorKind, Read},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long a board may take to connect.
const BOOT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(2);

/// An emulated board.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Board {
    /// `mps2-an386`, Cortex-M4F.
    CortexM4,
    /// `microbit`, Cortex-M0.
    CortexM0,
    /// `virt` with a 32-bit RISC-V core.
    RiscV32,
}

impl Board {
    /// Its target.
    #[must_use]
    pub fn target(self) -> &'static str {
        match self {
            Self::CortexM4 => "thumbv7em-none-eabihf",
            Self::CortexM0 => "thumbv6m-none-eabi",
            Self::RiscV32 => "riscv32imac-unknown-none-elf",
        }
    }

    /// Its emulator and machine.
    #[must_use]
    pub fn emulator(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::CortexM4 => ("qemu-system-arm", &["-machine", "mps2-an386", "-cpu", "cortex-m4"]),
            Self::CortexM0 => ("qemu-system-arm", &["-machine", "microbit"]),
            Self::RiscV32 => ("qemu-system-riscv32", &["-machine", "virt", "-m", "16M", "-bios", "none"]),
        }
    }

    /// Whether emulator and target are installed; says on standard error what is missing.
    ///
    /// # Panics
    ///
    /// If something is missing and CI=true.
    #[must_use]
    pub fn available(self) -> bool {
        let Some(missing) = self.missing() else { return true };
        assert!(env::var("CI").as_deref() != Ok("true"), "{missing}");
        eprintln!("skipped: {missing}");
        false
    }

    fn missing(self) -> Option<String> {
        let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
        let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output().unwrap();
        let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).unwrap().trim());
        if !sysroot.join("lib/rustlib").join(self.target()).is_dir() {
            return Some(format!("the target {0} is not installed; rustup target add {0}", self.target()));
        }
        let emulator = self.emulator().0;
        let runs = Command::new(emulator).arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
        (!runs).then(|| format!("{emulator} is not installed"))
    }

    /// Builds a firmware program, `NAME` or `NAME+FEATURE`, once for each process; its path.
    ///
    /// # Panics
    ///
    /// If it does not build.
    #[must_use]
    pub fn build(self, program: &str) -> PathBuf {
        static BUILT: Mutex<BTreeMap<(Board, String), PathBuf>> = Mutex::new(BTreeMap::new());
        let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        built.entry((self, program.to_owned())).or_insert_with(|| self.build_anew(program)).clone()
    }

    fn build_anew(self, program: &str) -> PathBuf {
        let Some((name, feature)) = program.split_once('+') else { return build(self.target(), &[], program) };
        let built = build(self.target(), &[feature], name);
        // Under a name of its own: the same program without the feature replaces the other.
        let own = built.with_file_name(program);
        fs::copy(built, &own).unwrap();
        own
    }
}

/// Builds a firmware program with these features; its path.
///
/// # Panics
///
/// If it does not build.
#[must_use]
pub fn build(target: &str, features: &[&str], program: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .args(["build", "-q", "-p", "symbolon-firmware", "--profile", "firmware", "--bin", program])
        .args(["--target", target, "--message-format", "json", "--features", &features.join(",")])
        .env_remove("RUSTFLAGS") // or the configuration's would not count
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} does not build for {target}");
    let messages = String::from_utf8(output.stdout).unwrap();
    let executable =
        |line| serde_json::from_str::<serde_json::Value>(line).ok()?["executable"].as_str().map(PathBuf::from);
    messages.lines().find_map(executable).unwrap()
}

/// What a program takes of a board.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sizes {
    /// Code, constants and initial data.
    pub flash_bytes: u64,
    /// Static data, without the stack.
    pub ram_bytes: u64,
}

/// Reads a program's sizes from its sections.
///
/// # Panics
///
/// If it is no program.
#[must_use]
pub fn sizes(program: &Path) -> Sizes {
    let elf = fs::read(program).unwrap();
    let mut sizes = Sizes { flash_bytes: 0, ram_bytes: 0 };
    for section in object::File::parse(&*elf).unwrap().sections() {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            panic!("{} is no ELF file", program.display())
        };
        let name = section.name().unwrap();
        if (sh_flags & SHF_ALLOC).0 == 0 || [".stack", ".heap"].contains(&name) {
            continue;
        }
        if section.kind() != SectionKind::UninitializedData {
            sizes.flash_bytes += section.size();
        }
        if section.kind() == SectionKind::UninitializedData || name.starts_with(".data") {
            sizes.ram_bytes += section.size();
        }
    }
    sizes
}

/// What an emulated board finds in place of its hardware.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The generator's; another one is made of it for each boot. None: the board has no generator.
    pub seed: Option<[u8; 32]>,
    /// The key blob.
    pub blob: Option<Vec<u8>>,
    /// Boots so far.
    pub boots: u32,
    /// What the sensor will measure.
    pub readings: Vec<i32>,
    /// The board's clock counts instructions: each takes a nanosecond.
    pub counted: bool,
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The emulator's exit status, which is the program's; `None` if it was killed.
    pub status: Option<i32>,
    /// Its log: level and message.
    pub log: Vec<String>,
    /// What the emulator said on standard error.
    pub said: String,
}

impl Outcome {
    /// The number in the last log line that is `name` and a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        let number = |line: &String| line.split_once(' ')?.1.strip_prefix(name)?.trim().parse().ok();
        self.log.iter().rev().find_map(number)
    }
}

/// A running board.
pub struct Emulated {
    /// The other end of its serial line.
    pub serial: TcpStream,
    board: Board,
    program: PathBuf,
    dir: TempDir,
    files: Files,
    boots: u32,
    running: Running,
}

/// The emulator; killed when dropped.
struct Running {
    child: Child,
    log: Option<JoinHandle<Vec<String>>>,
    said: Option<JoinHandle<String>>,
}

impl Emulated {
    /// Boots a firmware program, which is built if need be.
    ///
    /// # Panics
    ///
    /// If it does not build, or the emulator does not start.
    #[must_use]
    pub fn boot(board: Board, program: &str, files: Files) -> Self {
        let program = board.build(program);
        let dir = TempDir::new();
        if let Some(blob) = &files.blob {
            fs::write(dir.join("blob"), blob).unwrap();
        }
        if files.boots > 0 {
            fs::write(dir.join("boot"), files.boots.to_le_bytes()).unwrap();
        }
        let readings: Vec<u8> = files.readings.iter().flat_map(|r| r.to_le_bytes()).collect();
        fs::write(dir.join("readings"), readings).unwrap();
        let (running, serial) = start(board, &program, &dir, &files, 0);
        Self { serial, board, program, dir, files, boots: 0, running }
    }

    /// Pulls the plug and starts again, with another seed; what lasts has lasted. Gives what was logged before.
    ///
    /// # Panics
    ///
    /// If the emulator does not start.
    pub fn reset(&mut self) -> Outcome {
        self.boots += 1;
        let _ = self.running.child.kill();
        let _ = self.running.child.wait(); // or both would have the files
        let (running, serial) = start(self.board, &self.program, &self.dir, &self.files, self.boots);
        self.serial = serial;
        std::mem::replace(&mut self.running, running).end()
    }

    /// Appends to what the sensor will measure.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn feed(&self, readings: &[i32]) {
        use std::io::Write;
        let bytes: Vec<u8> = readings.iter().flat_map(|r| r.to_le_bytes()).collect();
        fs::OpenOptions::new().append(true).open(self.dir.join("readings")).unwrap().write_all(&bytes).unwrap();
    }

    /// How many readings were measured.
    #[must_use]
    pub fn measured(&self) -> u32 {
        self.number("measured")
    }

    /// The boot counter.
    #[must_use]
    pub fn counted(&self) -> u32 {
        self.number("boot")
    }

    fn number(&self, file: &str) -> u32 {
        fs::read(self.dir.join(file)).map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap()))
    }

    /// Whether the program still runs.
    ///
    /// # Panics
    ///
    /// If the system does not say.
    pub fn runs(&mut self) -> bool {
        self.running.child.try_wait().unwrap().is_none()
    }

    /// Waits for the program's end; kills it if that does not come in time.
    ///
    /// # Panics
    ///
    /// If the system does not say how it ended.
    #[must_use]
    pub fn wait(mut self, within: Duration) -> Outcome {
        let end = Instant::now() + within;
        while self.runs() && Instant::now() < end {
            thread::sleep(LOOK);
        }
        self.stop()
    }

    /// Kills the program, if it still runs.
    ///
    /// # Panics
    ///
    /// As [`Emulated::wait`].
    #[must_use]
    pub fn stop(self) -> Outcome {
        self.running.end()
    }
}

impl Running {
    /// Kills the emulator if it still runs; what the program left.
    fn end(mut self) -> Outcome {
        let _ = self.child.kill();
        let status = self.child.wait().unwrap();
        let log = self.log.take().and_then(|log| log.join().ok()).unwrap_or_default();
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        Outcome { status: status.code(), log, said }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(board: Board, program: &Path, dir: &TempDir, files: &Files, boots: u32) -> (Running, TcpStream) {
    if let Some(mut seed) = files.seed {
        for (to, from) in seed.iter_mut().zip(boots.to_le_bytes()) {
            *to ^= from;
        }
        fs::write(dir.join("seed"), seed).unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (emulator, machine) = board.emulator();
    let mut child = Command::new(emulator)
        .args(machine)
        .args(if files.counted { &["-icount", "shift=0"][..] } else { &[] })
        .args(["-display", "none", "-monitor", "none", "-semihosting-config", "enable=on,target=native"])
        .args(["-chardev", &format!("socket,id=line,host=127.0.0.1,port={port},nodelay=on"), "-serial", "chardev:line"])
        .arg("-kernel")
        .arg(program)
        .current_dir(&**dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let elf = fs::read(program).unwrap();
    let log = thread::spawn(move || decode(&elf, stdout));
    let said = thread::spawn(move || {
        let mut said = Vec::new();
        let _ = stderr.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let running = Running { child, log: Some(log), said: Some(said) };
    let serial = accept(&listener);
    serial.set_nodelay(true).unwrap();
    (running, serial)
}

/// The board's connection, which the emulator makes before the program starts.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let end = Instant::now() + BOOT;
    loop {
        match listener.accept() {
            Ok((serial, _)) => {
                serial.set_nonblocking(false).unwrap();
                return serial;
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock && Instant::now() < end => thread::sleep(LOOK),
            Err(e) => panic!("the emulator does not connect: {e}"),
        }
    }
}

/// Decodes a defmt log to its end.
fn decode(elf: &[u8], mut stdout: impl Read) -> Vec<String> {
    let mut log = Vec::new();
    let table = Table::parse(elf).unwrap().unwrap_or_else(|| panic!("the program has no log"));
    let mut decoder = table.new_stream_decoder();
    let mut bytes = [0; 4096];
    while let Ok(len @ 1..) = stdout.read(&mut bytes) {
        decoder.received(&bytes[..len]);
        loop {
            match decoder.decode() {
                Ok(frame) => {
                    let level = frame.level().map_or("", |level| level.as_str());
                    log.push(format!("{level} {}", frame.display_message()));
                }
                Err(DecodeError::UnexpectedEof) => break,
                Err(DecodeError::Malformed) => log.push("malformed log frame".into()),
            }
        }
    }
    log
}
