//! Job files of version 1 in the present form.
//!
//! The text is edited and not written anew, so that comments and order stay. Version 1 had no
//! `version`, the number of features in place of a shape, layers as `{ dense = 8 }` and `"relu"`,
//! another name of the squared error, other keys of Adam, and `reveal.accuracy`.

use std::fmt;

use toml_edit::{Array, DocumentMut, InlineTable, Item, Key, Table, TableLike, Value};

use super::{Adam, VERSION};

/// The reason why a file is not migrated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MigrateError {
    /// The text is not TOML.
    Syntax {
        /// The parser's message, with line and column.
        message: String,
    },
    /// The file has a version, so it is not one of version 1.
    Version {
        /// The version.
        got: String,
    },
    /// A layer that version 1 did not have.
    Layer {
        /// Its place in the list.
        index: usize,
    },
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { message } => write!(f, "the file is not TOML: {message}"),
            Self::Version { got } => {
                write!(f, "the file has version = {got}; only files of version 1, which have none, are migrated")
            }
            Self::Layer { index } => write!(
                f,
                "network.layers[{index}] is no layer of version 1; give {{ dense = UNITS }} or \"relu\", or write the \
                 file in the present form"
            ),
        }
    }
}

impl std::error::Error for MigrateError {}

/// Returns `text`, a job file of version 1, in the present form.
///
/// # Errors
///
/// [`MigrateError`].
pub fn migrate(text: &str) -> Result<String, MigrateError> {
    let mut file: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| MigrateError::Syntax { message: error.to_string() })?;
    if let Some(version) = file.get("version") {
        return Err(MigrateError::Version { got: version.to_string().trim().to_owned() });
    }
    if let Some(data) = file.get_mut("data").and_then(Item::as_table_like_mut) {
        features(data);
    }
    if let Some(list) = file.get_mut("network").and_then(|item| item.get_mut("layers")).and_then(Item::as_array_mut) {
        layers(list)?;
    }
    loss(file.as_table_mut());
    optimizer(file.as_table_mut());
    if let Some(reveal) = file.get_mut("reveal").and_then(Item::as_table_like_mut) {
        rename(reveal, &[("accuracy", "metrics")], |_, _| None);
    }
    version(file.as_table_mut());
    Ok(file.to_string())
}

/// Puts `version` before all other keys, behind the comment that the file begins with.
fn version(file: &mut Table) {
    let mut key = Key::new("version");
    let first = file.iter().next().map(|(first, _)| first.to_owned());
    if let Some(mut first) = first.as_deref().and_then(|first| file.key_mut(first)) {
        let head = first.leaf_decor().prefix().and_then(|head| head.as_str()).unwrap_or_default().to_owned();
        first.leaf_decor_mut().set_prefix("");
        key.leaf_decor_mut().set_prefix(head);
    }
    file.insert_formatted(&key, Item::Value(i64::from(VERSION).into()));
    // Keys keep their order of insertion; the new one goes first.
    file.sort_values_by(|a, _, b, _| (b.get() == "version").cmp(&(a.get() == "version")));
}

/// Renames keys where they stand, by the list; `change` gives the new value.
fn rename(table: &mut dyn TableLike, names: &[(&str, &str)], change: impl Fn(&str, &Value) -> Option<Value>) {
    if !names.iter().any(|(old, _)| table.contains_key(old)) {
        return;
    }
    let all: Vec<String> = table.iter().map(|(name, _)| name.to_owned()).collect();
    // Keys keep their order of insertion.
    let entries: Vec<(Key, Item)> =
        all.iter().filter_map(|name| Some((table.key(name)?.clone(), table.remove(name)?))).collect();
    for (key, item) in entries {
        let new = names.iter().find(|(old, _)| *old == key.get()).and_then(|(_, new)| Some((new, item.as_value()?)));
        let Some((new, value)) = new else {
            table.entry_format(&key).or_insert(item);
            continue;
        };
        let mut changed = change(new, value).unwrap_or_else(|| value.clone());
        *changed.decor_mut() = value.decor().clone();
        let renamed =
            Key::new(*new).with_leaf_decor(key.leaf_decor().clone()).with_dotted_decor(key.dotted_decor().clone());
        table.entry_format(&renamed).or_insert(Item::Value(changed));
    }
}

/// `features = n` becomes `shape = [n]`.
fn features(data: &mut dyn TableLike) {
    rename(data, &[("features", "shape")], |_, features| {
        let (mut shape, mut bare) = (Array::new(), features.clone());
        bare.decor_mut().clear();
        shape.push_formatted(bare);
        Some(Value::Array(shape))
    });
}

/// The kind of the loss.
fn loss(file: &mut Table) {
    let Some(loss) = file.get_mut("loss").and_then(Item::as_value_mut) else { return };
    if loss.as_str() == Some("mean-squared-error") {
        let decor = loss.decor().clone();
        *loss = "squared-error".into();
        *loss.decor_mut() = decor;
    }
}

