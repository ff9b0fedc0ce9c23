//! An interrupt of `symbolon train` on a terminal: the question whether the job goes on.

use super::{alone, assert_useful, folder};
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
};
use symbolon::net::Role;
use symbolon_tests::{
    dir::TempDir,
    jobs::Shape,
    program::{LONG, eventually, signal, symbolon},
    roles::{ANYTHING, CALM, Roles},
};

/// The question, as it ends.
const QUESTION: &str = "c and Enter cancels it:";

/// A program on a terminal of 40 columns.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    /// The job's.
    _dir: TempDir,
}

impl Terminal {
    /// Starts `symbolon train` of a long job.
    fn train(roles: &Roles) -> Self {
        let dir = folder(&Shape { epochs: 400, batch: 4, ..Shape::default() });
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let user = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        tcsetwinsize(&user, Winsize { ws_row: 24, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let side = || Stdio::from(user.try_clone().unwrap());
        let mut command = symbolon(["train", "--no-keep"]);
        command.arg(dir.join("job.toml")).arg("--data").arg(&*dir).arg("--config").arg(roles.client());
        let child = command.env("TERM", "xterm").stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        let (keyboard, mut output) = (File::from(controller.try_clone().unwrap()), File::from(controller));
        let screen = Arc::new(Mutex::new(String::new()));
        let text = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The last process that has the terminal open ends it.
            while let Ok(len @ 1..) = output.read(&mut bytes) {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..len]));
            }
        });
        Self { child, keyboard, screen, _dir: dir }
    }

    fn shows(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    fn await_text(&self, text: &str) {
        assert!(eventually(LONG, || self.shows().contains(text)), "no {text:?} in {:?}", self.shows());
    }

    /// Waits for the end and returns its status.
    fn status(&mut self) -> Option<i32> {
        let mut status = None;
        assert!(eventually(LONG, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        }));
        status.unwrap().code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The progress does not overwrite the question; a second interrupt leaves the job running, an
/// answer cancels it.
#[test]
fn an_interrupt_asks_whether_the_job_goes_on() {
    let _alone = alone();
    let mut roles = Roles::start(CALM, &format!("{ANYTHING}\nplaces = 2"));
    for answers in [false, true] {
        let mut terminal = Terminal::train(&roles);
        terminal.await_text("the servers have job ");
        terminal.await_text("epoch 2"); // the progress is drawn all the time
        signal(terminal.child.id(), "INT");
        terminal.await_text(QUESTION);
        let asked = terminal.shows();
        let step = || roles.jobs(Role::Server0).last().unwrap().step;
        let before = step();
        assert!(eventually(LONG, || step() > before + 100), "the job stands still");
        assert_eq!(terminal.shows(), asked, "the question is overwritten");
        if answers {
            terminal.keyboard.write_all(b"c\n").unwrap();
        } else {
            signal(terminal.child.id(), "INT");
        }
        assert_eq!(terminal.status(), Some(130));
        terminal.await_text(if answers { " is cancelled" } else { "come back with `symbolon train --resume " });
        let job = roles.jobs(Role::Server0).pop().unwrap();
        assert_eq!(job.status.state.word(), if answers { "cancelled" } else { "running" });
    }
    assert_useful(&mut roles);
}
