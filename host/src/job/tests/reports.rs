//! Jobs that learn from reports: what they take from schema and manifest, and what they refuse.

use symbolon_core::report::{
    header::DeviceId,
    schema::{Field, Kind, Schema, SchemaError, Width},
};

use super::*;

const fn reading(name: &str, count: u16, width: Width) -> Field<'_> {
    Field { name, count, kind: Kind::Reading { width, offset: -1.0, step: 0.5, unit: "V" } }
}

const fn label(name: &str, bits: u8, classes: u16) -> Field<'_> {
    Field { name, count: 1, kind: Kind::Label { bits, classes } }
}

const FIELDS: [Field<'static>; 5] = [
    reading("flags", 2, Width::Bit),
    reading("volts", 2, Width::Half),
    label("state", 2, 3),
    reading("level", 1, Width::Byte),
    reading("count", 1, Width::Word),
];

const FILE: &str = r#"
version = 2
name = "reports"
loss = "softmax-cross-entropy"
data.scale.divide = 4
data.reports.schema = "fields.toml"
data.reports.label = "state"
data.reports.test_devices = ["00000000000000ff", "cellar"]
network.layers = [{ kind = 'dense', units = 3 }]
training = { epochs = 1, batch = 2, seed = 1 }
optimizer.kind = "adam"
"#;

/// `FILE` with these lines in place of those of the same keys, or added; lines that end in `=` go.
fn with(lines: &str) -> String {
    let key = |line: &str| line.split('=').next().unwrap().trim().to_owned();
    let changed: Vec<String> = lines.lines().map(&key).collect();
    let kept = FILE.lines().filter(|line| !changed.contains(&key(line)) || line.is_empty());
    let added = lines.lines().map(str::trim).filter(|line| !line.ends_with('='));
    added.chain(kept).collect::<Vec<_>>().join("\n")
}

fn build_from(text: &str, fields: &[Field<'_>], label_fields: Option<&[Field<'_>]>) -> Result<Job, JobError> {
    let source = Source {
        schema: Schema { task: "volts", fields },
        label_schema: label_fields.map(|fields| Schema { task: "volts", fields }),
        manifest: [7; 32],
        senders: &mut [1, 2, 0xff, 1, 5, 2, 1].into_iter().map(DeviceId),
        named: &|name| (name == "cellar").then_some(DeviceId(5)),
    };
    Draft::parse(text, Path::new("jobs/reports.toml"))?.resolve(Some(source))
}

fn build(lines: &str) -> Result<Job, JobError> {
    build_from(&with(lines), &FIELDS, None)
}

fn reports(job: &Job) -> &Reports {
    let Format::Reports(reports) = &job.data.format else { panic!("no reports") };
    reports
}

#[track_caller]
fn refuses(lines: &str, key: &str, rule: &Rule) {
    match build(lines) {
        Err(JobError::Invalid { invalid, .. }) => assert_eq!((invalid.key.as_str(), &invalid.rule), (key, rule)),
        other => panic!("{lines}: {other:?}"),
    }
}

#[test]
fn a_job_has_its_fields_from_the_schema_and_its_counts_from_the_manifest() {
    let job = build("").unwrap();
    let reports = reports(&job);
    let schema = Schema { task: "volts", fields: &FIELDS };
    // The word first, then halves, the byte, the label and the bits.
    assert_eq!(reports.records, Records { schema: schema.hash(), bytes: 4 + 4 + 1 + 1 + 1 });
    let places: Vec<_> = reports.columns.iter().map(|c| (c.place.at, c.place.bits)).collect();
    assert_eq!(places, [(80, 1), (81, 1), (32, 16), (48, 16), (64, 8), (0, 32)]);
    assert!(reports.columns.iter().all(|c| (c.offset, c.step) == (-1.0, 0.5)));
    assert_eq!(reports.target, Target::Label(Place { at: 72, bits: 2 }));
    assert_eq!((job.data.task.clone(), job.data.features()), (Task::Classes(3), 6));
    assert_eq!((job.data.train_records, job.data.test_records), (5, 2));
    assert_eq!((&reports.train, &reports.test), (&Senders::All, &Held::Of(vec![5, 0xff])));
    assert!(job.reveal.metrics && job.data.is_stored());
    assert_eq!(Job::decode(&job.encode().unwrap()).unwrap(), job);
}

