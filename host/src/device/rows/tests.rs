#![allow(clippy::unwrap_used)]

use super::*;
use crate::{data::Place, job::OnMissing};
use std::io::Cursor;

const ROOMS: &str = "task = \"rooms\"\n\
    [[field]]\nname = \"temperature\"\nwidth = 16\noffset = -40\nstep = 0.01\nunit = \"C\"\n\
    [[field]]\nname = \"busy\"\nlabel = { bits = 1, classes = 2 }\n";
const BYTES: &str = "task = \"bytes\"\n\
    [[field]]\nname = \"p\"\ncount = 4\nwidth = 8\noffset = 0\nstep = 1\nunit = \"1\"\n";

fn rows(text: impl AsRef<[u8]>, headings: &Headings) -> Result<Vec<Row>, RowsError> {
    let bytes = Cursor::new(text.as_ref().to_vec());
    CsvRows::read("rows.csv", bytes, &SchemaFile::parse(ROOMS).unwrap(), headings)?.collect()
}

fn refused(text: impl AsRef<[u8]>, headings: &Headings) -> DataError {
    match rows(text, headings).map(|rows| rows.len()) {
        Err(RowsError::Data(error)) => *error,
        other => panic!("{other:?}"),
    }
}

fn reals(text: impl AsRef<[u8]>, headings: &Headings) -> Vec<Vec<f64>> {
    rows(text, headings).unwrap_or_else(|error| panic!("{error}")).into_iter().map(|row| row.reals).collect()
}

const READ: [[f64; 2]; 2] = [[20.5, 0.0], [-3.0, 1.0]];

#[test]
fn rows_are_read_as_the_training_reads_them() {
    let plain = Headings::default();
    let text = "temperature,busy\n20.5,0\n-3,1\n";
    let utf16: Vec<u8> = "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(reals(text, &plain), READ);
    assert_eq!(reals(utf16, &plain), READ);
    assert_eq!(reals(text.replace('\n', "\r"), &plain), READ);
    assert_eq!(reals(b"note,temperature,busy\n\xb0C,20.5,0\n,-3,1\n", &plain), READ);
    let dialect = Dialect { delimiter: ';', ..Dialect::default() };
    let semicolons = Headings { dialect, ..Headings::default() };
    assert_eq!(reals(text.replace(',', ";"), &semicolons), READ);
    let error = rows(text.replace(',', ";"), &plain).map(|rows| rows.len()).unwrap_err().to_string();
    assert!(error.contains("has no column \"temperature\"") && error.contains("--delimiter"), "{error}");
}

#[test]
fn missing_cells_are_refused_or_left_out_with_their_numbers() {
    let text = "temperature,busy,note\n20.5,0,\n?,1,\n,1,\n-3,1,x\n";
    let error = refused(text, &Headings::default());
    let DataError::Value { place: Place::Cell { line: 3, .. }, problem: Problem::NotNumber { .. }, .. } = error else {
        panic!("{error}")
    };
    let missing = vec![String::new(), "?".to_owned()];
    let mut headings = Headings { dialect: Dialect { missing, ..Dialect::default() }, ..Headings::default() };
    assert!(matches!(refused(text, &headings), DataError::Value { problem: Problem::Missing, .. }));
    headings.dialect.on_missing = OnMissing::Skip;
    assert_eq!(reals(text, &headings), READ);
    let numbers: Vec<u64> = rows(text, &headings).unwrap().iter().map(|row| row.number).collect();
    assert_eq!(numbers, [1, 4]);
    let schema = SchemaFile::parse(ROOMS).unwrap();
    let mut rows = CsvRows::read("rows.csv", Cursor::new(text), &schema, &headings).unwrap();
    assert_eq!((rows.by_ref().count(), rows.skipped()), (2, 2));
}

/// Two columns of a name: whichever is meant, the other may be.
#[test]
fn a_column_that_is_there_twice_is_refused() {
    let twice = |head: &str, headings: &Headings| match refused(format!("{head}\n1,2,3,4,5,6,7\n"), headings) {
        DataError::Column { name, times: 2, .. } => name,
        other => panic!("{head}: {other}"),
    };
    let plain = Headings::default();
    assert_eq!(twice("temperature,temperature,busy,a,b,c,d", &plain), "temperature");
    let columns = BTreeMap::from([("temperature".to_owned(), "t".to_owned())]);
    assert_eq!(twice("t,t,busy,temperature,b,c,d", &Headings { columns, ..Headings::default() }), "t");
    let time = Some("at".to_owned());
    assert_eq!(twice("at,at,busy,temperature,b,c,d", &Headings { time, ..Headings::default() }), "at");
    let about = Headings { about: true, ..Headings::default() };
    for name in ["device", "boot", "sequence"] {
        assert_eq!(twice(&format!("temperature,busy,device,boot,sequence,{name},x"), &about), name);
    }
}

#[test]
fn an_open_quote_is_refused_before_rows_are_lost() {
    let plain = Headings::default();
    let open = "temperature,busy,note\n20.5,0,\n-3,1,\"window open\n1,0,\n2,0,\n";
    assert!(matches!(refused(open, &plain), DataError::Quote { opens: 3, closes: None, .. }));
    let shut = open.to_owned() + "3,0,shut\"\n4,0,\n";
    assert!(matches!(refused(shut, &plain), DataError::Quote { opens: 3, closes: Some(6), .. }));
}

