//! The `symbolon` program, and processes that end in time.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{Arc, Mutex, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

/// How long a command may take on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);
/// Pause between two looks at something.
const LOOK: Duration = Duration::from_millis(10);

/// The program, built with this test: `src/bin/symbolon-tested.rs`.
///
/// # Panics
///
/// If cargo did not build it; it does so for integration tests.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // target/<profile>/deps/<test>
        let test = env::current_exe().unwrap();
        let program = test.parent().and_then(Path::parent).unwrap().join("symbolon-tested");
        assert!(program.is_file(), "{} is not built", program.display());
        program
    })
}

/// The program with these arguments, its streams piped, in a session without terminal.
pub fn symbolon<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program());
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
///
/// # Panics
///
/// If it does not end in time.
pub fn run(command: &mut Command) -> Output {
    finish(command.spawn().unwrap(), LONG)
}

/// Waits for a process and collects what it wrote; its streams are piped.
///
/// # Panics
///
/// If it does not end in time.
pub fn finish(mut child: Child, within: Duration) -> Output {
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let end = Instant::now() + within;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("still running after {within:?}; it said {}", String::from_utf8_lossy(&stderr.join().unwrap()));
        }
        thread::sleep(LOOK);
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// Asserts how a command ended: its status, and what it said on standard error, word by word.
///
/// # Panics
///
/// If it ended or spoke otherwise, or panicked.
pub fn assert_fails(output: &Output, status: i32, said: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    for said in said {
        assert!(text.contains(said), "{said:?} is not in: {text}");
    }
}

/// Waits until `done`; says whether it came to be.
pub fn eventually(within: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + within;
    while !done() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(LOOK);
    }
    true
}

/// A role that runs as a process. Killed when dropped, and it ends when this process does.
#[derive(Debug)]
pub struct Process {
    child: Child,
    _stdin: ChildStdin,
    said: Arc<Mutex<String>>,
    logged: Arc<Mutex<String>>,
    /// Where it listens.
    pub port: u16,
}

impl Process {
    /// Starts `symbolon server`, `dealer` or `gateway`; returns when it listens.
    ///
    /// # Panics
    ///
    /// If it does not listen in time.
    #[must_use]
    pub fn start(command: &str, config: &Path) -> Self {
        let mut child =
            symbolon([command, "--until-stdin-closes", "--config"]).arg(config).stdin(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let said = Arc::new(Mutex::new(String::new()));
        let text = Arc::clone(&said);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                text.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let (to, line) = mpsc::channel();
        let logged = Arc::new(Mutex::new(String::new()));
        let text = Arc::clone(&logged);
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = to.send(line);
            for line in stdout.lines().map_while(Result::ok) {
                text.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let stdin = child.stdin.take().unwrap();
        let mut process = Self { child, _stdin: stdin, said, logged, port: 0 };
        let line = line.recv_timeout(LONG).unwrap_or_default();
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        process.port = port.unwrap_or_else(|| panic!("{command} does not listen: {line}{}", process.said()));
        assert!(line.contains(" listens on "), "{line}");
        process
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it wrote to standard error.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// All that it wrote to standard output, after the line that says where it listens.
    #[must_use]
    pub fn logged(&self) -> String {
        self.logged.lock().unwrap().clone()
    }

    /// Waits until it has said all of `words`.
    ///
    /// # Panics
    ///
    /// If it does not in time.
    pub fn says(&self, words: &[&str]) {
        let all = || words.iter().all(|word| self.said().contains(word));
        assert!(eventually(LONG / 4, all), "{words:?} are not all in: {}", self.said());
    }

    /// Kills it, without notice to anybody.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends it a signal by its name.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a process a signal by its name.
///
/// # Panics
///
/// If there is no such process.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status().unwrap();
    assert!(sent.success(), "no signal {name} to {process}");
}
