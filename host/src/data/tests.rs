#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::job::{Affine, ColumnScale, Columns, Csv, Idx, OnMissing, Scale, TestSet};
use symbolon_core::layer::Shape;

mod cifar;
mod lengths;
mod numpy;
mod text;

/// A folder of its own, gone at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("symbolon-data-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn with(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.0.join(name), bytes).unwrap();
        self
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn idx_file(code: u8, sizes: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, code, u8::try_from(sizes.len()).unwrap()];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

fn idx_job() -> Job {
    let mut job = Job::digits().unwrap();
    let [train_images, train_labels, test_images, test_labels] = ["xi", "xl", "ti", "tl"].map(str::to_owned);
    job.data = Data {
        format: Format::Idx(Idx { train_images, train_labels, test_images, test_labels }),
        shape: Shape::vector(4),
        train_records: 3,
        test_records: 1,
        task: Task::Classes(3),
        labels_per_record: 1,
        scale: Scale::Divide(2.0),
        augment: None,
    };
    job
}

fn images() -> Vec<u8> {
    idx_file(8, &[3, 2, 2], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255])
}

fn idx_dir(images: &[u8], labels: &[u8]) -> Dir {
    let dir = Dir::new().with("xi", images).with("xl", labels);
    dir.with("ti", gzip(&idx_file(8, &[1, 4], &[1; 4]))).with("tl", idx_file(8, &[1], &[0]))
}

fn idx_load(images: &[u8], labels: &[u8]) -> Result<(Dataset, Dataset), DataError> {
    load(&idx_job(), &idx_dir(images, labels).0)
}

fn labels() -> Vec<u8> {
    idx_file(8, &[3], &[2, 0, 1])
}

#[test]
fn idx_is_read_plain_and_packed() {
    for images in [images(), gzip(&images())] {
        let (train, test) = idx_load(&images, &labels()).unwrap();
        assert_eq!((train.rows, train.cols, test.rows, test.cols), (3, 4, 1, 4));
        assert_eq!(train.row(1), [2.0, 2.5, 3.0, 3.5]);
        assert_eq!(train.row(2)[3], 127.5);
        assert!(train.targets == Targets::Classes(vec![2, 0, 1]));
        assert!(test.targets == Targets::Classes(vec![0]));
        assert_eq!(format!("{train:?}"), "Dataset { rows: 3, cols: 4, .. }");
    }
}

#[test]
fn idx_has_six_element_types() {
    let files = [
        idx_file(9, &[3, 4], &[0xfe; 12]),
        idx_file(11, &[3, 4], &[0xff, 0xfe].repeat(12)),
        idx_file(12, &[3, 4], &(-2i32).to_be_bytes().repeat(12)),
        idx_file(13, &[3, 4], &(-2f32).to_be_bytes().repeat(12)),
        idx_file(14, &[3, 4], &(-2f64).to_be_bytes().repeat(12)),
    ];
    for file in files {
        assert_eq!(idx_load(&file, &labels()).unwrap().0.features, [-1.0; 12]);
    }
    let nan = idx_file(13, &[3, 4], &f32::NAN.to_be_bytes().repeat(12));
    let Err(DataError::Value { place, problem, .. }) = idx_load(&nan, &labels()) else { panic!("accepted") };
    assert_eq!((place, problem), (Place::Feature { record: 0, feature: 0 }, Problem::NotFinite));
}

