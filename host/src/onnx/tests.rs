//! Round trips of every layer, and files that are refused.
#![allow(clippy::unwrap_used)]

use super::{Imported, ModelFormat, OnnxError, export, import, proto::*};
use crate::{
    job::Job,
    train::{model_words, tensors},
};
use proptest::prelude::*;
use prost::{Message, bytes::Bytes};
use std::{collections::BTreeMap, path::Path, sync::LazyLock};
use symbolon_core::layer::Origin;

/// A job of these layers on records of this shape.
fn job(shape: &str, task: &str, layers: &str) -> Job {
    job_with("", shape, task, layers)
}

/// That job with more arrays in its file.
fn job_with(arrays: &str, shape: &str, task: &str, layers: &str) -> Job {
    let (loss, metrics) = match task.starts_with("classes") {
        true => ("softmax-cross-entropy", "metrics = true"),
        false => ("squared-error", "metrics = true"),
    };
    let text = format!(
        "version = 2\nname = 'net'\nloss = '{loss}'\n[data]\nshape = {shape}\ntrain_records = 64\ntest_records = 16\n\
         {task}\n[data.npz]\nfile = 'x.npz'\ntrain_features = 'a'\ntrain_labels = 'b'\ntest_features = 'c'\n\
         test_labels = 'd'\n{arrays}[network]\nlayers = [{layers}]\n[training]\nepochs = 1\nbatch = 16\nseed = 3\n\
         [optimizer]\nkind = 'adam'\nlearning_rate = 0.0156\n[reveal]\n{metrics}\nmodel = true\n"
    );
    Job::parse(&text, Path::new("net.toml")).unwrap_or_else(|error| panic!("{layers}: {error}"))
}

const CLASSES: &str = "classes = 3\nscale = { divide = 4 }";
const IMAGE: &str = "[2, 8, 8]";
const SEQUENCE: &str = "[6, 2]";
const END: &str = "{ kind = 'flatten' }, { kind = 'dense', units = 3 }";
const OUT: &str = "{ kind = 'dense', units = 3 }";

/// Each layer with all its keys, in a network of its own: kind, shape of records, layers.
fn networks() -> Vec<(&'static str, &'static str, String)> {
    let image = |kind, layer: &str| (kind, IMAGE, format!("{layer}, {END}"));
    let sequence = |kind, layer: &str| (kind, SEQUENCE, format!("{layer}, {OUT}"));
    vec![
        ("dense", "[5]", format!("{{ kind = 'dense', units = 4 }}, {OUT}")),
        ("relu", "[5]", format!("{{ kind = 'dense', units = 4 }}, {{ kind = 'relu' }}, {OUT}")),
        image(
            "convolution",
            "{ kind = 'convolution', filters = 4, kernel = [3, 2], stride = [2, 1], padding = [1, 0], groups = 2 }",
        ),
        image("max-pool", "{ kind = 'max-pool', window = [2, 3], stride = [1, 2] }"),
        image("max-pool", "{ kind = 'max-pool', window = 2, relu = true }"),
        image("average-pool", "{ kind = 'average-pool', window = [2, 4], stride = 2 }"),
        image(
            "global-average-pool",
            "{ kind = 'convolution', filters = 4, kernel = 3 }, { kind = 'global-average-pool' }",
        ),
        image("flatten", "{ kind = 'relu' }"),
        image("leaky-relu", "{ kind = 'leaky-relu', slope = 0.01 }"),
        image("square", "{ kind = 'square' }"),
        image("dropout", "{ kind = 'dropout', rate = 0.25 }"),
        image(
            "add",
            "{ name = 'a', kind = 'relu' }, { kind = 'square', input = 'data' }, { kind = 'add', input = ['a', 'square1'] }",
        ),
        image(
            "concat",
            "{ name = 'a', kind = 'relu' }, { kind = 'square', input = 'data' }, { kind = 'concat', input = ['a', 'square1'] }",
        ),
        image("upsample", "{ kind = 'upsample', factor = [2, 1] }"),
        image(
            "batch-norm",
            "{ kind = 'convolution', filters = 4, kernel = 3 }, { kind = 'batch-norm', epsilon_log2 = -6, momentum = 0.25 }",
        ),
        image("activation", "{ kind = 'activation', function = 'tanh' }, { kind = 'activation', function = 'gelu' }"),
        image(
            "activation",
            "{ kind = 'activation', function = 'exponential-2' }, { kind = 'activation', function = 'logarithm-2' }",
        ),
        image(
            "activation",
            "{ kind = 'activation', function = 'power', exponent = 3 }, { kind = 'activation', function = 'inverse-square-root' }",
        ),
        sequence("recurrent", "{ kind = 'recurrent', cell = 'gru', units = 4 }"),
        sequence("recurrent", "{ kind = 'recurrent', cell = 'simple', units = 4, reverse = true }"),
        sequence("recurrent", "{ kind = 'recurrent', cell = 'lstm', units = 4, states = 'all' }, { kind = 'flatten' }"),
        sequence(
            "recurrent",
            "{ kind = 'recurrent', cell = 'lstm', units = 4, states = 'carry' }, \
             { name = 'b', kind = 'recurrent', cell = 'lstm', units = 4, initial_state = true, input = ['data', 'recurrent1'] }",
        ),
        sequence(
            "concat",
            "{ name = 'f', kind = 'recurrent', cell = 'gru', units = 2, states = 'all' }, \
             { name = 'r', kind = 'recurrent', cell = 'gru', units = 2, states = 'all', reverse = true, input = 'data' }, \
             { kind = 'concat', each_step = true, input = ['f', 'r'] }, { kind = 'flatten' }",
        ),
        sequence("dense", "{ kind = 'dense', units = 2, each_step = true }, { kind = 'flatten' }"),
        sequence("slice", "{ kind = 'slice', from = 1, steps = 3 }, { kind = 'flatten' }"),
        (
            "embedding",
            "[6, 1]",
            format!(
                "{{ kind = 'embedding', codes = 5, units = 3 }}, {{ kind = 'recurrent', cell = 'gru', units = 3 }}, {OUT}"
            ),
        ),
        (
            "embedding",
            "[6, 1]",
            format!(
                "{{ kind = 'slice', steps = 4 }}, {{ kind = 'embedding', codes = 5, units = 3 }}, {{ kind = 'flatten' }}, {OUT}"
            ),
        ),
    ]
}

