//! NPY and NPZ. The archives of `numpy/` are numpy's own.

use super::*;
use crate::job::{Npy, Npz};

const STORED: &[u8] = include_bytes!("numpy/stored.npz");
const DEFLATED: &[u8] = include_bytes!("numpy/deflated.npz");

pub(super) fn npy_job() -> Job {
    let mut job = idx_job();
    let [train_features, train_labels] = ["x.npy", "y.npy"].map(str::to_owned);
    job.data.format = Format::Npy(Npy { train_features, train_labels, ..Npy::default() });
    job.data.test_records = 0;
    job.reveal.metrics = false;
    job
}

fn npz_job(features: &str, labels: &str) -> Job {
    let mut job = npy_job();
    let [file, train_features, train_labels] = ["set.npz", features, labels].map(str::to_owned);
    let (test_features, test_labels) = (Some(features.to_owned()), Some(labels.to_owned()));
    job.data.format =
        Format::Npz(Npz { file, train_features, train_labels, test_features, test_labels, ..Npz::default() });
    job.data.test_records = 2;
    job
}

fn with_header(version: u8, header: &str, values: &[u8]) -> Vec<u8> {
    let len = u32::try_from(header.len()).unwrap().to_le_bytes();
    let len = &len[..if version == 1 { 2 } else { 4 }];
    [b"\x93NUMPY", &[version, 0][..], len, header.as_bytes(), values].concat()
}

pub(super) fn npy(descr: &str, fortran: bool, shape: &str, values: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}     \n");
    with_header(1, &header, values)
}

fn labels() -> Vec<u8> {
    npy("|u1", false, "(3,)", &[2, 0, 1])
}

fn npy_load(features: &[u8], labels: &[u8]) -> Result<Dataset, DataError> {
    let dir = Dir::new().with("x.npy", features).with("y.npy", labels);
    Ok(load(&npy_job(), &dir.0)?.0)
}

/// 0 to 11, divided by two.
fn halves() -> Vec<f32> {
    (0..12u8).map(|i| f32::from(i) / 2.0).collect()
}

#[test]
fn arrays_of_numpy_are_read_in_all_their_spellings() {
    let features = ["x_f4", "x_f8_big", "x_i2_big_fortran", "x_u8_fortran", "x_flat_u1_fortran.npy"];
    for (archive, more) in [(STORED, &[][..]), (DEFLATED, &["x_version_2", "x_version_3"])] {
        let dir = Dir::new().with("set.npz", archive);
        for features in features.iter().chain(more) {
            for labels in ["y_u1", "y_i8", "y_column_f4"] {
                let (train, test) = load(&npz_job(features, labels), &dir.0).unwrap();
                assert_eq!((train.rows, train.cols, train.held, test.rows, test.held), (3, 4, 3, 2, 3));
                assert_eq!(train.features, halves(), "{features}");
                assert_eq!(test.features, halves()[..8], "{features}");
                assert!(train.targets == Targets::Classes(vec![2, 0, 1]));
            }
        }
    }
}

#[test]
fn an_npz_file_that_does_not_fit_is_refused_by_array() {
    let refused = |archive: &[u8], features: &str| {
        let dir = Dir::new().with("set.npz", archive);
        load(&npz_job(features, "y_u1"), &dir.0).unwrap_err().to_string()
    };
    let has = |error: String, text: &str| assert!(error.contains(text), "{error}");
    has(refused(STORED, "x"), "set.npz has no array \"x\"; it has x_f4, x_f8_big, ");
    has(refused(STORED, "x_half"), "x_half.npy has elements of type '<f2'; ");
    has(refused(STORED, "x_text"), "x_text.npy has elements of type '<U1'; ");
    has(refused(STORED, "x_record"), "x_record.npy has elements of type [('a', '<f4'), ");
    has(refused(STORED, "one"), "one.npy holds a single number");
    has(refused(STORED, "y_u1"), "y_u1.npy holds 1, the job says data.shape (features) = 4");
    has(refused(&STORED[..STORED.len() - 30], "x_f4"), "set.npz is not a whole zip archive");
    has(refused(b"", "x_f4"), "set.npz is not a whole zip archive");
    has(refused(&gzip(STORED), "x_f4"), "set.npz is not a whole zip archive");
    let at = STORED.windows(4).position(|four| four == 11f32.to_le_bytes()).unwrap();
    let mut flipped = STORED.to_vec();
    flipped[at] ^= 1;
    has(refused(&flipped, "x_f4"), "x_f4.npy: its bytes are not those that the zip archive's directory describes");
}

