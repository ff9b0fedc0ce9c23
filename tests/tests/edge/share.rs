//! `symbolon provision` and `symbolon share`: files of records from the command line to both disks, and what is said when that cannot be.

use super::{alone, labels::revoke};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use symbolon::{device::KeyFile, net::Role};
use symbolon_tests::{
    dir::TempDir,
    fleet::Fleet,
    program::{assert_fails, run, symbolon},
    roles::{ANYTHING, CALM},
};

pub(super) const SCHEMA: &str = "task = \"pixels\"\n\
    [[field]]\nname = \"pixel\"\ncount = 4\nwidth = 8\noffset = 0\nstep = 1\nunit = \"1\"\n\
    [[field]]\nname = \"digit\"\nlabel = { bits = 2, classes = 3 }\n";
const OTHER: &str =
    "task = \"pixels\"\n[[field]]\nname = \"pixel\"\ncount = 5\nwidth = 8\noffset = 0\nstep = 1\nunit = \"1\"\n";
const ROWS: u8 = 100;

/// The commands of somebody who shares, with files in one folder.
pub(super) struct Cli<'a> {
    fleet: &'a Fleet,
    dir: &'a Path,
}

impl<'a> Cli<'a> {
    pub(super) fn new(fleet: &'a Fleet, dir: &'a Path) -> Self {
        Self { fleet, dir }
    }