#[test]
fn records_are_chosen_by_device_and_by_number() {
    let counts = |lines: &str| build(lines).map(|job| (job.data.train_records, job.data.test_records)).unwrap();
    let none = "data.reports.test_devices =\n";
    assert_eq!(counts(none), (7, 0));
    assert_eq!(counts(&format!("{none}data.reports.test_every = 3")), (5, 2));
    assert_eq!(counts("data.reports.train_devices = [\"0000000000000001\"]"), (3, 2));
    let both = "data.reports.train_devices = [\"0000000000000001\", \"0000000000000002\"]\ndata.reports.test_every = 2";
    assert_eq!(counts(&format!("{none}{both}")), (3, 2));
    let job = build(&format!("{none}{both}")).unwrap();
    let mut sorter = reports(&job).sorter();
    let sets = [1, 2, 0xff, 1, 5, 2, 1].map(|id| sorter.next(DeviceId(id)));
    let (train, test) = (Some(Set::Train), Some(Set::Test));
    assert_eq!(sets, [train, test, None, train, None, test, train]);
}

#[test]
fn squares_of_errors_within_the_declared_range_fit() {
    let narrow = "numbers.ring_bits = 32\ndata.reports.features = [\"volts\"]\ndata.reports.label = \"level\"\n\
                  loss = \"squared-error\"\nnetwork.layers = [{ kind = 'dense', units = 1 }]";
    let refused = Rule::SquareTooFar { far: 63.75, limit: 16.0 };
    refuses(&format!("{narrow}\ndata.target = {{ divide = 2 }}"), "data.reports.label", &refused);
    assert!(refused.to_string().contains("allows errors of 63.75 after scaling"), "{refused}");
    build(&format!("{narrow}\ndata.target = {{ divide = 8 }}")).unwrap();
    build(&format!("{narrow}\ndata.target = {{ divide = 2 }}\nreveal.loss = \"never\"")).unwrap();
}

#[test]
fn labels_with_codes_to_spare_may_lack_a_class() {
    assert!(build("").unwrap().data.may_lack_class(), "two bits, three classes");
    assert!(
        !build("data.classes = 4\nnetwork.layers = [{ kind = 'dense', units = 4 }]").unwrap().data.may_lack_class()
    );
    assert!(!Job::digits().unwrap().data.may_lack_class(), "files are checked by their reader");
}

#[test]
fn a_reading_is_a_regression_and_labels_may_come_apart() {
    let regression = "data.reports.label = \"level\"\nloss = \"squared-error\"\n\
                      network.layers = [{ kind = 'dense', units = 1 }]\ndata.target = { divide = 2 }";
    let job = build(regression).unwrap();
    assert_eq!((job.data.features(), job.outputs()), (5, 1));
    // A peer may send what no file gives.
    let mut two = job.clone();
    two.data.task = Task::Regression(vec![Affine { offset: 0.0, divide: 2.0 }; 2]);
    assert_eq!(two.validate().unwrap_err().key, "data.target");
    let logistic = regression.replace("squared-error", "logistic").replace("divide = 2", "divide = 1");
    let Err(JobError::Invalid { invalid, .. }) = build(&logistic) else { panic!("targets up to 255") };
    assert!(matches!(invalid.rule, Rule::Probabilities { .. }), "{invalid:?}");
    assert!(matches!(reports(&job).target, Target::Reading(Column { place: Place { at: 64, bits: 8 }, .. })));
    let apart = with("data.reports.label_schema = \"labels.toml\"\ndata.reports.label = \"who\"");
    let labels = [label("none", 1, 2), label("who", 3, 3)];
    let job = build_from(&apart, &FIELDS, Some(&labels)).unwrap();
    assert_eq!(reports(&job).about.map(|about| about.bytes), Some(2));
    assert_eq!(reports(&job).target, Target::Label(Place { at: 8, bits: 3 }));
    assert_eq!(job.data.features(), 6);
    let draft = Draft::parse(&apart, Path::new("jobs/reports.toml")).unwrap();
    assert_eq!(draft.schema(), Some(PathBuf::from("jobs/fields.toml")));
    assert_eq!(draft.label_schema(), Some(PathBuf::from("jobs/labels.toml")));
}