#[test]
fn idx_that_does_not_fit_is_refused() {
    let refused = |images: &[u8], labels: &[u8]| idx_load(images, labels).unwrap_err();
    let magic = |bytes: &[u8]| matches!(refused(bytes, &labels()), DataError::IdxMagic { .. });
    assert!(magic(&idx_file(10, &[3, 4], &[0; 12])));
    assert!(magic(&idx_file(8, &[], &[0; 12])));
    assert!(magic(b"label,a,b\n1,2,3\n"));
    let short = |bytes: &[u8]| match refused(bytes, &labels()) {
        DataError::Short { records, want: 3, .. } => records,
        other => panic!("{other}"),
    };
    for header in [&[][..], &[0, 0, 8], &images()[..12]] {
        assert!(matches!(refused(header, &labels()), DataError::Short { records: 0, want: 0, .. }));
    }
    assert_eq!((short(&images()[..16]), short(&images()[..24]), short(&images()[..27])), (0, 2, 2));
    let mut long = images();
    long.push(0);
    assert!(matches!(refused(&long, &labels()), DataError::Trailing { .. }));
    let count = |images: &[u8], labels: &[u8]| match refused(images, labels) {
        DataError::Count { key, job, file, .. } => (key, job, file),
        other => panic!("{other}"),
    };
    // The header alone decides: no element follows these sizes, and none is asked for.
    assert_eq!(count(&idx_file(8, &[2, 4], &[]), &idx_file(8, &[2], &[])), ("data.train_records", 3, 2));
    assert_eq!(count(&idx_file(8, &[3, u32::MAX, u32::MAX, 9, 9, 9, 9, 9], &[]), &labels()).2, u64::MAX);
    assert_eq!(count(&idx_file(8, &[3, 2, 3], &[]), &labels()), ("data.shape (features)", 4, 6));
    let pair = |images: &[u8], labels: &[u8]| match refused(images, labels) {
        DataError::Labels { features, labels, .. } => (features, labels),
        other => panic!("{other}"),
    };
    assert_eq!(pair(&images(), &idx_file(8, &[2], &[0; 2])), (3, 2));
    assert_eq!(pair(&idx_file(8, &[u32::MAX, 4], &[]), &labels()), (u64::from(u32::MAX), 3));
    let wide = refused(&images(), &idx_file(8, &[3, 2], &[0; 6]));
    assert!(matches!(wide, DataError::LabelWidth { got: 2, .. }));
    let Err(DataError::Value { place, problem, .. }) = idx_load(&images(), &idx_file(8, &[3], &[0, 1, 3])) else {
        panic!("accepted")
    };
    assert_eq!((place, problem), (Place::Label { record: 2 }, Problem::NotAClass { got: 3.0, classes: 3 }));
    let packed = gzip(&images());
    assert!(matches!(
        refused(&packed[..packed.len() - 4], &labels()),
        DataError::Read { .. } | DataError::Short { .. }
    ));
    let mut flipped = packed.clone();
    let sum = flipped.len() - 8;
    flipped[sum] ^= 1;
    assert!(matches!(refused(&flipped, &labels()), DataError::Read { .. }));
}

#[test]
fn idx_with_more_records_gives_the_first_ones_and_is_read_to_its_end() {
    let five = idx_file(8, &[5, 4], &(0..20).collect::<Vec<u8>>());
    let labels = idx_file(8, &[5], &[2, 0, 1, 9, 9]);
    for (five, labels) in [(five.clone(), labels.clone()), (gzip(&five), gzip(&labels))] {
        let (train, test) = idx_load(&five, &labels).unwrap();
        assert_eq!((train.rows, train.held, test.rows, test.held), (3, 5, 1, 1));
        assert_eq!(train.row(2), [4.0, 4.5, 5.0, 5.5]);
    }
    assert!(matches!(idx_load(&five[..five.len() - 1], &labels), Err(DataError::Short { records: 4, want: 5, .. })));
    let longer = [&labels[..], &[0]].concat();
    assert!(matches!(idx_load(&five, &longer), Err(DataError::Trailing { .. })));
    let mut flipped = gzip(&five);
    let sum = flipped.len() - 8;
    flipped[sum] ^= 1;
    assert!(matches!(idx_load(&flipped, &labels), Err(DataError::Read { .. })));
}

/// SplitMix64: the same mutations in each run.
fn random(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((z ^ (z >> 31)) >> 1).unwrap()
}

fn mutate(bytes: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random(state) % 3 {
        let at = random(state) % bytes.len().max(1);
        match random(state) % 4 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), 0xff),
            2 if at < bytes.len() => bytes[at] = u8::try_from(random(state) % 256).unwrap(),
            _ if at < bytes.len() => bytes[at] ^= 1 << (random(state) % 8),
            _ => {}
        }
    }
    bytes
}

