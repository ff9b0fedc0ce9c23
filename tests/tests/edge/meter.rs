//! A regression on stored reports: its error has its name and its units.

use super::{alone, run_job, share::Cli};
use std::fmt::Write;
use symbolon::net::Role;
use symbolon_tests::{
    dir::TempDir,
    fleet::Fleet,
    jobs::Values,
    program::{run, symbolon},
    roles::{ANYTHING, CALM},
};

const SCHEMA: &str = "task = \"meter\"\n\
    [[field]]\nname = \"temperature\"\nwidth = 16\noffset = -40\nstep = 0.01\nunit = \"C\"\n\
    [[field]]\nname = \"power\"\nwidth = 16\noffset = 0\nstep = 0.1\nunit = \"W\"\n";
const JOB: &str = "version = 2\nname = \"meter\"\nloss = \"squared-error\"\n\
    [data]\nscale = { divide = 20 }\ntarget = { offset = 200, divide = 50 }\n\
    [data.reports]\nschema = \"meter.toml\"\nfeatures = [\"temperature\"]\nlabel = \"power\"\ntest_every = 2\n\
    [network]\nlayers = [{ kind = 'dense', units = 8 }, { kind = 'relu' }, { kind = 'dense', units = 1 }]\n\
    [training]\nepochs = 20\nbatch = 16\ndrop_last = true\nseed = 1\n\
    [optimizer]\nkind = \"momentum\"\nlearning_rate = 0.01\nmomentum = 0.9\n\
    [reveal]\nmetrics = true\nloss = \"epoch\"\nepsilon = \"off\"\n";

#[test]
fn a_regression_on_reports_reveals_its_error() {
    let _alone = alone();
    let fleet = Fleet::start(&[], SCHEMA, CALM, &ANYTHING.replace("\"any\"", "\"listed\""));
    let dir = TempDir::new();
    let schema = dir.file("meter.toml", SCHEMA);
    let cli = Cli::new(&fleet, &dir);
    cli.provision("meter", &schema, &[]);
    let mut values = Values(5);
    let mut rows = "temperature,power\n".to_owned();
    for _ in 0..200 {
        let temperature = 20.0 + 10.0 * values.unit();
        writeln!(rows, "{temperature:.2},{:.1}", 150.0 + 4.0 * temperature + values.unit()).unwrap();
    }
    cli.share("meter", &schema, &["--csv", dir.file("rows.csv", &rows).to_str().unwrap()], 0);
    let job = dir.file("job.toml", JOB);
    // The servers' operators allow the file; the client's job has the manifest's records too.
    for server in [Role::Server0, Role::Server1] {
        let output = run(symbolon(["policy", "allow"]).arg(&job).arg("--config").arg(fleet.config(server)));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (said, results) = run_job(&fleet, &job);
    assert!(said.contains("test error") && said.contains("units of the target squared"), "{said}");
    assert!(!said.contains("accuracy") && !said.contains('%'), "{said}");
    assert!(results["accuracy"].is_null() && results["r2"].is_null(), "{results}");
    let error = results["mean_squared_error"].as_f64().unwrap();
    println!("mean squared error {error:.1} W^2");
    // The power varies by 530 W^2.
    assert!((0.1..300.0).contains(&error), "{error}");
    assert_eq!(results["history"].as_array().unwrap().len(), 20);
    assert_eq!(results["history"][19]["mean_squared_error"], results["mean_squared_error"]);
}