/// Words of small parameters, and variances above 0.
fn words(job: &Job) -> Vec<u64> {
    let parameters = job.parameters();
    (0..job.model_words() as u64)
        .map(|i| {
            let word = (i * 7919 % (1 << 17)).wrapping_sub(1 << 16);
            if i >= parameters as u64 { i * 7919 % (1 << 17) + (1 << 10) } else { word }
        })
        .collect()
}

fn exported(job: &Job) -> (Vec<u64>, Vec<u8>) {
    let words = words(job);
    let bytes = export(job, &tensors(job, &words), &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"));
    (words, bytes)
}

fn signed(word: u64) -> i64 {
    word.cast_signed()
}

/// Both words are the same but for a rounding to 24 bits.
fn assert_near(got: &[u64], want: &[u64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let difference = (signed(*got) - signed(*want)).abs();
        assert!(difference <= 1 + (signed(*want).abs() >> 20), "{what}: word {i} is {got}, not {want}");
    }
}

/// Export and import give the network, the tensors and the scale; also through the metadata.
#[test]
fn every_layer_comes_back() {
    let mut kinds = std::collections::BTreeSet::new();
    for (kind, shape, layers) in networks() {
        let job = job(shape, CLASSES, &layers);
        assert!(job.network.nodes.iter().any(|node| node.layer.kind() == kind), "{kind}: {layers}");
        kinds.insert(kind);
        let (words, bytes) = exported(&job);
        let imported = import(&bytes).unwrap_or_else(|error| panic!("{layers}: {error}"));
        let (model, remarks) = imported.for_job(&job).unwrap_or_else(|error| panic!("{layers}: {error}"));
        assert_eq!(remarks, [], "{layers}");
        assert_near(&model_words::<u64>(&job, &model).unwrap(), &words, &layers);
    }
    let schema = schemars::schema_for!(symbolon_core::layer::AnyLayer).to_value();
    let all = schema["oneOf"].as_array().unwrap().iter().map(|layer| &layer["properties"]["kind"]["const"]);
    for kind in all {
        assert!(kinds.contains(kind.as_str().unwrap()), "{kind} is not in networks()");
    }
}

#[test]
fn scales_come_back() {
    let layers = "{ kind = 'dense', units = 4 }, { kind = 'relu' }, { kind = 'dense', units = 2 }";
    let target = "target = [{ offset = 22.5, divide = 9 }, { divide = 2 }]";
    let scales = [
        "scale = { divide = 1 }",
        "scale = { divide = 255 }",
        "scale = { ranges = [[-1, 1], [0, 10], [5, 6]] }",
        "scale = { columns = [{ offset = 0.1, divide = 3 }, { above = 0.1 }, { divide = -2 }] }",
    ];
    for scale in scales {
        let job = job("[3]", &format!("{target}\n{scale}"), layers);
        let (words, bytes) = exported(&job);
        let imported = import(&bytes).unwrap();
        let (model, remarks) = imported.for_job(&job).unwrap();
        assert_eq!(remarks, [], "{scale}");
        assert_near(&model_words::<u64>(&job, &model).unwrap(), &words, scale);
        let mut other = job.clone();
        other.data.scale = crate::job::Scale::Divide(254.0);
        let (scaled, other) = (imported.scale.is_some(), imported.for_job(&other));
        assert!(if scaled { matches!(other, Err(OnnxError::Scale { feature: 0 })) } else { other.is_ok() }, "{scale}");
    }
    let channels = "classes = 3\nscale = { channels = [{ offset = 0.5, divide = 0.25 }, { divide = 2 }] }";
    let job = job(IMAGE, channels, END);
    let (_, bytes) = exported(&job);
    assert!(import(&bytes).unwrap().for_job(&job).is_ok());
}

#[test]
fn lengths_are_an_input() {
    let arrays = "train_lengths = 'e'\ntest_lengths = 'f'\n";
    let gru = format!("{{ kind = 'recurrent', cell = 'gru', units = 4 }}, {OUT}");
    let own = job_with(arrays, SEQUENCE, CLASSES, &gru);
    let (words, bytes) = exported(&own);
    let model = ModelProto::decode(&bytes[..]).unwrap();
    assert_eq!(GraphProto::decode(model.graph.unwrap()).unwrap().input.len(), 2);
    let (model, _) = import(&bytes).unwrap().for_job(&own).unwrap();
    assert_near(&model_words::<u64>(&own, &model).unwrap(), &words, "lengths");
    let own = job_with(arrays, SEQUENCE, CLASSES, &format!("{{ kind = 'slice', steps = 4 }}, {gru}"));
    let refused = export(&own, &tensors(&own, &self::words(&own)), &BTreeMap::new()).unwrap_err();
    assert_eq!(refused.code(), "onnx-no-operator");
}

/// A ReLU before a pool, no dropout, and a flat input: the same network.
#[test]
fn equal_networks_are_recognised() {
    let conv = "{ kind = 'convolution', filters = 4, kernel = 3 }";
    let foreign =
        job(IMAGE, CLASSES, &format!("{conv}, {{ kind = 'relu' }}, {{ kind = 'max-pool', window = 2 }}, {END}"));
    let own =
        format!("{conv}, {{ kind = 'max-pool', window = 2, relu = true }}, {{ kind = 'dropout', rate = 0.5 }}, {END}");
    let own = job(IMAGE, CLASSES, &own);
    let (words, bytes) = exported(&foreign);
    let (model, _) = import(&bytes).unwrap().for_job(&own).unwrap();
    assert_near(&model_words::<u64>(&own, &model).unwrap(), &words, "pools");
    let other = job(IMAGE, CLASSES, &format!("{conv}, {{ kind = 'max-pool', window = 2 }}, {END}"));
    assert!(matches!(import(&bytes).unwrap().for_job(&other), Err(OnnxError::Network { at: 1, .. })));
}

/// Edits the graph of a small network.
fn edited(edit: impl FnOnce(&mut ModelProto)) -> Result<Imported, OnnxError> {
    let job = job("[5]", CLASSES, &format!("{{ kind = 'dense', units = 4 }}, {{ kind = 'relu' }}, {OUT}"));
    let mut model = ModelProto::decode(&exported(&job).1[..]).unwrap();
    edit(&mut model);
    import(&model.encode_to_vec())
}

/// Edits the graph of that network.
fn with_graph(edit: impl FnOnce(&mut GraphProto)) -> Result<Imported, OnnxError> {
    edited(|model| {
        let mut graph = GraphProto::decode(model.graph.take().unwrap()).unwrap();
        edit(&mut graph);
        model.graph = Some(Bytes::from(graph.encode_to_vec()));
    })
}

/// Edits the nodes with an operator.
fn with_nodes(operator: &str, edit: impl Fn(&mut NodeProto)) -> Result<Imported, OnnxError> {
    with_graph(|graph| {
        for bytes in &mut graph.node {
            let mut node = NodeProto::decode(bytes.clone()).unwrap();
            if node.op_type == operator {
                edit(&mut node);
            }
            *bytes = Bytes::from(node.encode_to_vec());
        }
    })
}

fn with_tensors(edit: impl Fn(&mut TensorProto)) -> Result<Imported, OnnxError> {
    with_graph(|graph| {
        for bytes in &mut graph.initializer {
            let mut tensor = TensorProto::decode(bytes.clone()).unwrap();
            edit(&mut tensor);
            *bytes = Bytes::from(tensor.encode_to_vec());
        }
    })
}

#[track_caller]
fn refused(got: Result<Imported, OnnxError>, code: &str, text: &str) {
    let error = got.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().starts_with(code) && error.to_string().contains(text), "{error}");
}