#[test]
fn all_types_and_byte_orders_are_read() {
    macro_rules! both {
        ($($name:literal $type:ty),*) => {
            [$(
                (concat!("<", $name), <$type>::to_le_bytes(100 as $type).to_vec()),
                (concat!(">", $name), <$type>::to_be_bytes(100 as $type).to_vec()),
            )*]
        };
    }
    let wide = both!("u2" u16, "i2" i16, "u4" u32, "i4" i32, "u8" u64, "i8" i64, "f4" f32, "f8" f64, "u1" u8, "i1" i8);
    for (descr, element) in wide.into_iter().chain([("|u1", vec![100]), ("|i1", vec![100])]) {
        let set = npy_load(&npy(descr, false, "(3, 4)", &element.repeat(12)), &labels()).unwrap();
        assert_eq!(set.features, [50.0; 12], "{descr}");
    }
    for (descr, element) in [("|i1", vec![0xfe]), (">i2", vec![0xff, 0xfe]), ("<i8", (-2i64).to_le_bytes().to_vec())] {
        assert_eq!(
            npy_load(&npy(descr, false, "(3, 4)", &element.repeat(12)), &labels()).unwrap().features,
            [-1.0; 12]
        );
    }
    let bits = npy_load(&npy("|b1", false, "(3, 4)", &[0, 1, 1, 0].repeat(3)), &labels()).unwrap();
    assert_eq!(bits.row(2), [0.0, 0.5, 0.5, 0.0]);
    // Python 2's integers, other keys first, other quotes, no blanks, no last comma; gzip.
    let header = "{\"shape\":(3L,4L),'fortran_order':False,\"descr\":\"|u1\"}";
    let bytes: Vec<u8> = (0..12).collect();
    for file in [with_header(1, header, &bytes), gzip(&with_header(3, header, &bytes))] {
        assert_eq!(npy_load(&file, &labels()).unwrap().features, halves());
    }
}

#[test]
fn npy_with_more_records_gives_the_first_ones_in_both_orders() {
    let values: Vec<u8> = (0..20).collect();
    let by_column: Vec<u8> = (0..20).map(|i| (i % 5) * 4 + i / 5).collect();
    let labels = npy("|u1", false, "(5,)", &[2, 0, 1, 9, 9]);
    for (fortran, values) in [(false, values), (true, by_column)] {
        let set = npy_load(&npy("|u1", fortran, "(5, 4)", &values), &labels).unwrap();
        assert_eq!((set.rows, set.held, set.features), (3, 5, halves()));
        let short = npy_load(&npy("|u1", fortran, "(5, 4)", &values[..19]), &labels).unwrap_err();
        assert!(matches!(short, DataError::Short { want: 5, .. }), "{short}");
        let long = npy_load(&npy("|u1", fortran, "(5, 4)", &[&values[..], &[0]].concat()), &labels).unwrap_err();
        assert!(matches!(long, DataError::Trailing { .. }), "{long}");
    }
}

#[test]
fn npy_that_does_not_fit_is_refused() {
    let refused = |features: &[u8], labels: &[u8]| npy_load(features, labels).unwrap_err();
    let fault = |features: &[u8]| match refused(features, &labels()) {
        DataError::Npy { problem, .. } => problem,
        other => panic!("{other}"),
    };
    assert_eq!(fault(b"PK\x03\x04 and more"), NpyProblem::Magic);
    assert_eq!(fault(&with_header(4, "{}", &[])), NpyProblem::Version { got: 4 });
    let mut long = with_header(2, "{}", &[]);
    long[8..12].fill(0xff);
    assert_eq!(fault(&long), NpyProblem::HeaderTooLong { got_bytes: u32::MAX });
    let headers = [
        "",
        "{",
        "{}",
        "[]",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 99999999999999999999)}",
        "{'descr': '<f4', 'fortran_order': false, 'shape': (3, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), 'more': 1}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)} and more",
        "{'descr: '<f4', 'fortran_order': False, 'shape': (3, 4)}",
    ];
    for header in headers {
        assert_eq!(fault(&with_header(1, header, &[0; 48])), NpyProblem::Header, "{header}");
    }
    for descr in ["<f2", "|O", "<c8", "=f4", "|f4", "<U3", "f4", "", "<M8[s]"] {
        assert!(matches!(fault(&npy(descr, false, "(3, 4)", &[0; 48])), NpyProblem::Type { .. }), "{descr}");
    }
    assert_eq!(fault(&npy("<f4", false, "()", &[0; 4])), NpyProblem::Scalar);
    let header = &npy("<f4", false, "(3, 4)", &[])[..40];
    for cut in [0, 3, 8, 9, 40] {
        assert!(matches!(refused(&header[..cut], &labels()), DataError::Short { records: 0, want: 0, .. }));
    }
}