    /// Makes `name.key` and registers the device with both servers.
    pub(super) fn provision(&self, name: &str, schema: &Path, more: &[&str]) {
        let mut command = symbolon(["provision", name]);
        command.arg("--schema").arg(schema).arg("--servers").arg(self.fleet.servers_file());
        command.arg("--out").arg(self.dir).args(more);
        for server in [Role::Server0, Role::Server1] {
            command.arg("--register").arg(self.fleet.config(server));
        }
        let output = run(&mut command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Shares with `name.key`; what was said, if it ended with this status.
    pub(super) fn share(&self, name: &str, schema: &Path, more: &[&str], status: i32) -> String {
        self.share_over(&self.fleet.gateway(), name, schema, more, status)
    }

    fn share_over(&self, gateway: &str, name: &str, schema: &Path, more: &[&str], status: i32) -> String {
        self.share_by(&["--gateway", gateway], name, schema, more, status)
    }

    /// The same on this way, in place of the fleet's gateway.
    pub(super) fn share_by(&self, way: &[&str], name: &str, schema: &Path, more: &[&str], status: i32) -> String {
        let mut command = symbolon(["share"]);
        command.arg("--key").arg(self.dir.join(format!("{name}.key"))).arg("--schema").arg(schema);
        let output = run(command.args(way).args(more));
        assert_fails(&output, status, &[]);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

fn row(i: u8) -> [u8; 5] {
    [i, i.wrapping_mul(7), 255 - i, 3, i % 3]
}

/// The rows as an IDX file of their first four bytes, and one of the last.
fn idx(dir: &TempDir) -> [PathBuf; 2] {
    let rows = u32::from(ROWS).to_be_bytes();
    let head = |sizes: &[[u8; 4]]| [&[0, 0, 8, u8::try_from(sizes.len()).unwrap()], sizes.as_flattened()].concat();
    let pixels = (0..ROWS).flat_map(|i| row(i)[..4].to_vec());
    let pixels: Vec<u8> = head(&[rows, [0, 0, 0, 2], [0, 0, 0, 2]]).into_iter().chain(pixels).collect();
    let digits: Vec<u8> = head(&[rows]).into_iter().chain((0..ROWS).map(|i| row(i)[4])).collect();
    let paths = [dir.join("pixels.idx"), dir.join("digits.idx")];
    fs::write(&paths[0], pixels).unwrap();
    fs::write(&paths[1], digits).unwrap();
    paths
}

/// The rows as a CSV file, with the seconds at which they were taken.
pub(super) fn csv() -> String {
    let head = "at,p.0,p.1,p.2,p.3,digit\n".to_owned();
    (0..ROWS).fold(head, |text, i| {
        let [a, b, c, d, digit] = row(i);
        text + &format!("{},{a},{b},{c},{d},{digit}\n", 1_000 + u32::from(i))
    })
}

#[test]
fn files_reach_both_disks() {
    let _alone = alone();
    let (dir, mut fleet) = (TempDir::new(), Fleet::start(&[], SCHEMA, CALM, ANYTHING));
    let schema = dir.file("pixels.toml", SCHEMA);
    let cli = Cli::new(&fleet, &dir);
    let table = dir.file("rows.csv", &csv());
    let table = ["--csv", table.to_str().unwrap(), "--column", "pixel=p", "--time", "at"];
    let [pixels, digits] = idx(&dir);
    let images = ["--idx", pixels.to_str().unwrap(), "--idx-labels", digits.to_str().unwrap()];
    for (name, file) in [("table", &table[..]), ("images", &images)] {
        cli.provision(name, &schema, &[]);
        let said = cli.share(name, &schema, file, 0);
        assert!(said.contains(", boot 1: both servers hold 100 records"), "{said}");
    }
    // The same file again is another boot, with records of its own.
    let said = cli.share("images", &schema, &images, 0);
    assert!(said.contains(", boot 2: both servers hold 100 records"), "{said}");

    let [table, images] = ["table", "images"].map(|name| KeyFile::read(&dir.join(format!("{name}.key"))).unwrap());
    let stores = fleet.stores();
    assert_eq!((stores.both.len(), &stores.only), (300, &[vec![], vec![]]));
    for (id, (time_ms, record)) in &stores.both {
        let i = u8::try_from(id.sequence - 1).unwrap();
        assert_eq!(record, &row(i), "{id:?}");
        assert!(id.device == images.device || *time_ms == 1000 * (1_000 + u64::from(i)), "{id:?}");
    }
    assert_eq!(stores.both.keys().filter(|id| id.device == table.device).count(), 100);
    fleet.assert_well();
}

#[test]
fn what_cannot_be_shared_is_said() {
    let _alone = alone();
    let (dir, mut fleet) = (TempDir::new(), Fleet::start(&[], SCHEMA, CALM, ANYTHING));
    let (schema, other) = (dir.file("pixels.toml", SCHEMA), dir.file("other.toml", OTHER));
    let cli = Cli::new(&fleet, &dir);
    cli.provision("table", &schema, &[]);
    let with = |name: &str, text: &str| dir.file(name, text).to_str().unwrap().to_owned();
    let good = with("good.csv", "pixel.0,pixel.1,pixel.2,pixel.3,digit\n1,2,3,4,2\n");
    let [pixels, _] = idx(&dir);
    let long = dir.join("long.idx");
    fs::write(&long, [&[0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 5][..], &row(1), &row(2)].concat()).unwrap();
    let wrong = [
        (&other, ["--csv", &good], "was provisioned for another schema than"),
        (&schema, ["--csv", "nowhere.csv"], "nowhere.csv"),
        (&schema, ["--csv", &with("column.csv", "pixel.0,pixel.1,pixel.2,digit\n")], "has no column \"pixel.3\""),
        (&schema, ["--csv", &good.replace("good", "twice")], "has 2 columns named \"pixel.0\""),
        (&schema, ["--csv", &good.replace("good", "cell")], "cell.csv:3, column \"pixel.1\": \"much\" is not a number"),
        (&schema, ["--csv", &good.replace("good", "open")], "open.csv:3: a quote opens here and is never closed"),
        (&schema, ["--csv", &good.replace("good", "range")], "range.csv: row 1: "),
        (&schema, ["--idx", long.to_str().unwrap()], "goes on behind the last record"),
        (&schema, ["--idx", pixels.to_str().unwrap()], "a row has 4 values, the schema's records 5 codes"),
        (&schema, ["--idx", &good], "is not an IDX file"),
    ];
    let _ = with("cell.csv", "pixel.0,pixel.1,pixel.2,pixel.3,digit\n1,2,3,4,2\n1,much,3,4,2\n");
    let _ = with("range.csv", "pixel.0,pixel.1,pixel.2,pixel.3,digit\n1,2,3,4,3\n");
    let _ = with("twice.csv", "pixel.0,pixel.0,pixel.1,pixel.2,pixel.3,digit\n1,1,2,3,4,2\n");
    let _ = with("open.csv", "pixel.0,pixel.1,pixel.2,pixel.3,digit,note\n1,2,3,4,2,\n1,2,3,4,2,\"open\n1,2,3,4,2,\n");
    for (schema, file, words) in &wrong {
        let said = cli.share("table", schema, file, 2);
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }

    // What is only found out on the way ends when patience does.
    let soon = ["--csv", &good, "--patience", "3"];
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = cli.share_over(&nobody, "table", &schema, &soon, 3);
    assert!(said.contains(&format!("gateway {nobody} cannot be reached")), "{said}");
    // A broker is reached in the same way.
    let said = cli.share_by(&["--mqtt", &nobody], "table", &schema, &soon, 3);
    assert!(said.contains(&format!("broker {nobody} cannot be reached")), "{said}");
    let said = cli.share("table", &schema, &soon, 0);
    assert!(said.contains("boot 3: both servers hold 1 records"), "no boot was spent on files that are wrong: {said}");
    revoke(&fleet, "table");
    let said = cli.share("table", &schema, &soon, 4);
    assert!(said.contains("the operator revoked this device"), "{said}");
    assert_eq!(fleet.stores().both.len(), 1);
    fleet.assert_well();
}

/// A counter that went back is refused at the start, and so named, at once; one that is lost is
/// named before anything is sent.
#[test]
fn a_boot_counter_that_went_back_is_named() {
    let _alone = alone();
    let (dir, mut fleet) = (TempDir::new(), Fleet::start(&[], SCHEMA, CALM, ANYTHING));
    let schema = dir.file("pixels.toml", SCHEMA);
    let cli = Cli::new(&fleet, &dir);
    cli.provision("table", &schema, &[]);
    let rows = dir.file("rows.csv", "pixel.0,pixel.1,pixel.2,pixel.3,digit\n1,2,3,4,2\n4,3,2,1,0\n");
    let rows = ["--csv", rows.to_str().unwrap(), "--patience", "50"];
    for _ in 0..4 {
        cli.share("table", &schema, &rows, 0);
    }
    let _ = dir.file("table.boot", "1\n");
    let started = Instant::now();
    let said = cli.share("table", &schema, &rows, 4);
    assert!(started.elapsed() < Duration::from_secs(20), "patience does not help: {:?}", started.elapsed());
    assert!(said.contains("replayed-boot") && said.contains("the boot counter went back"), "{said}");
    assert!(said.contains("provision the device again") && !said.contains("forged"), "{said}");
    fs::remove_file(dir.join("table.boot")).unwrap();
    let said = cli.share("table", &schema, &rows, 2);
    assert!(said.contains("provision the device again") && !said.contains("No such file"), "{said}");
    assert_eq!(fleet.stores().both.len(), 8);
    fleet.assert_well();
}

/// A key that every user can read is refused, as those of TLS are.
#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let _alone = alone();
    let (dir, mut fleet) = (TempDir::new(), Fleet::start(&[], SCHEMA, CALM, ANYTHING));
    let schema = dir.file("pixels.toml", SCHEMA);
    let cli = Cli::new(&fleet, &dir);
    cli.provision("table", &schema, &[]);
    let expose = |file: &Path| fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    expose(&dir.join("table.key"));
    let rows = dir.file("rows.csv", "pixel.0,pixel.1,pixel.2,pixel.3,digit\n1,2,3,4,2\n");
    let said = cli.share("table", &schema, &["--csv", rows.to_str().unwrap()], 2);
    assert!(said.contains("table.key: every user can read this secret; `chmod 600` it"), "{said}");
    let intake = fleet.intake(Role::Server0);
    let mode = fs::metadata(&intake.store).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "others can read a server's shares");
    fleet.kill(Role::Server0);
    expose(&intake.keys.join("1.key"));
    let mut server = symbolon(["server", "--until-stdin-closes", "--config"]);
    let output = run(server.arg(fleet.config(Role::Server0)));
    assert_fails(&output, 2, &["1.key: every user can read this secret"]);
}