#[test]
fn readings_have_no_thresholds() {
    let columns = ["{ divide = 2 }", "{ above = 1 }"].map(|column| [column; 3].join(", ")).join(", ");
    let rule = Rule::UnusedBy { by: "[data.reports], whose readings are shared at their devices" };
    let text = format!("data.scale.divide =\ndata.scale.columns = [{columns}]");
    refuses(&text, "data.scale.columns[3].above", &rule);
}

#[test]
fn what_does_not_fit_is_refused() {
    let key = "data.reports.features";
    let duplicate = |got: &str| Rule::Duplicate { got: got.into() };
    refuses("data.reports.features = [\"volts\", \"volts\"]", key, &duplicate("volts"));
    refuses("data.reports.features = [\"state\"]", key, &duplicate("state"));
    let known = FIELDS.iter().map(|field| field.name.to_owned()).collect();
    refuses("data.reports.features = [\"amps\"]", key, &Rule::Field { got: "amps".into(), known });
    refuses("data.reports.features = []", "data.shape (features)", &out_of(0, 1, 1 << 16));
    refuses("data.reports.label = \"volts\"", "data.reports.label", &Rule::NotOne { got: "volts".into() });
    refuses("data.classes = 5", "data.classes", &out_of(5, 2, 4));
    let shape = Rule::ShapeOf { got: Shape::vector(5), features: 6 };
    refuses("data.shape = [5]", "data.shape", &shape);
    assert_eq!(
        build("data.shape = [3, 2, 1]\nnetwork.layers = [{ kind = 'flatten' }, { kind = 'dense', units = 3 }]")
            .unwrap()
            .data
            .shape,
        Shape([3, 2, 1])
    );
    refuses(
        "data.train_records = 6",
        "data.train_records",
        &Rule::UnusedBy { by: "[data.reports], which takes it from the manifest" },
    );
    refuses("data.reports.test_every = 2", "data.reports", &Rule::AtMostOne { of: &["test_devices", "test_every"] });
    let device = |got: &str| Rule::Device { got: got.into() };
    refuses("data.reports.test_devices = [\"attic\"]", "data.reports.test_devices", &device("attic"));
    refuses(
        "data.reports.test_devices = [\"cellar\", \"0000000000000005\"]",
        "data.reports.test_devices",
        &duplicate("0000000000000005"),
    );
    refuses("data.reports.test_devices = [\"0000000000000044\"]", "data.reports.test_devices", &Rule::NoRecords);
    refuses("data.reports.train_devices = [\"0000000000000044\"]", "data.reports.train_devices", &Rule::NoRecords);
    refuses(
        "data.reports.train_devices = [\"cellar\", \"0000000000000001\"]",
        "data.reports.test_devices",
        &Rule::BothSets { device: 5 },
    );
    let wide = Rule::TooWide { bits: 32, ring_bits: 32 };
    refuses("numbers.ring_bits = 32", "data.reports.features[5]", &wide);
    let narrow = "numbers.ring_bits = 32\ndata.reports.features = [\"volts\", \"level\"]";
    build(narrow).unwrap();
    let far = Rule::TooFar { reach: 3_276_650.0, limit: 524_288.0 };
    refuses(&format!("{narrow}\ndata.scale.divide = 0.01"), "data.reports.features[0]", &far);
    let Err(JobError::Invalid { invalid, .. }) = Job::parse(FILE, Path::new("reports.toml")) else { panic!("a job") };
    assert_eq!((invalid.key.as_str(), invalid.rule), ("data.reports", Rule::NeedsManifest));
    let Err(JobError::Invalid { invalid, .. }) = build_from(FILE, &[], None) else { panic!("a job") };
    assert_eq!(invalid.rule, Rule::Schema { error: SchemaError::Empty });
}

