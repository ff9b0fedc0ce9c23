//! `symbolon reproduce --quick`: every table runs, and its costs are those of the plans.

use std::fs;
use symbolon::{
    data::dataset_dir,
    engine::plan::plan,
    reproduce::{Reproduction, Study},
};
use symbolon_tests::{dir::TempDir, program::symbolon};

#[test]
fn every_table_is_reproduced_in_its_quick_form() {
    let Some(data) = dataset_dir() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no data sets: set SYMBOLON_DATA to their folder");
        eprintln!("skipped: no data sets; set SYMBOLON_DATA to their folder, with mnist/ and tabular/ in it");
        return;
    };
    let dir = TempDir::new();
    let (json, html) = (dir.join("table.json"), dir.join("table.html"));
    for name in Study::names() {
        let study = Study::named(name).unwrap();
        let mut command = symbolon(["reproduce", name, "--quick", "--json"]);
        let output = command.arg(&json).arg("--html").arg(&html).arg("--data").arg(&data).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        let done: Reproduction = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
        let runs: Vec<_> = study.runs.iter().filter(|run| run.in_quick).collect();
        assert_eq!(done.rows.len(), runs.len(), "{name}");
        let first = &runs[0].name;
        for (row, run) in done.rows.iter().zip(runs) {
            assert_eq!(row.name, run.name);
            let total = plan(&study.job(run, 1, true).unwrap()).unwrap().total;
            if row.exploded != [false; 2] {
                assert!(run.explodes && row.exploded[1], "{name}, {}: it explodes", row.name);
                continue;
            }
            assert!(row.clear.as_ref().unwrap().score.is_some(), "{name}, {}: no score", row.name);
            assert_eq!(row.on_shares.is_some(), run.on_shares);
            let Some(on_shares) = &row.on_shares else { continue };
            assert!(on_shares.score.is_some(), "{name}, {}: no score on shares", row.name);
            assert_eq!(on_shares.rounds, total.rounds, "{name}, {}", row.name);
            assert_eq!(on_shares.dealt, total.dealer_bytes, "{name}, {}", row.name);
        }
        let page = fs::read_to_string(&html).unwrap();
        assert!(page.contains(first) && page.contains("<svg"), "{name}");
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(table.contains("Quick form") && table.contains(first), "{table}");
    }
}

#[test]
fn a_missing_set_and_an_unknown_table_are_named() {
    let dir = TempDir::new();
    let said = |args: &[&str]| {
        let output = symbolon(args).arg("--data").arg(&*dir).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let missing = said(&["reproduce", "mnist-speed", "--quick"]);
    assert!(missing.contains("train-images-idx3-ubyte.gz") && missing.contains("This table needs MNIST"), "{missing}");
    assert!(said(&["reproduce", "mnist-sped"]).contains("there are approximations, "));
}