#[test]
fn strangers_are_refused_by_name() {
    assert!(edited(|_| {}).is_ok());
    refused(with_nodes("Relu", |node| node.op_type = "Einsum".to_owned()), "onnx-operator", "Einsum");
    refused(with_nodes("Relu", |node| node.domain = "com.acme".to_owned()), "onnx-operator", "com.acme.Relu");
    let attribute = |node: &mut NodeProto| node.attribute.push(super::writer::int("transA", 1));
    refused(with_nodes("Gemm", attribute), "onnx-attribute", "transA");
    let unknown = |node: &mut NodeProto| node.attribute.push(super::writer::int("shear", 1));
    refused(with_nodes("Gemm", unknown), "onnx-attribute", "shear");
    refused(with_nodes("Relu", |node| node.input[0] = "nothing".to_owned()), "onnx-value", "nothing");
    refused(with_nodes("Gemm", |node| node.output[0] = "records".to_owned()), "onnx-value", "records");
    refused(with_tensors(|tensor| tensor.data_location = 1), "onnx-external-data", "one file");
    refused(with_tensors(|tensor| tensor.data_type = 10), "onnx-tensor", "type");
    refused(with_tensors(|tensor| tensor.dims.iter_mut().for_each(|dim| *dim += 1)), "onnx-tensor", "dimensions");
    refused(edited(|model| model.opset_import[0].version = 9), "onnx-opset", "opset 13");
    refused(edited(|model| model.opset_import.clear()), "onnx-opset", "opset 13");
    let dynamic = |graph: &mut GraphProto| {
        let mut input = ValueInfoProto::decode(graph.input[0].clone()).unwrap();
        let kind = input.r#type.as_mut().unwrap();
        let dim = &mut kind.tensor_type.as_mut().unwrap().shape.as_mut().unwrap().dim[1];
        *dim = Dimension { dim_value: None, dim_param: Some("n".to_owned()) };
        graph.input[0] = Bytes::from(input.encode_to_vec());
    };
    refused(with_graph(dynamic), "onnx-dynamic-shape", "records");
    refused(with_graph(|graph| graph.input.clear()), "onnx-record", "0 inputs");
    refused(edited(|model| model.graph = None), "onnx-malformed", "not an ONNX model");
    let inner = |graph: &mut GraphProto| {
        let relu = graph.node.iter().map(|bytes| NodeProto::decode(bytes.clone()).unwrap());
        let relu = relu.into_iter().find(|node| node.op_type == "Relu").unwrap();
        let output = ValueInfoProto { name: relu.output[0].clone(), r#type: None };
        graph.output[0] = Bytes::from(output.encode_to_vec());
    };
    refused(with_graph(inner), "onnx-outputs", "Relu");
}

/// Files that ask for much more memory than they have bytes.
#[test]
fn much_of_little_is_refused() {
    refused(with_graph(|graph| graph.node.resize(5000, Bytes::new())), "onnx-too-large", "nodes");
    refused(with_graph(|graph| graph.output.resize(1 << 16, Bytes::new())), "onnx-too-large", "fields");
    refused(with_nodes("Relu", |node| node.input.resize(1 << 16, String::new())), "onnx-too-large", "fields");
    let metadata = |model: &mut ModelProto| model.metadata_props.resize(1 << 16, StringStringEntryProto::default());
    refused(edited(metadata), "onnx-too-large", "fields");
    refused(with_graph(|graph| graph.input[0] = Bytes::from(vec![0; 5000])), "onnx-too-large", "type");
    // One tensor of 4 MB, copied again and again.
    let copies = |graph: &mut GraphProto| {
        let raw_data = Some(Bytes::from(vec![0; 4 << 20]));
        let big =
            TensorProto { dims: vec![1 << 20], data_type: 1, name: "0".to_owned(), raw_data, ..TensorProto::default() };
        graph.initializer.push(Bytes::from(big.encode_to_vec()));
        let copy = |i: u32| NodeProto {
            input: vec![i.to_string()],
            output: vec![(i + 1).to_string()],
            op_type: "Identity".to_owned(),
            ..NodeProto::default()
        };
        graph.node = (0..100).map(|i| Bytes::from(copy(i).encode_to_vec())).chain(graph.node.drain(..)).collect();
    };
    refused(with_graph(copies), "onnx-too-large", "parameters");
}

/// Arithmetic between layers goes into the weights before it.
#[test]
fn factors_go_into_weights() {
    let plain = edited(|_| {}).unwrap();
    let scaled = with_graph(|graph| {
        let at =
            graph.node.iter().position(|bytes| NodeProto::decode(bytes.clone()).unwrap().op_type == "Relu").unwrap();
        let mut relu = NodeProto::decode(graph.node[at].clone()).unwrap();
        let factor =
            TensorProto { data_type: 1, float_data: vec![2.0], name: "two".to_owned(), ..TensorProto::default() };
        graph.initializer.push(Bytes::from(factor.encode_to_vec()));
        let node = NodeProto {
            input: vec![relu.input[0].clone(), "two".to_owned()],
            output: vec!["doubled".to_owned()],
            op_type: "Mul".to_owned(),
            ..NodeProto::default()
        };
        relu.input[0] = "doubled".to_owned();
        graph.node[at] = Bytes::from(relu.encode_to_vec());
        graph.node.insert(at, Bytes::from(node.encode_to_vec()));
    });
    let scaled = scaled.unwrap();
    for ((_, _, plain), (_, _, scaled)) in plain.parameters[0].iter().zip(&scaled.parameters[0]) {
        assert_eq!(&plain.iter().map(|x| 2.0 * x).collect::<Vec<f32>>(), scaled);
    }
    assert_eq!(plain.network.nodes[1].input, Origin::Node(0));
}

#[test]
fn names_choose_the_format() {
    let of = |name: &str| ModelFormat::of(Path::new(name));
    assert_eq!([of("a.onnx"), of("a.ONNX"), of("a.safetensors"), of("a")], {
        let (onnx, other) = (ModelFormat::Onnx, ModelFormat::Safetensors);
        [onnx, onnx, other, other]
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever bytes change, reading ends with a network or an error.
    #[test]
    fn any_bytes_are_read_or_refused(which in 0..27usize, cuts in 0..4u8, edits in prop::collection::vec((any::<u32>(), any::<u8>()), 1..6)) {
        static FILES: LazyLock<Vec<(Job, Vec<u8>)>> = LazyLock::new(|| {
            let jobs = networks().into_iter().map(|(_, shape, layers)| job(shape, CLASSES, &layers));
            jobs.map(|job| (job.clone(), exported(&job).1)).collect()
        });
        let (job, bytes) = &FILES[which % FILES.len()];
        let mut bytes = bytes.clone();
        for (at, byte) in edits {
            let at = at as usize % bytes.len();
            match cuts {
                0 => bytes.truncate(at.max(1)),
                1 => bytes.insert(at, byte),
                _ => bytes[at] = byte,
            }
        }
        let _ = import(&bytes).map(|imported| imported.for_job(job).is_ok());
    }
}