/// Runs `load` over mutations of a file held in memory; what is accepted has the job's shape.
fn survives(job: &Job, files: &[(&str, Vec<u8>)], seed: u64) -> usize {
    let mut state = seed;
    let mut accepted = 0;
    for round in 0..3000 {
        let result = load_from(&job.data, &|name| {
            let (i, (_, bytes)) = files.iter().enumerate().find(|(_, (file, _))| *file == name).unwrap();
            let mut state = state ^ i as u64;
            let bytes = if round % files.len() == i { mutate(bytes, &mut state) } else { bytes.clone() };
            unpacked(name.into(), Box::new(Cursor::new(bytes)))
        });
        random(&mut state);
        if let Ok((train, test)) = result {
            accepted += 1;
            assert_eq!((train.rows, train.cols), (job.data.train_records, job.data.features()));
            assert_eq!(train.features.len(), train.rows * train.cols);
            assert_eq!((test.rows, test.features.len()), (job.data.test_records, test.rows * test.cols));
            assert!(train.features.iter().all(|x| x.is_finite()));
        }
    }
    accepted
}

#[test]
fn mutated_idx_never_panics() {
    let test = [("ti", idx_file(8, &[1, 4], &[1; 4])), ("tl", idx_file(8, &[1], &[0]))];
    let plain = [("xi", images()), ("xl", labels())].into_iter().chain(test.clone()).collect::<Vec<_>>();
    let packed = [("xi", gzip(&images())), ("xl", gzip(&labels()))].into_iter().chain(test).collect::<Vec<_>>();
    let accepted = survives(&idx_job(), &plain, 1);
    assert!(accepted > 100 && accepted < 2900, "{accepted}");
    assert!(survives(&idx_job(), &packed, 2) < 2900);
}

fn csv_format() -> Csv {
    Csv {
        train: "sub/t.csv".into(),
        test: TestSet::None,
        delimiter: ',',
        header: true,
        columns: Columns::All,
        labels: vec!["y".into()],
        missing: vec![String::new(), "?".into()],
        on_missing: OnMissing::Refuse,
    }
}

fn csv_job(rows: usize, test_rows: usize, format: Csv) -> Job {
    let mut job = idx_job();
    job.data.format = Format::Csv(format);
    job.data.shape = Shape::vector(2);
    job.data.train_records = rows;
    job.data.test_records = test_rows;
    job.data.scale = Scale::Divide(1.0);
    job
}

fn csv_load(text: impl AsRef<[u8]>, rows: usize, format: Csv) -> Result<(Dataset, Dataset), DataError> {
    load(&csv_job(rows, 0, format), &Dir::new().with("t.csv", text).0)
}

fn features(text: impl AsRef<[u8]>, rows: usize, format: Csv) -> Vec<f32> {
    csv_load(text, rows, format).unwrap_or_else(|error| panic!("{error}")).0.features
}

#[test]
fn csv_is_read_in_its_many_spellings() {
    let plain = [1.0, 2.0, 3.0, -4.5];
    let spellings = [
        "a,b,y\n1,2,0\n3,-4.5,1\n",
        "\u{feff}a,b,y\n1,2,0\n3,-4.5,1",
        "a,b,y\r\n1,2,0\r\n\r\n3,-4.5,1\r\n",
        "\"a\" , b,y\n\"1\", 2 ,0\n+3,-45e-1,\"1\"\n",
        "y,a,b\n0,1,2\n1,3,-4.5\n",
    ];
    for text in spellings {
        assert_eq!(features(text, 2, csv_format()), plain, "{text}");
    }
    assert_eq!(features(gzip(spellings[0].as_bytes()), 2, csv_format()), plain);
    let semicolon = Csv { delimiter: ';', ..csv_format() };
    assert_eq!(features("a;b;y\n1;2;0\n3;-4.5;1\n", 2, semicolon), plain);
    let bare = Csv { header: false, labels: vec!["2".into()], ..csv_format() };
    assert_eq!(features("1,2,0\n3,-4.5,1\n", 2, bare), plain);
    let reversed = Csv { columns: Columns::Only(vec!["b".into(), "a".into()]), ..csv_format() };
    assert_eq!(features("a,b,name,y\n1,2,\"x, \"\"y\"\"\",0\n3,-4.5,,1\n", 2, reversed), [2.0, 1.0, -4.5, 3.0]);
    let except = Csv { columns: Columns::Except(vec!["name".into()]), ..csv_format() };
    assert_eq!(features("a,name,b,y\n1,x,2,0\n3,,-4.5,1\n", 2, except), plain);
}

