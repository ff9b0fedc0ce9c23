//! `symbolon help`: commands, and the keys of job and configuration files, from the types that read
//! them.

use super::{Cli, exit::Failure};
use crate::{job::job_schema, net::config_schema};
use clap::CommandFactory;
use serde_json::Value;

/// Columns of a printed line.
const WIDTH: usize = 100;
/// Sections of every configuration.
const COMMON: [&str; 5] = ["role", "listen", "peers", "tls", "timeouts"];
/// Keys of a policy that dealer and auditor have.
const LIMITS: [&str; 2] = ["policy.places", "policy.largest_memory_mib"];
/// Topics beside the commands, and what they are about.
const TOPICS: [(&str, &str); 6] = [
    ("job", "keys of a job file"),
    ("server", "keys of a server's configuration"),
    ("policy", "keys of a server's policy"),
    ("gateway", "keys of a gateway's configuration, and MQTT topics"),
    ("dealer", "keys of a dealer's configuration"),
    ("auditor", "keys of an auditor's configuration"),
];

/// A key of a file, or a value that it may have.
struct Entry {
    path: String,
    kind: String,
    text: String,
}

/// Prints the help of a command or the keys of a file.
pub(super) fn run(topic: Option<&str>) -> Result<(), Failure> {
    let mut cli = Cli::command();
    cli.build();
    let Some(topic) = topic else {
        say!("{}", cli.render_long_help());
        TOPICS.iter().for_each(|(topic, about)| say!("symbolon help {topic:<10}{about}"));
        return Ok(());
    };
    let command = cli.find_subcommand_mut(topic);
    let keys = keys_of(topic);
    if command.is_none() && keys.is_empty() {
        let topics = TOPICS.map(|(topic, _)| topic).join(", ");
        return Err(Failure::Input(format!("help: {topic} is no command; other topics are {topics}")));
    }
    if let Some(command) = command {
        say!("{}", command.render_long_help());
    }
    if let Some((_, about)) = TOPICS.iter().find(|(name, _)| *name == topic) {
        say!("{}{}\n", about[..1].to_uppercase(), &about[1..]);
        keys.iter().for_each(print);
    }
    Ok(())
}

/// The keys of a topic; none for a topic that has none.
fn keys_of(topic: &str) -> Vec<Entry> {
    let config = |sections: &[&str]| {
        let mut entries = entries(config_schema().as_value());
        let section = |entry: &Entry| entry.path.split(['.', '[', ' ']).next().unwrap_or("").to_owned();
        entries.retain(|entry| sections.contains(&&*section(entry)) || sections.contains(&&*entry.path));
        entries
    };
    match topic {
        "job" => entries(job_schema().as_value()),
        "server" => config(&[&COMMON[..], &["policy", "intake", "storage", "models", "jobs", "serve"]].concat()),
        "policy" => config(&["policy"]),
        "gateway" => config(&[&COMMON[..], &["gateway"]].concat()),
        "dealer" | "auditor" => config(&[&COMMON[..], &LIMITS].concat()),
        _ => Vec::new(),
    }
}

fn print(entry: &Entry) {
    let kind = if entry.kind.is_empty() { String::new() } else { format!(" ({})", entry.kind) };
    say!("{}{kind}", entry.path);
    let mut line = String::from("   ");
    for word in entry.text.split_whitespace() {
        if line.len() + word.len() >= WIDTH {
            say!("{line}");
            line = String::from("   ");
        }
        line = line + " " + word;
    }
    say!("{line}");
}

/// All keys of a schema, each with what it takes.
fn entries(schema: &Value) -> Vec<Entry> {
    let mut entries = Vec::new();
    visit("", schema, schema, &mut entries);
    entries
}

/// The definition that `node` refers to, if it does.
fn resolved<'a>(node: &'a Value, root: &'a Value) -> &'a Value {
    let nullable = node.get("anyOf").and_then(Value::as_array).filter(|any| any.iter().any(is_null));
    if let Some(inner) = nullable.and_then(|any| any.iter().find(|one| !is_null(one))) {
        return resolved(inner, root);
    }
    let name = node.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
    name.and_then(|name| root.get("$defs")?.get(name)).unwrap_or(node)
}

fn is_null(node: &Value) -> bool {
    node.get("type").and_then(Value::as_str) == Some("null")
}

fn list<'a>(node: &'a Value, key: &str) -> &'a [Value] {
    node.get(key).and_then(Value::as_array).map_or(&[], |list| list)
}