/// Keys of [`OptimizerFile`](super::file) as version 1 named them.
const OF_ADAM: [(&str, &str); 5] = [
    ("low", "first_threshold_log2"),
    ("cells", "buckets"),
    ("keep", "refresh_every"),
    ("lazy", "lazy_second_moment"),
    ("shift", "learning_rate"),
];

/// Adam's keys; its shift becomes the learning rate that it stood for.
fn optimizer(file: &mut Table) {
    let number = |table: &str, key: &str| file.get(table)?.get(key)?.as_integer();
    let frac_bits =
        number("numbers", "frac_bits").unwrap_or(if number("numbers", "ring_bits") == Some(32) { 11 } else { 12 });
    let default_shift = 9 - frac_bits + number("optimizer", "low").unwrap_or(Adam::FIRST_THRESHOLD_LOG2.into()) / 2;
    let Some(table) = file.get_mut("optimizer").and_then(Item::as_table_like_mut) else { return };
    rename(table, &OF_ADAM, |new, value| {
        let shift = value.as_integer().filter(|_| new == "learning_rate")?;
        let doublings = i32::try_from(default_shift - shift).ok()?;
        Some((Adam::LEARNING_RATE * f64::from(doublings).exp2()).into())
    });
}

fn layers(list: &mut Array) -> Result<(), MigrateError> {
    for (index, layer) in list.iter_mut().enumerate() {
        let mut table = InlineTable::new();
        match (layer.as_str(), layer.as_inline_table().and_then(|table| table.get("dense"))) {
            (Some("relu"), _) => {
                table.insert("kind", "relu".into());
            }
            (_, Some(units)) => {
                let mut units = units.clone();
                units.decor_mut().clear();
                table.insert("kind", "dense".into());
                table.insert("units", units);
            }
            _ => return Err(MigrateError::Layer { index }),
        }
        let decor = layer.decor().clone();
        *layer = Value::InlineTable(table);
        *layer.decor_mut() = decor;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn comments_and_order_stay() {
        let old = "# A job.\n\nname = \"a\" # here\nloss = \"softmax-cross-entropy\"\n\n[data]\n# how many\nfeatures = 7_84 # all\n\
                   classes = 3\n\n[network]\nlayers = [{ dense = 8 }, \"relu\", { dense = 3 }] # two\n";
        let new = "# A job.\n\nversion = 2\nname = \"a\" # here\nloss = \"softmax-cross-entropy\"\n\n[data]\n# how many\nshape = [7_84] # all\n\
                   classes = 3\n\n[network]\nlayers = [{ kind = \"dense\", units = 8 }, { kind = \"relu\" }, { kind = \"dense\", units = 3 }] # two\n";
        assert_eq!(migrate(old).unwrap(), new);
        assert_eq!(migrate(new), Err(MigrateError::Version { got: "2".to_owned() }));
    }

    #[test]
    fn keys_of_adam_are_renamed() {
        let old = "loss = \"mean-squared-error\" # the loss\n[numbers]\nring_bits = 32\n[optimizer]\nkind = \"adam\"\n# one less doubles\n\
                   shift = -1 # fast\nlow = 4\ncells = 7\nkeep = 4\nlazy = true\n[reveal]\naccuracy = true\n";
        let new = "version = 2\nloss = \"squared-error\" # the loss\n[numbers]\nring_bits = 32\n[optimizer]\nkind = \"adam\"\n# one less doubles\n\
                   learning_rate = 0.002 # fast\nfirst_threshold_log2 = 4\nbuckets = 7\nrefresh_every = 4\nlazy_second_moment = true\n[reveal]\nmetrics = true\n";
        assert_eq!(migrate(old).unwrap(), new);
    }

    #[test]
    fn dotted_keys_and_faults() {
        let new = migrate("name = \"a\"\ndata.features = 4\nnetwork.layers = [\"relu\"]\n").unwrap();
        assert_eq!(new, "version = 2\nname = \"a\"\ndata.shape = [4]\nnetwork.layers = [{ kind = \"relu\" }]\n");
        assert_eq!(migrate("network.layers = [\"tanh\"]"), Err(MigrateError::Layer { index: 0 }));
        assert!(matches!(migrate("name = = 1"), Err(MigrateError::Syntax { message }) if message.contains("line 1")));
    }

    /// A developer's machine has older job files beside the data sets.
    #[test]
    fn job_files_beside_the_data_are_migrated() {
        let Some(data) = crate::data::dataset_dir() else { return };
        let mut folders = vec![data.join("../cases"), data.join("../reference")];
        let mut migrated = 0;
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                if path.extension().is_some_and(|ext| ext == "toml") && text.contains("[network]") {
                    let new = migrate(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                    crate::job::Draft::parse(&new, &path).unwrap_or_else(|error| panic!("{error}"));
                    migrated += 1;
                }
            }
        }
        println!("{migrated} files of version 1");
    }
}
