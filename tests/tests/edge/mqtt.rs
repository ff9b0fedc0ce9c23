//! `symbolon share --mqtt`: a data owner behind a real broker, as a device.

use super::{
    alone,
    share::{Cli, SCHEMA, csv},
};
use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};
use symbolon::net::Role;
use symbolon_tests::{
    dir::TempDir,
    fleet::Fleet,
    program::LONG,
    program::eventually,
    roles::{ANYTHING, CALM},
};

struct Broker(Child);

impl Broker {
    /// Starts mosquitto for the users `gateway` and `owner`; none if it is not installed.
    fn start(dir: &TempDir, port: u16) -> Option<Self> {
        let users = private(dir, "users", "gateway:word\nowner:word\n");
        let hashed = Command::new("mosquitto_passwd").args(["-U", &users]).status();
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {users}\nuser root\n");
        let config = dir.file("mosquitto.conf", &text);
        let child = Command::new("mosquitto").arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        match (hashed, child) {
            (Ok(_), Ok(child)) => Some(Self(child)),
            (hashed, child) => {
                assert!(std::env::var("CI").is_err(), "no mosquitto: {hashed:?}, {child:?}");
                println!("skipped: the package `mosquitto` is not installed");
                None
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file that only its owner reads.
fn private(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.file(name, text);
    #[cfg(unix)]
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Has the fleet's gateway listen to the broker too.
fn listen(fleet: &mut Fleet, port: u16, password: &str) {
    let config = fleet.config(Role::Gateway);
    let line = format!(
        "mqtt = {{ url = \"mqtt://127.0.0.1:{port}\", prefix = \"plant/reports\", user = \"gateway\", password_file = \"{password}\" }}\n"
    );
    fs::OpenOptions::new().append(true).open(config).unwrap().write_all(line.as_bytes()).unwrap();
    fleet.restart(Role::Gateway);
}

#[test]
fn rows_reach_both_disks_through_a_broker() {
    let _alone = alone();
    let (dir, mut fleet) = (TempDir::new(), Fleet::start(&[], SCHEMA, CALM, ANYTHING));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(_broker) = Broker::start(&dir, port) else { return };
    let up = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(eventually(LONG, up), "mosquitto does not listen");
    let (word, wrong) = (private(&dir, "word", "word\n"), private(&dir, "wrong", "what\n"));
    listen(&mut fleet, port, &word);
    let schema = dir.file("pixels.toml", SCHEMA);
    let table = dir.file("rows.csv", &csv());
    let rows = ["--csv", table.to_str().unwrap(), "--column", "pixel=p", "--time", "at"];
    let cli = Cli::new(&fleet, &dir);
    cli.provision("table", &schema, &[]);
    let at = format!("127.0.0.1:{port}");
    let login = |file: &str| -> Vec<String> {
        let way =
            ["--mqtt", &at, "--mqtt-prefix", "plant/reports", "--mqtt-user", "owner", "--mqtt-password-file", file];
        way.map(str::to_owned).to_vec()
    };
    let share = |way: &[String], more: &[&str], status| {
        let way: Vec<&str> = way.iter().map(String::as_str).collect();
        cli.share_by(&way, "table", Path::new(&schema), &[&rows[..], more].concat(), status)
    };
    let said = share(&login(&word), &[], 0);
    assert!(said.contains(", boot 1: both servers hold 100 records"), "{said}");
    let said = share(&login(&wrong), &["--patience", "2"], 3);
    assert!(said.contains(&format!("broker {at} cannot be reached")), "{said}");
    let said = share(&["--mqtt".to_owned(), at.clone(), "--mqtt-prefix".to_owned(), "a/#".to_owned()], &[], 2);
    assert!(said.contains("`a/#` will not do"), "{said}");
    assert_eq!(fleet.stores().both.len(), 100);
    fleet.assert_well();
}