#[test]
fn what_a_peer_sends_about_reports_is_checked() {
    let job = build("").unwrap();
    let sent = |change: &dyn Fn(&mut Reports)| {
        let mut job = job.clone();
        let Format::Reports(reports) = &mut job.data.format else { panic!("no reports") };
        change(reports);
        Job::decode(&job.encode().unwrap())
    };
    let changes: [&dyn Fn(&mut Reports); 11] = [
        &|r| r.columns[0].place.at = 88,
        &|r| r.columns[0].place.at = u32::MAX,
        &|r| r.columns[2].place.at = 33,
        &|r| r.columns[2].place.bits = 15,
        &|r| r.columns[5].place = Place { at: 64, bits: 32 },
        &|r| r.columns[1].place = r.columns[0].place,
        &|r| r.columns[1].step = f64::NAN,
        &|r| r.records.bytes = 1 << 20,
        &|r| r.target = Target::Label(Place { at: 79, bits: 2 }),
        &|r| r.target = Target::Reading(r.columns[0]),
        &|r| r.test = Held::Of(vec![0xff, 5]),
    ];
    for (i, change) in changes.iter().enumerate() {
        assert!(matches!(sent(change), Err(JobError::Sent(_))), "change {i}");
    }
    let bytes = job.encode().unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut mutated = bytes.clone();
            mutated[at] ^= 1 << bit;
            if let Ok(job) = Job::decode(&mutated) {
                job.validate().unwrap();
            }
        }
    }
}

#[test]
fn all_of_it_enters_the_hash() {
    let hash = |job: &Job| job.hash().unwrap();
    let base = build("").unwrap();
    assert_eq!(hash(&base), hash(&build("data.classes = 3").unwrap()));
    let mut others = vec![base.clone(); 4];
    let mut changes = others.iter_mut().map(|job| match &mut job.data.format {
        Format::Reports(reports) => reports,
        _ => panic!("no reports"),
    });
    changes.next().unwrap().manifest[0] ^= 1;
    changes.next().unwrap().records.schema[0] ^= 1;
    changes.next().unwrap().columns[0].offset = 0.0;
    changes.next().unwrap().test = Held::Of(vec![5]);
    let hashes: std::collections::BTreeSet<_> = others.iter().chain([&base]).map(hash).collect();
    assert_eq!(hashes.len(), 5);
}

proptest::proptest! {
    /// Every code's integers stay in range with as many bits as there are, and one bit more would not.
    #[test]
    fn lines_fill_the_ring_and_no_more(first in -400f64..400.0, slope in -2f64..2.0, narrow: bool, wide: bool) {
        let (ring_bits, frac_bits) = if wide { (64, 12) } else { (32, 11) };
        let line = Line { bits: if narrow { 8 } else { 16 }, first, slope: if narrow { slope } else { slope / 256.0 } };
        proptest::prop_assume!(line.slope != 0.0);
        let extra = line.extra_bits(ring_bits, frac_bits).unwrap();
        let (slope, first) = line.integers(frac_bits + extra);
        let unit = 2f64.powi((frac_bits + extra).cast_signed());
        let limit = 1i128 << (ring_bits - 2);
        for code in [0, 1, 77, (1i64 << line.bits) - 1] {
            let got = i128::from(slope) * i128::from(code) + i128::from(first);
            proptest::prop_assert!(-limit <= got && got < limit, "{got}");
            #[allow(clippy::cast_precision_loss)]
            let (want, got) = ((line.first + line.slope * code as f64) * unit, got as f64);
            let nearest = (-line.first / line.slope).clamp(0.0, 2f64.powi(line.bits.cast_signed()) - 1.0);
            #[allow(clippy::cast_precision_loss)]
            let allowed = 0.51 + 0.5 * (code as f64 - nearest).abs() + want.abs() / 2f64.powi(45) + unit / 2f64.powi(30);
            proptest::prop_assert!((got - want).abs() <= allowed, "{got}, not {want}");
        }
        let more = line.reach() * 2f64.powi((frac_bits + extra + 1).cast_signed()) + 65_536.0;
        proptest::prop_assert!(more > 2f64.powi((ring_bits - 2).cast_signed()) * 0.999);
    }
}