#[test]
fn times_are_numbers_or_dates() {
    let headings = Headings { time: Some("at".to_owned()), ..Headings::default() };
    let text = "at,temperature,busy\n1795183200,1,0\n2026-11-20 14:00,1,0\n2026-11-20T15:00:00.5+01:00,1,0\n";
    let times: Vec<_> = rows(text, &headings).unwrap().iter().map(|row| row.time_ms).collect();
    assert_eq!(times, [Some(1_795_183_200_000), Some(1_795_183_200_000), Some(1_795_183_200_500)]);
    let error = refused("at,temperature,busy\n20.11.2026,1,0\n", &headings).to_string();
    assert!(error.contains("rows.csv:2, column \"at\": \"20.11.2026\" is not a time"), "{error}");
    let about = Headings { about: true, ..Headings::default() };
    let text = "temperature,busy,device,boot,sequence\n1,0,00000000000000a1,2,3\n1,0,a1,-2,3\n";
    assert!(matches!(refused(text, &about), DataError::Value { problem: Problem::NotCount { .. }, .. }));
    let first = CsvRows::read("r", Cursor::new(text), &SchemaFile::parse(ROOMS).unwrap(), &about).unwrap().next();
    assert_eq!(first.unwrap().unwrap().about, Some(ReportId { device: DeviceId(0xa1), boot: 2, sequence: 3 }));
}

fn idx(records: u8, bytes: impl IntoIterator<Item = u8>) -> Vec<u8> {
    [0, 0, 8, 2, 0, 0, 0, records, 0, 0, 0, 4].into_iter().chain(bytes).collect()
}

fn idx_rows(bytes: Vec<u8>) -> Result<Vec<Row>, RowsError> {
    ArrayRows::read_idx("features", Cursor::new(bytes), &SchemaFile::parse(BYTES).unwrap())?.collect()
}

#[test]
fn idx_ends_where_its_header_says() {
    let rows = idx_rows(idx(2, 1..9)).unwrap();
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(rows[1].reals, [5.0, 6.0, 7.0, 8.0]);
    let refused = |bytes: Vec<u8>| match idx_rows(bytes).map(|rows| rows.len()) {
        Err(RowsError::Data(error)) => *error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(idx(2, 1..10)), DataError::Trailing { .. }));
    assert!(matches!(refused(idx(2, 1..8)), DataError::Short { records: 1, want: 2, .. }));
    assert!(matches!(refused(vec![0, 0, 8]), DataError::Short { .. }));
    let wide = idx_rows([&[0, 0, 8, 3][..], &[0xff; 12]].concat()).map(|rows| rows.len());
    assert!(matches!(wide, Err(RowsError::Width { want: 4, .. })));
    let labels = unpacked("labels".into(), Box::new(Cursor::new(vec![0, 0, 8, 1, 0, 0, 0, 3, 1, 1, 1]))).unwrap();
    let features = unpacked("features".into(), Box::new(Cursor::new(idx(2, 1..9)))).unwrap();
    let pair = ArrayRows::new(
        open_idx(features).unwrap(),
        Some(open_idx(labels).unwrap()),
        &SchemaFile::parse(BYTES).unwrap(),
    )
    .err()
    .unwrap();
    assert!(pair.to_string().contains("labels holds 3 labels for 2 records of features"), "{pair}");
}

#[test]
fn arrays_of_numpy_are_rows_in_both_orders() {
    let schema = SchemaFile::parse(BYTES).unwrap();
    let npy = |order: &str, values: &[u8]| {
        let header = format!("{{'descr': '|u1', 'fortran_order': {order}, 'shape': (2, 4), }}");
        let len = u16::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00", &len[..], header.as_bytes(), values].concat()
    };
    let read = |bytes: Vec<u8>| ArrayRows::read_npy("features", Cursor::new(bytes), &schema)?.collect();
    let rows: Result<Vec<Row>, RowsError> = read(npy("False", &[1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(rows.unwrap()[1].reals, [5.0, 6.0, 7.0, 8.0]);
    let rows: Result<Vec<Row>, RowsError> = read(npy("True", &[1, 5, 2, 6, 3, 7, 4, 8]));
    assert_eq!(rows.unwrap()[1].reals, [5.0, 6.0, 7.0, 8.0]);
    let long: Result<Vec<Row>, RowsError> = read(npy("False", &[0; 9]));
    let Err(RowsError::Data(error)) = long.map(|rows| rows.len()) else { panic!("accepted") };
    assert!(matches!(*error, DataError::Trailing { .. }));

    let file = std::env::temp_dir().join(format!("symbolon-rows-{}.npz", std::process::id()));
    std::fs::write(&file, include_bytes!("../../data/tests/numpy/deflated.npz")).unwrap();
    let open = |features, labels| ArrayRows::open(ArrayFiles::Npz { file: &file, features, labels }, &schema);
    let rows: Vec<Row> = open("x_flat_u1_fortran", None).unwrap().map(Result::unwrap).collect();
    assert_eq!((rows.len(), &rows[2].reals[..]), (3, &[8.0, 9.0, 10.0, 11.0][..]));
    let wide = open("x_flat_u1_fortran", Some("y_u1")).err().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(wide, RowsError::Width { got: 5, want: 4, .. }));
}
