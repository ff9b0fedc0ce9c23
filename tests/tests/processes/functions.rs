//! `symbolon functions`: the README's tables are its own, a function at one number on shares across
//! processes, and bad arguments.

use std::{fs, path::Path};
use symbolon_tests::program::{run, symbolon};

fn printed(args: &[&str]) -> (bool, String) {
    let output = run(&mut symbolon([&["functions"], args].concat()));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_readme_has_the_promises() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    for (ring_bits, frac_bits) in [("32", "11"), ("64", "20")] {
        let (ended, table) = printed(&["--markdown", "--ring-bits", ring_bits, "--frac-bits", frac_bits]);
        assert!(ended, "{table}");
        let hint = format!("symbolon functions --markdown --ring-bits {ring_bits} --frac-bits {frac_bits}");
        assert!(readme.contains(&table), "the README's table is old; put the output of this there: {hint}");
    }
}

/// The number behind `= `.
fn result(text: &str) -> f64 {
    text.split("= ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap()
}

#[test]
fn one_number_on_shares() {
    for (args, expected) in [
        (&["sigmoid", "--x", "3.2"][..], 0.960_834),
        (&["sigmoid", "--x", "-100"], 0.0),
        (&["reciprocal", "--x", "0.25", "--ring-bits", "32", "--frac-bits", "11"], 4.0),
        (&["tanh", "--x", "0.5", "--by", "method = \"direct\""], 0.462_117),
        (&["power", "--x", "1.5", "--by", "exponent = 3"], 3.375),
    ] {
        let (ended, text) = printed(&[args, &["--local"]].concat());
        assert!(ended, "{text}");
        assert!((result(&text) - expected).abs() < 0.005, "{args:?}: {text}");
    }
}

#[test]
fn bad_arguments_are_named() {
    for (args, part) in [
        (&["sigmoidal"][..], "is unknown"),
        (&["--ring-bits", "16"], "must be 32 or 64"),
        (&["--frac-bits", "25"], "must be 8 to 24"),
        (&["tanh", "--by", "bits = 9"], "has bits = 9, which must be 1 to 8"),
        (&["tanh", "--by", "degree = 2"], "needs bits"),
        (&["tanh", "--by", "bits = 8\ninterval = [-3, 3]"], "a power of two apart"),
        (&["sine", "--by", "method = \"direct\""], "is not supported by this method"),
        (&["tanh", "--x", "1e30", "--local"], "is outside of"),
        (&["tanh", "--x", "1"], "--local"),
        (&["sort", "--by", "bits = 8"], "is for functions of one number"),
        (&["top-k", "--x", "1", "--local"], "is for functions of one number"),
    ] {
        let (ended, text) = printed(args);
        assert!(!ended && text.contains(part), "{args:?}: {text}");
    }
}

#[test]
fn functions_of_vectors_have_names() {
    for name in ["less-than", "top-k", "log-softmax"] {
        let (ended, text) = printed(&[name, "--markdown"]);
        let mut rows = text.lines().skip(2).peekable();
        assert!(ended && rows.peek().is_some(), "{text}");
        assert!(rows.all(|row| row.starts_with(&format!("| {name} |"))), "{text}");
    }
}
