//! It fits: the limits on flash, RAM, instructions and bytes on the air, and the README's table of them.

use symbolon_tests::{
    emulator::Board,
    footprint::{Row, measure, on_the_air, parse, readme, table},
};

/// How far a measurement may be from the README's, of a thousand.
fn tolerance(name: &str) -> u64 {
    if name.ends_with("flash") || name.contains("static RAM") || name.contains("on the air") { 20 } else { 50 }
}

#[test]
fn it_fits_and_the_readme_says_how() {
    if !Board::CortexM4.available() {
        return;
    }
    let rows = measure();
    print!("{}", table(&rows));
    for Row { name, measured, limit } in &rows {
        assert!(limit.is_none_or(|limit| *measured <= limit), "{name}: {measured}, more than {limit:?}");
    }
    let [_, written, _] = readme();
    let written = parse(&written);
    assert_eq!(written.len(), rows.len());
    for (row, written) in rows.iter().zip(&written) {
        assert_eq!((&row.name, row.limit), (&written.name, written.limit));
        let apart = row.measured.abs_diff(written.measured) * 1000;
        let message = "the README's table is old: cargo run -p symbolon-tests --bin footprint";
        assert!(apart <= written.measured * tolerance(&row.name), "{row:?}, not {}: {message}", written.measured);
    }
}

/// A record of n 16-bit readings takes 2 n bytes and so many more.
#[test]
fn a_report_takes_few_bytes_beside_its_record() {
    assert_eq!(on_the_air(64..=64), 70);
    assert_eq!(on_the_air(1..=1024), 75);
}

#[test]
fn a_table_reads_back() {
    let row = |name: &str, measured, limit| Row { name: name.to_owned(), measured, limit };
    let rows = [row("one", 1, None), row("two: instructions", 12_345_678, Some(1000))];
    assert_eq!(parse(&table(&rows)), rows);
}