#[test]
fn csv_splits_as_the_job_says() {
    let text: String =
        "a,b,y\n".chars().chain((0..10).flat_map(|i| format!("{i},0,0\n").into_bytes()).map(char::from)).collect();
    let split = |test: TestSet, rows, test_rows| {
        let dir = Dir::new().with("t.csv", &text);
        let (train, test) = load(&csv_job(rows, test_rows, Csv { test, ..csv_format() }), &dir.0).unwrap();
        let first = |set: Dataset| (0..set.rows).map(|i| set.row(i)[0]).collect::<Vec<_>>();
        (first(train), first(test))
    };
    assert_eq!(split(TestSet::Every(4), 8, 2).1, [3.0, 7.0]);
    let (train, test) = split(TestSet::Fraction(0.3), 7, 3);
    assert_eq!((train.len(), test), (7, vec![3.0, 6.0, 9.0]));
    assert_eq!(split(TestSet::None, 10, 0).1, [0.0; 0]);
}

#[test]
fn csv_test_file_needs_the_same_columns() {
    let format = Csv { test: TestSet::File("u.csv".into()), ..csv_format() };
    let both = |test: &str| {
        let dir = Dir::new().with("t.csv", "a,b,y\n1,2,0\n").with("u.csv", test);
        load(&csv_job(1, 2, format.clone()), &dir.0)
    };
    assert_eq!(both("y,a,b\n0,5,6\n1,7,8\n").unwrap().1.features, [5.0, 6.0, 7.0, 8.0]);
    let Err(DataError::ColumnsDiffer { train, test, .. }) = both("b,a,y\n5,6,0\n7,8,1\n") else { panic!("accepted") };
    assert_eq!((train.as_str(), test.as_str()), ("a", "b"));
    let Err(DataError::Count { key, job: 2, file: 1, path }) = both("a,b,y\n5,6,0\n") else { panic!("accepted") };
    assert!(key == "data.test_records" && path.ends_with("u.csv"));
}

#[test]
fn csv_missing_cells_follow_the_policy() {
    let text = "a,b,note,y\n1,2,,0\n?,2,,0\n3,4,,\n5,6,x,1\n";
    let format = Csv { columns: Columns::Except(vec!["note".into()]), ..csv_format() };
    let skip = Csv { on_missing: OnMissing::Skip, ..format.clone() };
    assert_eq!(features(text, 2, skip.clone()), [1.0, 2.0, 5.0, 6.0]);
    assert_eq!(csv_load(text, 2, skip).unwrap().0.skipped, 2);
    let error = csv_load(text, 2, format).unwrap_err();
    assert!(error.to_string().contains("t.csv:3, column \"a\": no value; on_missing = \"skip\""), "{error}");
}

#[test]
fn csv_errors_name_file_line_and_column() {
    let place = |text: &str| match csv_load(text, 2, csv_format()) {
        Err(DataError::Value { place: Place::Cell { line, column }, problem, .. }) => (line, column, problem),
        other => panic!("{text}: {other:?}"),
    };
    let text = |s: &str| Problem::NotNumber { text: s.into() };
    assert_eq!(place("a,b,y\n1,2,0\n3,four,1\n"), (3, "b".into(), text("four")));
    assert_eq!(place("a,b,y\n\n\n1,2,0\n\r\n3,four,1\n"), (6, "b".into(), text("four")));
    assert_eq!(place("a,b,y\r\n1,2,0\r\n\r\n3,\"four\",1\r\n"), (4, "b".into(), text("four")));
    assert_eq!(place("a,b,y\r1,2,0\r\r3,four,1\r"), (4, "b".into(), text("four")));
    assert_eq!(place("a,b,y\n1,\"2,5\",0\n"), (2, "b".into(), text("2,5")));
    for cell in ["nan", "inf", "-Infinity", "1e999"] {
        assert_eq!(place(&format!("a,b,y\n{cell},2,0\n")), (2, "a".into(), Problem::NotFinite));
    }
    assert_eq!(place("a,b,y\n1e300,2,0\n"), (2, "a".into(), Problem::NotFinite));
    for (cell, got) in [("3", 3.0), ("-1", -1.0), ("0.5", 0.5), ("1e20", 1e20)] {
        assert_eq!(place(&format!("a,b,y\n1,2,{cell}\n")), (2, "y".into(), Problem::NotAClass { got, classes: 3 }));
    }
    let binary = csv_load(b"a,b,y\n1,\xff\xfe,0\n", 1, csv_format()).unwrap_err();
    assert!(matches!(binary, DataError::Value { problem: Problem::NotNumber { .. }, .. }));
}