fn text(node: &Value) -> &str {
    node.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// Appends the keys below `node`, which is at `path`.
fn visit(path: &str, node: &Value, root: &Value, entries: &mut Vec<Entry>) {
    let node = resolved(node, root);
    keys(path, node, root, entries, None);
    for variant in list(node, "oneOf") {
        let tagged = properties(variant).any(|(_, property)| property.get("const").is_some());
        keys(path, variant, root, entries, Some(text(variant)).filter(|_| !tagged));
        if let Some(name) = variant.get("const") {
            entries.push(Entry {
                path: format!("{path} = {name}"),
                kind: String::new(),
                text: text(variant).to_owned(),
            });
        }
    }
    for one in list(node, "anyOf") {
        visit(path, one, root, entries);
    }
    if let Some(items) = node.get("items") {
        visit(&format!("{path}[]"), items, root, entries);
    }
}

/// The properties of `node`; first the one that names a choice.
fn properties(node: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let all = node.get("properties").and_then(Value::as_object).into_iter().flatten();
    let (tags, others): (Vec<_>, Vec<_>) = all.partition(|(_, property)| property.get("const").is_some());
    tags.into_iter().chain(others)
}

/// Appends the properties of `node` and what is below them. `about` is the text of a choice that
/// has one key.
fn keys(path: &str, node: &Value, root: &Value, entries: &mut Vec<Entry>, about: Option<&str>) {
    for (key, property) in properties(node) {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if let Some(name) = property.get("const") {
            entries.push(Entry { path: format!("{path} = {name}"), kind: String::new(), text: text(node).to_owned() });
            continue;
        }
        let mut kind = kind(property, root);
        if about.is_none() && list(node, "required").iter().any(|name| name == key) {
            kind += ", needed";
        }
        match property.get("default").filter(|default| !default.is_null() && !default.is_object()) {
            Some(default) if *default != Value::Array(Vec::new()) => kind += &format!(", {default} if left out"),
            _ => {}
        }
        entries.push(Entry { path: path.clone(), kind, text: about.unwrap_or(text(property)).to_owned() });
        visit(&path, property, root, entries);
    }
}

/// The type of a value, in words.
fn kind(node: &Value, root: &Value) -> String {
    let node = resolved(node, root);
    let kind = match node.get("type") {
        Some(Value::Array(types)) => types.iter().find(|kind| *kind != "null").and_then(Value::as_str),
        kind => kind.and_then(Value::as_str),
    };
    match kind {
        Some("array") if node.get("prefixItems").is_some() => {
            let items: Vec<_> = list(node, "prefixItems").iter().map(|item| self::kind(item, root)).collect();
            format!("[{}]", items.join(", "))
        }
        Some("array") => {
            format!("list of {}", node.get("items").map_or(String::new(), |items| self::kind(items, root)))
        }
        Some("object") => "table".to_owned(),
        Some(kind) => kind.to_owned(),
        None if !list(node, "anyOf").is_empty() => {
            let any: Vec<_> = list(node, "anyOf").iter().map(|one| self::kind(one, root)).collect();
            any.join(" or ")
        }
        None => "choice".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undocumented(schema: &Value) -> Vec<String> {
        entries(schema).into_iter().filter(|entry| entry.text.is_empty()).map(|entry| entry.path).collect()
    }

    #[test]
    fn every_key_is_documented() {
        let none: [String; 0] = [];
        assert_eq!(undocumented(job_schema().as_value()), none);
        assert_eq!(undocumented(config_schema().as_value()), none);
    }

    #[test]
    fn help_lists_the_keys_of_each_file() {
        let has = |topic: &str, path: &str| keys_of(topic).iter().any(|entry| entry.path == path);
        for path in [
            "optimizer.learning_rate",
            "data.csv.on_missing",
            "data.reports.test_every",
            "data.scale.columns[].offset",
            "network.layers[].units",
            "network.layers[].input",
            "loss.kind = \"huber\"",
            "loss.delta",
            "numbers.prg = \"chacha20\"",
        ] {
            assert!(has("job", path), "{path}");
        }
        assert!(has("policy", "policy.smallest_batch") && !has("policy", "listen"));
        assert!(has("server", "intake.store") && has("server", "policy.jobs"));
        assert!(has("auditor", "policy.places") && !has("dealer", "policy.jobs"));
        assert!(has("gateway", "gateway.serial[].baud") && !has("gateway", "policy.jobs"));
        let topics = keys_of("gateway").into_iter().find(|entry| entry.path == "gateway.mqtt.prefix").unwrap();
        assert!(topics.text.contains("PREFIX/DEVICE/up") && topics.text.contains("PREFIX/DEVICE/down"));
    }
}
