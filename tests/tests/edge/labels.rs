//! Labels that come later: a data owner says what a device's reports were about, all by the command line.

use super::{alone, share::Cli, train};
use std::{fmt::Write, fs, thread, time::Duration};
use symbolon::{device::KeyFile, net::Role};
use symbolon_tests::{
    dir::TempDir,
    fleet::Fleet,
    jobs::Values,
    roles::{ANYTHING, CALM},
};

const SCHEMA: &str = "task = \"rooms\"\n\
    [[field]]\nname = \"sound\"\nwidth = 16\noffset = -1\nstep = 0.001\nunit = \"1\"\n\
    [[field]]\nname = \"light\"\nwidth = 8\noffset = -1\nstep = 0.01\nunit = \"1\"\n";
const LABELS: &str = "task = \"rooms\"\n[[field]]\nname = \"busy\"\nlabel = { bits = 1, classes = 2 }\n";
const JOB: &str = "version = 2\nname = \"rooms\"\nloss = \"softmax-cross-entropy\"\n\
    [data]\nscale = { divide = 1 }\n\
    [data.reports]\nschema = \"rooms.toml\"\nlabel_schema = \"labels.toml\"\nfeatures = [\"sound\", \"light\"]\nlabel = \"busy\"\n\
    test_every = 4\n\
    [network]\nlayers = [{ kind = 'dense', units = 8 }, { kind = 'relu' }, { kind = 'dense', units = 2 }]\n\
    [training]\nepochs = 8\nbatch = 16\nseed = 3\n\
    [optimizer]\nkind = \"momentum\"\nlearning_rate = 0.05\nmomentum = 0.9\n\
    [reveal]\nmetrics = true\nloss = \"epoch\"\nepsilon = \"off\"\n";
/// Longer than servers take to read again who may report.
const REREAD: Duration = Duration::from_secs(2);
const ROWS: usize = 400;
/// The last ones are never labelled, and so are no records of the job.
const LABELLED: usize = 360;

#[test]
fn an_owner_labels_what_a_device_reported() {
    let _alone = alone();
    let fleet = Fleet::start(&[], SCHEMA, CALM, ANYTHING);
    fleet.permit("labels", LABELS);
    let dir = TempDir::new();
    let (schema, labels) = (dir.file("rooms.toml", SCHEMA), dir.file("labels.toml", LABELS));
    let cli = Cli::new(&fleet, &dir);
    cli.provision("room", &schema, &[]);
    cli.provision("owner", &labels, &["--labels"]);
    cli.provision("stranger", &labels, &[]);

    let mut values = Values(5);
    let rows: Vec<[f64; 2]> = (0..ROWS).map(|_| [values.unit(), values.unit()]).collect();
    let table =
        rows.iter().fold("sound,light\n".to_owned(), |text, [sound, light]| text + &format!("{sound},{light}\n"));
    let said = cli.share("room", &schema, &["--csv", dir.file("rooms.csv", &table).to_str().unwrap()], 0);
    assert!(said.contains(", boot 1: both servers hold 400 records"), "{said}");

    let room = KeyFile::read(&dir.join("room.key")).unwrap().device;
    let mut table = "device,boot,sequence,busy\n".to_owned();
    for (sequence, [sound, light]) in (1..=LABELLED).zip(&rows) {
        writeln!(table, "{room},1,{sequence},{}", u8::from(sound + 0.5 * light > 0.1)).unwrap();
    }
    let table = dir.file("labels.csv", &table);
    let table = ["--csv", table.to_str().unwrap(), "--about"];
    // Who is no data owner labels nothing but their own reports.
    let said = cli.share("stranger", &labels, &table, 4);
    assert!(said.contains("360 were refused for good"), "{said}");
    let said = cli.share("owner", &labels, &table, 0);
    assert!(said.contains("both servers hold 360 records"), "{said}");

    let accuracy = train(&fleet, &dir.file("job.toml", JOB));
    println!("accuracy with labels that came later: {accuracy:.4}");
    assert!(accuracy > 0.9, "{accuracy}");
}

/// Registers a device as revoked, and waits until both servers have read of it.
pub(super) fn revoke(fleet: &Fleet, name: &str) {
    for server in [Role::Server0, Role::Server1] {
        let file = fleet.intake(server).devices;
        let text = fs::read_to_string(&file).unwrap();
        let line = format!("name = \"{name}\"\n");
        assert!(text.contains(&line));
        fs::write(&file, text.replace(&line, &format!("{line}revoked = true\n"))).unwrap();
    }
    thread::sleep(REREAD);
}