#[test]
fn csv_shapes_are_held_to_the_job() {
    let refused = |text: &str, rows| csv_load(text, rows, csv_format()).unwrap_err();
    assert!(matches!(refused("", 1), DataError::Empty { .. }));
    assert!(matches!(refused("a,b,y\n", 1), DataError::Empty { .. }));
    assert!(matches!(refused("a,b,y\n1,2,0\n1,2\n", 2), DataError::Ragged { line: 3, want: 3, got: 2, .. }));
    assert!(matches!(refused("a,b,y\n1,2,0,7\n", 1), DataError::Ragged { line: 2, want: 3, got: 4, .. }));
    assert!(matches!(
        refused("a,b,c,y\n1,2,3,0\n", 1),
        DataError::Count { key: "data.shape (features)", job: 2, file: 3, .. }
    ));
    let two = "a,b,y\n1,2,0\n3,4,1\n";
    assert!(matches!(refused(two, 3), DataError::Count { key: "data.train_records", job: 3, file: 2, .. }));
    let (first, _) = csv_load(two, 1, csv_format()).unwrap();
    assert_eq!((first.features, first.rows, first.held), (vec![1.0, 2.0], 1, 2));
    let Err(DataError::Column { name, times: 0, known, .. }) = csv_load("a,b,z\n1,2,0\n", 1, csv_format()) else {
        panic!("accepted")
    };
    assert_eq!((name.as_str(), known), ("y", vec!["a".to_owned(), "b".into(), "z".into()]));
    assert!(matches!(refused("a,y,y\n1,2,0\n", 1), DataError::Column { times: 2, .. }));
    let only = Csv { columns: Columns::Only(vec!["a".into(), "c".into()]), ..csv_format() };
    assert!(matches!(csv_load("a,b,y\n1,2,0\n", 1, only), Err(DataError::Column { times: 0, .. })));
}

#[test]
fn csv_lines_are_bounded() {
    let mut text = b"a,b,y\n1,2,0\n3,".to_vec();
    text.resize(17 << 20, b' ');
    let error = csv_load(text, 2, csv_format()).unwrap_err();
    assert!(matches!(error, DataError::LineTooLong { line: 3, .. }), "{error}");
}

#[test]
fn mutated_csv_never_panics() {
    let mut job = csv_job(3, 1, Csv { train: "t".into(), test: TestSet::Every(4), ..csv_format() });
    let text = b"a,b,y\n1,2,0\n3,-4.5,1\n\"5\",6e2,2\n7,8,0\n".to_vec();
    let accepted = survives(&job, &[("t", text.clone())], 3);
    assert!(accepted > 100 && accepted < 2900, "{accepted}");
    survives(&job, &[("t", gzip(&text))], 4);
    job.data.format = Format::Csv(Csv { train: "t".into(), header: false, labels: vec!["2".into()], ..csv_format() });
    survives(&job, &[("t", text)], 5);
}