#[test]
fn values_of_npy_are_held_to_the_job() {
    let refused = |features: &[u8], labels: &[u8]| npy_load(features, labels).unwrap_err();
    let f4 = |values: [f32; 12], fortran| npy("<f4", fortran, "(3, 4)", &values.map(f32::to_le_bytes).concat());
    for value in [f32::NAN, f32::INFINITY] {
        for (fortran, at) in [(false, 6), (true, 7)] {
            let mut values = [1.0; 12];
            values[at] = value;
            let error = refused(&f4(values, fortran), &labels()).to_string();
            assert!(error.contains("x.npy, record 1, feature 2: not a finite number"), "{error}");
        }
    }
    let x = f4([1.0; 12], false);
    let y = |values: [f32; 3]| npy("<f4", false, "(3,)", &values.map(f32::to_le_bytes).concat());
    for (value, got) in [(3.0, "3"), (-1.0, "-1"), (0.5, "0.5"), (f32::NAN, "NaN")] {
        let error = refused(&x, &y([0.0, 1.0, value])).to_string();
        let want = format!("y.npy, record 2: {got} is not a class; the job has classes 0 to 2");
        assert!(error.contains(&want), "{error}");
    }
    let hot = refused(&x, &npy("|u1", false, "(3, 3)", &[0; 9])).to_string();
    assert!(hot.contains("y.npy holds 3 values a label, expected 1"), "{hot}");
    assert!(matches!(refused(&x, &npy("|u1", false, "(2,)", &[0; 2])), DataError::Labels { labels: 2, .. }));
    assert!(matches!(refused(&npy("|u1", false, "(3, 2, 3)", &[0; 18]), &labels()), DataError::Count { file: 6, .. }));
}

/// Claims of a header that nothing follows end with the file: no memory is taken for them.
#[test]
fn claims_of_a_header_take_no_memory() {
    let claimed = 1u64 << 60;
    for fortran in [false, true] {
        let shape = format!("({claimed}, 4)");
        let claims = npy("|u1", false, &format!("({claimed},)"), &[0; 8]);
        for descr in ["<f8", "|u1"] {
            let error = npy_load(&npy(descr, fortran, &shape, &[0; 64]), &claims).unwrap_err();
            assert!(matches!(error, DataError::Short { want, .. } if want == claimed), "{error}");
        }
        let wide = npy("<f8", fortran, &format!("(3, {claimed}, {claimed})"), &[0; 64]);
        let error = npy_load(&wide, &labels()).unwrap_err();
        assert!(matches!(error, DataError::Count { key: "data.shape (features)", file: u64::MAX, .. }), "{error}");
        let empty = npy("<f8", fortran, "(3, 0)", &[]);
        assert!(matches!(npy_load(&empty, &labels()), Err(DataError::Count { file: 0, .. })));
    }
}

#[test]
fn mutated_npy_never_panics() {
    for (seed, fortran) in [(21, false), (22, true)] {
        let values: Vec<u8> = (0..24).collect();
        let files = [("x.npy", npy("<i2", fortran, "(3, 2, 2)", &values)), ("y.npy", labels())];
        let accepted = survives(&npy_job(), &files, seed);
        // Most of a file is its header here, and most changes of it are faults.
        assert!(accepted > 30 && accepted < 2900, "{accepted}");
        let packed = files.map(|(name, bytes)| (name, gzip(&bytes)));
        assert!(survives(&npy_job(), &packed, seed) < 2900);
    }
}

#[test]
fn mutated_npz_never_panics() {
    let (mut state, mut accepted) = (31, 0);
    for archive in [STORED, DEFLATED] {
        for _ in 0..1500 {
            let (bytes, job) = (mutate(archive, &mut state), npz_job("x_f4", "y_i8"));
            let Format::Npz(set) = &job.data.format else { panic!("no NPZ") };
            let open = |name: &str| {
                let len_bytes = bytes.len() as u64;
                npz::member_of(Path::new("set.npz"), Cursor::new(bytes.clone()), len_bytes, name)
            };
            let mut takes = [(); 2].map(|()| |_: &Dataset| ControlFlow::Continue(()));
            let [train, test] = takes.each_mut().map(|take| RecordBlocks::new(&job.data, take));
            let (mut train, mut test) = (train.unwrap(), test.unwrap());
            let loaded = npy::load(&job.data, &set.members(), &open, [&mut train, &mut test]);
            accepted += usize::from(loaded.is_ok());
        }
    }
    assert!(accepted > 100 && accepted < 2900, "{accepted}");
}
