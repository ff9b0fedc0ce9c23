//! `symbolon train --local` and its outputs: what it writes, that it writes it whole, and that nothing stays behind.

use super::{alone, folder};
use std::{fs, path::Path, process::Command, time::Duration};
use symbolon_tests::{
    dir::TempDir,
    jobs::{OPTIMIZERS, Shape},
    program::{LONG, assert_fails, eventually, finish, program, run, signal, symbolon},
    roles::{ANYTHING, CALM, Roles},
};

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A command whose temporary files lie in `temp`.
fn local(dir: &TempDir, temp: &TempDir, more: &[&str]) -> Command {
    let mut command = symbolon(["train"]);
    command.arg(dir.join("job.toml")).arg("--data").arg(&**dir).arg("--local").args(more).env("TMPDIR", &**temp);
    command
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn a_local_run_costs_what_the_plan_says() {
    let _alone = alone();
    let dir = folder(&Shape { ring_bits: 32, optimizer: OPTIMIZERS[2], epochs: 2, ..Shape::default() });
    let (temp, ran, planned) = (TempDir::new(), dir.join("run.json"), dir.join("plan.json"));
    let model = dir.join("model.safetensors");
    let outputs = ["--json", ran.to_str().unwrap(), "--model", model.to_str().unwrap()];
    let output = run(&mut local(&dir, &temp, &outputs));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(is_empty(&temp), "files stay behind");
    let mut plan = symbolon(["plan"]);
    plan.arg(dir.join("job.toml")).arg("--json").arg(&planned);
    assert!(run(&mut plan).status.success());
    let (ran, planned) = (json(&ran), json(&planned));
    assert_eq!(ran["plan_hash"], planned["hash"]);
    assert_eq!(ran["rounds"], planned["total"]["rounds"]);
    assert_eq!(ran["dealer_bytes"], planned["total"]["dealer_bytes"]);
    for server in ["server_0", "server_1"] {
        assert_eq!(ran["bytes_sent"][server], planned["total"]["bytes_each_way"], "{server}");
    }
    assert_eq!(ran["bytes_sent"]["dealer"], ran["dealer_bytes"]);
    assert_eq!((&ran["ring_bits"], &ran["epochs"], &ran["samples"]), (&32.into(), &2.into(), &112.into()));
    assert!(ran["accuracy"].as_f64().unwrap() > 0.2 && ran["loss"].as_f64().unwrap() > 0.0, "{ran}");
    for key in ["seconds_train", "seconds_setup"] {
        assert!(ran[key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert_eq!(symbolon::report::read_model(&model).unwrap().tensors.len(), 4);

    // Neither `--threads` nor the engine enters the plan; the seed of the weights does.
    let hash = |more: &[&str]| {
        let path = dir.join("clear.json");
        let mut command = symbolon(["train"]);
        command.arg(dir.join("job.toml")).arg("--data").arg(&*dir).args(["--engine", "clear", "--json"]);
        assert!(run(command.arg(&path).args(more)).status.success());
        json(&path)["plan_hash"].clone()
    };
    assert_eq!(hash(&["--threads", "1"]), ran["plan_hash"]);
    assert_eq!(hash(&["--threads", "7"]), ran["plan_hash"]);
    assert_ne!(hash(&["--seed", "8"]), ran["plan_hash"]);
}

/// A run whose words left their range gives an error that says what to do, on either engine, and no
/// result.
#[test]
fn results_of_words_that_left_their_range_are_none() {
    let _alone = alone();
    let shape = Shape { ring_bits: 32, ..Shape::default() };
    let (dir, temp) = (folder(&shape), TempDir::new());
    let large = shape.toml().replace("scale = { divide = 1 }", "scale = { divide = 0.00001 }");
    let _ = dir.file("job.toml", &large);
    let outputs = ["run.json", "model.safetensors", "curve.svg"].map(|name| dir.join(name));
    let [json, model, curve] = outputs.each_ref().map(|path| path.to_str().unwrap());
    let more = ["--json", json, "--model", model, "--curve", curve];
    let wanted = ["left their range", "results are wrong", "ring_bits = 64", "symbolon audit"];
    let mut clear = symbolon(["train"]);
    clear.arg(dir.join("job.toml")).arg("--data").arg(&*dir).args(["--engine", "clear"]).args(more);
    for output in [run(&mut local(&dir, &temp, &more)), run(&mut clear)] {
        assert_fails(&output, 2, &wanted);
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(outputs.iter().all(|path| !path.exists()), "a result was written");
    }
    // A job that asks for none gets what comes, unless that cannot be.
    let _ = dir.file("job.toml", &large.replace("[reveal]\n", "[reveal]\nalarm = false\n"));
    let output = run(&mut local(&dir, &temp, &[]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || said.contains(", and can be "), "{said}");
}

/// Process ids whose command line names `dir`.
#[cfg(target_os = "linux")]
fn processes_of(dir: &Path) -> Vec<u32> {
    let named = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line).contains(dir.to_str()?).then_some(id)
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(named).collect()
}

/// At whatever moment the user interrupts: no process and no file stays, and the status says why.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_ends_all_roles() {
    let _alone = alone();
    let dir = folder(&Shape { epochs: 400, batch: 4, ..Shape::default() });
    for (name, wait_ms) in [("INT", 40), ("INT", 150), ("INT", 1500), ("TERM", 1000)] {
        let temp = TempDir::new();
        let model = dir.join("model.safetensors");
        let child = local(&dir, &temp, &["--model", model.to_str().unwrap()]).spawn().unwrap();
        // Not before the handler can be there: until then an interrupt ends the process as it always does.
        assert!(eventually(LONG, || !is_empty(&temp)));
        std::thread::sleep(Duration::from_millis(wait_ms));
        signal(child.id(), name);
        let output = finish(child, Duration::from_secs(10));
        assert_fails(&output, 130, &[]);
        assert!(eventually(Duration::from_secs(2), || processes_of(&temp).is_empty()), "processes stay behind");
        assert!(is_empty(&temp), "files stay behind");
        assert!(!model.exists());
    }
}

/// What fails before the training or in it leaves as little.
#[test]
fn a_failure_leaves_nothing() {
    let _alone = alone();
    let shape = Shape::default();
    let dir = folder(&shape);
    let temp = TempDir::new();
    let csv = shape.csv();
    let cell = csv.lines().nth(3).unwrap().split(',').next().unwrap();
    let _ = dir.file("records.csv", &csv.replacen(&format!("\n{cell},"), "\n1e25,", 1));
    assert_fails(&run(&mut local(&dir, &temp, &[])), 2, &["feature 0"]);
    assert!(is_empty(&temp), "files stay behind");
}

/// A disk without room: the error names the file, and there is none.
#[cfg(unix)]
#[test]
fn a_full_disk() {
    let _alone = alone();
    let mut roles = Roles::start(CALM, ANYTHING);
    let dir = folder(&Shape { hidden: 256, ..Shape::default() });
    let out = TempDir::new();
    for (option, name) in [("--model", "model.safetensors"), ("--json", "run.json")] {
        let path = out.join(name);
        // Files may have one block (POSIX: 512 bytes); without the signal, writing more is an error.
        let script = "trap '' XFSZ; ulimit -f 1; exec \"$@\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh"])
            .arg(program())
            .arg("train")
            .arg(dir.join("job.toml"))
            .arg("--data")
            .arg(&*dir);
        command.arg("--config").arg(roles.client()).arg(option).arg(&path);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let output = run(&mut command);
        if option == "--json" && path.exists() {
            continue; // it fits in a block of this system
        }
        assert_fails(&output, 1, &["cannot write", name, "File too large"]);
        assert!(is_empty(&out), "{option}: a partial file");
    }
    roles.assert_well();
}

/// What cannot be written is said before the training where it can be known; devices are written and stay what they are.
#[cfg(target_os = "linux")]
#[test]
fn other_places_to_write_to() {
    use std::os::unix::fs::FileTypeExt;

    let _alone = alone();
    let dir = folder(&Shape::default());
    let clear = |option: &str, path: &Path| {
        let mut command = symbolon(["train"]);
        command.arg(dir.join("job.toml")).arg("--data").arg(&*dir).args(["--engine", "clear", option]).arg(path);
        run(&mut command)
    };
    for path in [dir.join("no").join("file"), dir.to_path_buf()] {
        assert_fails(&clear("--model", &path), 2, &["--model: ", path.to_str().unwrap(), "a folder that exists"]);
    }
    assert_fails(&clear("--json", Path::new("/dev/full")), 1, &["cannot write /dev/full", "No space left on device"]);
    assert_fails(&clear("--model", Path::new("/dev/full")), 1, &["/dev/full", "No space left on device"]);
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
    let output = clear("--json", Path::new("/dev/stdout"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"plan_hash\": \""));
}

#[test]
fn the_demonstration() {
    let _alone = alone();
    let temp = TempDir::new();
    let output = run(symbolon(["demo"]).env("TMPDIR", &*temp));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for words in [
        "Occupancy Detection",
        "What each role saw",
        "server1 is process",
        "auditor is process",
        "found every one right",
        "accuracy on shares 8",
        "Device test asked occupancy:1 about 5 of its records",
        "It alone knows them",
    ] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    assert!(is_empty(&temp), "files stay behind");
}