#[test]
fn targets_and_features_are_scaled_by_public_constants() {
    let mut job = csv_job(2, 0, csv_format());
    job.data.task = Task::Regression(vec![Affine { offset: 20.0, divide: 10.0 }]);
    job.data.scale =
        Scale::Columns([(1.0, 2.0), (0.0, -1.0)].map(|(offset, divide)| Affine { offset, divide }.into()).into());
    let dir = Dir::new().with("t.csv", "a,b,y\n1,2,25\n3,-4.5,0\n");
    let (train, _) = load(&job, &dir.0).unwrap();
    assert_eq!(train.features, [0.0, -2.0, 1.0, 4.5]);
    assert!(train.targets == Targets::Values(vec![0.5, -2.0]));
    job.data.scale = Scale::Columns(vec![ColumnScale::Above(1.0), ColumnScale::Above(-4.5)]);
    assert_eq!(load(&job, &dir.0).unwrap().0.features, [0.0, 1.0, 1.0, 0.0]);
    job.data.scale = Scale::Ranges(vec![(1.0, 5.0), (-5.0, 5.0)]);
    assert_eq!(load(&job, &dir.0).unwrap().0.features, [0.0, 0.7, 0.5, 0.05]);
    job.data.scale = Scale::Ranges(vec![(1.0, 5.0), (-4.0, 5.0)]);
    let Err(DataError::Value { place, problem, .. }) = load(&job, &dir.0) else { panic!("accepted") };
    assert_eq!(place, Place::Cell { line: 3, column: "b".into() });
    assert_eq!(problem, Problem::OutsideRange { got: -4.5, least: -4.0, greatest: 5.0 });
}

#[test]
fn a_file_is_found_in_the_folder_or_its_parent() {
    let dir = Dir::new();
    std::fs::create_dir(dir.0.join("sub")).unwrap();
    let dir = dir.with("sub/t.csv", "a,b,y\n1,2,0\n");
    let job = csv_job(1, 0, csv_format());
    assert_eq!(load(&job, &dir.0).unwrap(), load(&job, &dir.0.join("sub")).unwrap());
    let error = load(&job, &dir.0.join("none")).unwrap_err();
    let DataError::Missing { tried } = &error else { panic!("{error}") };
    assert_eq!(tried[..], [dir.0.join("none/sub/t.csv"), dir.0.join("none/t.csv")]);
    assert!(error.to_string().contains("--data"));
}

#[test]
fn digits_are_embedded() {
    let job = Job::digits().unwrap();
    let (train, test) = digits(&job).unwrap();
    assert_eq!((train.rows, test.rows, train.cols), (1438, 359, 64));
    assert!(train.features.iter().all(|x| (0.0..=1.0).contains(x)));
    let Targets::Classes(labels) = &test.targets else { panic!("no classes") };
    assert!((0..10).all(|class| labels.iter().filter(|label| **label == class).count() > 20));
    // The repository's copy is packed.
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    assert_eq!(load(&job, &folder).unwrap(), digits(&job).unwrap());
    assert!(matches!(digits(&idx_job()), Err(DataError::Missing { .. })));
    let Some(dir) = datasets() else { return };
    assert_eq!(load(&job, &dir).unwrap(), (train, test));
}

/// The public data sets; a skip outside of CI, a failure there.
fn datasets() -> Option<PathBuf> {
    let dir = dataset_dir();
    if dir.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI needs the data sets: set SYMBOLON_DATA");
        eprintln!("skipped: no data sets; set SYMBOLON_DATA to their folder, with mnist/ and tabular/ in it");
    }
    dir
}

#[test]
fn job_files_fit_the_public_datasets() {
    let Some(dir) = datasets() else { return };
    let jobs = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs");
    let mnist = Job::load(&jobs.join("mnist-adam.toml")).unwrap();
    let (train, test) = load(&mnist, &dir).unwrap();
    assert_eq!((train.rows, test.rows, train.cols), (60_000, 10_000, 784));
    let mean = train.features.iter().map(|x| f64::from(*x)).sum::<f64>() / f64::from(60_000 * 784);
    assert!((mean - 0.1307).abs() < 1e-4, "{mean}");
    let Targets::Classes(labels) = &train.targets else { panic!("no classes") };
    assert_eq!(labels[..8], [5, 0, 4, 1, 9, 2, 1, 3]);
    assert_eq!(load(&mnist, &dir.join("mnist")).unwrap().1, test);
    let (train, test) = load(&Job::load(&jobs.join("boston.toml")).unwrap(), &dir).unwrap();
    assert_eq!((train.rows, test.rows, train.cols), (405, 101, 12));
}
