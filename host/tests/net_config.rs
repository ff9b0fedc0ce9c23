//! Configuration files, certificates on disk, and what `init` writes.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use symbolon::net::{
    CertificateFault, Config, ConfigFault, DeployError, Deployment, Endpoint, Hosts, Identity, IdentityFiles,
    IdentityProblem, Jobs, Limits, Part, Policy, PolicyFiles, Reveal, Role, init, write_all,
};
use symbolon_core::metric::Kind;

const SERVERS: [Role; 2] = [Role::Server0, Role::Server1];

/// A directory of one test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("symbolon-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const GOOD: &str = r#"
role = "server0"
listen = "0.0.0.0:7100"

[peers]
server1 = "b.example:7101"
dealer = "[::1]:7102"

[tls]
certificate = "cert.pem"
key = "/elsewhere/key.pem"
ca = "../ca.pem"

[timeouts]
idle_ms = 5000

[policy]
jobs = "listed"
epsilon = 0.25
outputs_per_job = 7
ledger = "../ledger.redb"
reveals = ["accuracy", "model"]
require_alarm = true
places = 3
largest_memory_mib = 100
"#;

#[test]
fn a_configuration_is_read() {
    let config = Config::parse(GOOD, Path::new("there/server0.toml")).unwrap();
    assert_eq!((config.role, config.listen().unwrap()), (Role::Server0, "0.0.0.0:7100"));
    assert_eq!(
        (config.peer(Role::Server1).unwrap(), config.peer(Role::Dealer).unwrap()),
        ("b.example:7101", "[::1]:7102")
    );
    config.peer(Role::Client).unwrap_err();
    let files = IdentityFiles {
        certificate: "there/cert.pem".into(),
        key: "/elsewhere/key.pem".into(),
        ca: "there/../ca.pem".into(),
    };
    assert_eq!(config.tls, files);
    assert_eq!((config.timeouts.idle, config.timeouts.handshake), (Duration::from_secs(5), Duration::from_secs(10)));
    assert_eq!(config.policy.jobs, Some(Jobs::Listed));
    assert_eq!((config.policy.epsilon_milli, config.policy.outputs_per_job), (Some(250), 7));
    let files = PolicyFiles { allowed: "there/jobs.toml".into(), ledger: "there/../ledger.redb".into() };
    assert_eq!(config.policy_files, files);
    assert_eq!(config.policy.reveals, [Reveal::Metric(Kind::Accuracy), Reveal::Model]);
    assert_eq!(config.policy.limits, Limits { places: 3, largest_memory_bytes: 100 << 20 });
    assert!(config.policy.require_alarm && !Policy::default().require_alarm);
    assert_eq!(config.policy.smallest_batch, Policy::default().smallest_batch);
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        ("role = \"server0\"", "role = \"judge\"", "judge"),
        ("listen = \"0.0.0.0:7100\"", "", "listen: is missing"),
        ("listen = \"0.0.0.0:7100\"", "listen = \"7100\"", "listen: `7100` is not `host:port`"),
        ("listen = \"0.0.0.0:7100\"", "listen = \"a:70000\"", "listen: `a:70000`"),
        ("listen = \"0.0.0.0:7100\"", "listens = 1", "listens"),
        ("dealer = \"[::1]:7102\"", "", "peers.dealer: is missing"),
        ("dealer = \"[::1]:7102\"", "dealer = \"d\"", "peers: `d`"),
        ("dealer = \"[::1]:7102\"", "dealer = \"d:1\"\nserver0 = \"s:1\"", "peers.server0: is this role itself"),
        ("dealer = \"[::1]:7102\"", "dealer = \"d:1\"\nserver2 = \"s:1\"", "server2"),
        ("ca = \"../ca.pem\"", "", "missing field `ca`"),
        ("idle_ms = 5000", "idle_ms = 0", "timeouts.idle_ms: 0"),
        ("idle_ms = 5000", "idle_ms = 99999999999", "timeouts.idle_ms"),
        ("idle_ms = 5000", "idle_ms = -1", "idle_ms"),
        ("idle_ms = 5000", "idle = 1", "unknown field `idle`"),
        ("jobs = \"listed\"", "jobs = \"all\"", "unknown variant `all`"),
        ("epsilon = 0.25", "epsilon = 0", "policy.epsilon: is no epsilon"),
        ("epsilon = 0.25", "epsilon = 0.0005", "policy.epsilon: is no epsilon"),
        ("epsilon = 0.25", "epsilon = \"none\"", "policy.epsilon: is no epsilon"),
        ("epsilon = 0.25", "epsilon = nan", "policy.epsilon: is no epsilon"),
        ("epsilon = 0.25", "epsilon = [1]", "a number or \"off\""),
        ("\"accuracy\"", "\"data\"", "data"),
        ("places = 3", "places = 0", "policy.places: 0"),
    ];
    for (good, bad, named) in cases {
        let text = GOOD.replace(good, bad);
        assert_ne!(text, GOOD);
        let error = Config::parse(&text, Path::new("s.toml")).unwrap_err().to_string();
        assert!(error.starts_with("s.toml: ") && error.contains(named), "{bad}: {error}");
    }
    let error = Config::parse("role = ", Path::new("s.toml")).unwrap_err().to_string();
    assert!(error.contains("line 1"), "{error}");
    let dealer = GOOD.replace("role = \"server0\"", "role = \"dealer\"").replace("dealer = \"[", "client = \"[");
    let error = Config::parse(&dealer, Path::new("d.toml")).unwrap_err();
    assert!(matches!(error.fault, ConfigFault::Policy(Role::Dealer)), "{error}");
    let (head, rules) = dealer.split_once("[policy]\n").unwrap();
    let limits: Vec<_> = rules.lines().filter(|line| line.starts_with("places") || line.contains("memory")).collect();
    let config = Config::parse(&format!("{head}[policy]\n{}", limits.join("\n")), Path::new("d.toml")).unwrap();
    assert_eq!(config.policy.limits, Limits { places: 3, largest_memory_bytes: 100 << 20 });
}

#[test]
fn an_intake_has_a_default_quota() {
    let parse = |text: &str| Config::parse(&format!("{GOOD}\n[intake]\n{text}"), Path::new("s.toml"));
    let quota = |text| parse(text).unwrap().intake.unwrap().reports_per_hour.get();
    assert_eq!((quota(""), quota("reports_per_hour = 7")), (360_000, 7));
    assert!(parse("reports_per_hour = 0").is_err());
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("nowhere/server0.toml"), &SERVERS).unwrap_err();
    assert!(matches!(error.fault, ConfigFault::Read(_)));
    assert!(error.to_string().starts_with("nowhere/server0.toml: "), "{error}");
}

#[test]
fn init_writes_configurations_that_load() {
    let scratch = Scratch::new("init");
    let hosts = Hosts::named("a.example", "192.0.2.7", "2001:db8::1");
    let commands = init(&scratch.0, &hosts, 30).unwrap();
    assert!(commands.iter().any(|line| line.contains("symbolon dealer --config")), "{commands:?}");
    assert!(commands.last().unwrap().starts_with("symbolon train "), "{commands:?}");
    for role in hosts.roles() {
        let file = scratch.0.join(role.name()).join(format!("{role}.toml"));
        let config = Config::load(&file, &[role]).unwrap();
        assert_eq!(config.role, role);
        assert_eq!(config.identity().unwrap().role(), role);
        if role != Role::Client && role != Role::Gateway {
            let listen = config.listen().unwrap();
            assert!(listen.starts_with("0.0.0.0:") || listen.starts_with("[::]:"), "{listen}");
        }
        if role.is_server() {
            assert_eq!(config.peer(Role::Dealer).unwrap(), "[2001:db8::1]:7102");
            assert_eq!(
                config.policy.reveals,
                [Reveal::Metric(Kind::Accuracy), Reveal::Loss, Reveal::Model, Reveal::Predictions]
            );
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&config.tls.key).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
    // No key of the authority, nor a second deployment over the first.
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), Role::ALL.len() - 1, "all but an auditor");
    for role in hosts.roles() {
        assert_eq!(fs::read_dir(scratch.0.join(role.name())).unwrap().count(), 4);
    }
    let error = init(&scratch.0, &hosts, 30).unwrap_err();
    assert!(matches!(error, DeployError::Exists(_)), "{error}");

    let file = scratch.0.join("dealer/dealer.toml");
    let error = Config::load(&file, &SERVERS).unwrap_err();
    assert!(error.to_string().ends_with("role: is `dealer`, but this command is for server0 or server1"), "{error}");
}

#[test]
fn an_auditor_is_written_where_there_is_one() {
    let scratch = Scratch::new("audited");
    let hosts = Hosts::named("a.example", "b.example", "c.example").with_auditor("d.example").unwrap();
    let commands = init(&scratch.0, &hosts, 30).unwrap();
    for command in ["scp -r ", "ssh d.example symbolon auditor --config auditor/auditor.toml"] {
        assert!(commands.iter().any(|line| line.contains(command) && line.contains("auditor")), "{commands:?}");
    }
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), Role::ALL.len());
    for role in Role::ALL {
        let config = Config::load(&scratch.0.join(role.name()).join(format!("{role}.toml")), &[role]).unwrap();
        assert_eq!(config.identity().unwrap().role(), role);
        match config.peer(Role::Auditor) {
            Ok(address) => assert!(role.is_server() && address == "d.example:7104", "{role}: {address}"),
            Err(_) => assert!(!role.is_server(), "{role} does not know the auditor"),
        }
        if role == Role::Auditor {
            assert_eq!((config.listen().unwrap(), config.policy.limits.places), ("0.0.0.0:7104", 2));
        }
    }
    let error = Hosts::default().with_auditor("d e").unwrap_err();
    assert!(matches!(error, DeployError::Host(Role::Auditor)), "{error}");
    let text = fs::read_to_string(scratch.0.join("auditor/auditor.toml")).unwrap();
    let text = text.replace("places = 2", "places = 2\nsmallest_batch = 1");
    let error = Config::parse(&text, Path::new("a.toml")).unwrap_err();
    assert!(matches!(error.fault, ConfigFault::Policy(Role::Auditor)), "{error}");
}

#[test]
fn local_deployments_stay_on_loopback() {
    let scratch = Scratch::new("local");
    let commands = init(&scratch.0, &Hosts::default(), 1).unwrap();
    assert_eq!(commands.len(), 6, "{commands:?}");
    let lines = Config::load(&scratch.0.join("gateway/gateway.toml"), &[Role::Gateway]).unwrap().lines.unwrap();
    assert_eq!((lines.tcp.as_deref(), lines.buffer_bytes), (Some("127.0.0.1:7103"), 256 << 20));
    assert_eq!(lines.buffer, scratch.0.join("gateway/buffer"));
    let config = Config::load(&scratch.0.join("server1/server1.toml"), &SERVERS).unwrap();
    assert_eq!(config.listen().unwrap(), "127.0.0.1:7101");
}

#[test]
fn hosts_that_blur_roles_are_refused() {
    let generate = |hosts: &Hosts| Deployment::generate(hosts, SystemTime::now(), 1).err();
    // A container network may call the host as its role.
    assert!(generate(&Hosts::named("server0", "server1", "dealer")).is_none());
    let error = generate(&Hosts::named("server0", "b", "Client")).unwrap();
    assert!(matches!(error, DeployError::HostIsRole { role: Role::Dealer, .. }), "{error}");
    let error = generate(&Hosts::named("häuslich", "b", "c")).unwrap();
    assert!(matches!(error, DeployError::Host(Role::Server0)), "{error}");
    assert_eq!(Endpoint::new("::1", 5).to_string(), "[::1]:5");
}

#[test]
fn hosts_have_ports_if_they_say_so() {
    let at = |text| Endpoint::parse(text, 7).map(|endpoint| (endpoint.host, endpoint.port));
    for (text, host, port) in [
        ("a.example", "a.example", 7),
        ("a.example:8000", "a.example", 8000),
        ("192.0.2.7:1", "192.0.2.7", 1),
        ("::1", "::1", 7),
        ("[::1]:9", "::1", 9),
    ] {
        assert_eq!(at(text), Some((host.to_owned(), port)), "{text}");
    }
    for text in
        ["", ":1", "a b", "a:", "a:x", "a:0", "a:70000", "a/b", "-a", "a..b", "[a]:1", "[::1", "http://a", "häuslich"]
    {
        assert_eq!(at(text), None, "{text}");
    }
    let error = Hosts::parse("a", "b c", "d").unwrap_err();
    assert!(matches!(error, DeployError::Host(Role::Server1)), "{error}");
}

const GATEWAY: &str = r#"
role = "gateway"
[peers]
server0 = "a.example:7100"
server1 = "b.example:7101"
[tls]
certificate = "cert.pem"
key = "key.pem"
ca = "ca.pem"
[gateway]
serial = [{ path = "/dev/ttyUSB0" }]
mqtt = { url = "mqtt://[::1]:1884/", prefix = "plant/reports", user = "g", password_file = "word" }
buffer_mib = 2
"#;

#[test]
fn a_gateway_has_lines() {
    let parse = |text: &str| Config::parse(text, Path::new("there/gateway.toml"));
    let lines = parse(GATEWAY).unwrap().lines.unwrap();
    assert_eq!((lines.tcp, lines.serial[0].baud, lines.buffer_bytes), (None, 115_200, 2 << 20));
    let broker = lines.mqtt.unwrap();
    assert_eq!((broker.host.as_str(), broker.port, broker.prefix.as_str()), ("::1", 1884, "plant/reports"));
    assert_eq!(broker.login, Some(("g".to_owned(), PathBuf::from("there/word"))));
    let cases = [
        ("[gateway]", "[gateway]\ntcp = \"7103\"", "gateway.tcp: `7103`"),
        ("[gateway]", "[gateway]\nconnections = 0", "gateway.connections: 0"),
        ("buffer_mib = 2", "buffer_mib = 0", "gateway.buffer_mib: 0"),
        ("path = \"/dev/ttyUSB0\"", "path = \"p\", baud = 0", "gateway.serial.baud: 0"),
        ("mqtt://[", "mqtts://[", "gateway.mqtt.url"),
        ("1884", "x", "gateway.mqtt.url"),
        ("plant/reports", "plant/#", "gateway.mqtt.prefix"),
        ("user = \"g\", ", "", "gateway.mqtt.password_file"),
        ("server0 = \"a.example:7100\"", "", "peers.server0: is missing"),
    ];
    for (good, bad, named) in cases {
        let text = GATEWAY.replace(good, bad);
        assert_ne!(text, GATEWAY);
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(named), "{bad}: {error}");
    }
    let (head, _) = GATEWAY.split_once("[gateway]").unwrap();
    let error = parse(head).unwrap_err();
    assert!(matches!(error.fault, ConfigFault::NoLine), "{error}");
    let error = parse(&format!("{GOOD}\n[gateway]\ntcp = \"a:1\"\n")).unwrap_err();
    assert!(matches!(error.fault, ConfigFault::Lines(Role::Server0)), "{error}");
}

#[test]
fn identities_say_what_is_wrong_with_which_file() {
    let scratch = Scratch::new("identity");
    let now = SystemTime::now();
    let made =
        |days: u64| Deployment::generate(&Hosts::default(), now - Duration::from_secs(days * 86_400), 2).unwrap();
    let (ours, theirs, old) = (made(1), made(1), made(9));
    write_all(&ours, &scratch.0, &Hosts::default()).unwrap();
    let folder = scratch.0.join("server0");
    let files =
        IdentityFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem"), ca: folder.join("ca.pem") };
    assert_eq!(Identity::load(&files).unwrap().role(), Role::Server0);

    let check = |part: Part, content: &str, expected: fn(&IdentityProblem) -> bool, told: &str| {
        let path = match part {
            Part::Certificate => &files.certificate,
            Part::Key => &files.key,
            Part::Ca => &files.ca,
        };
        let good = fs::read(path).unwrap();
        fs::write(path, content).unwrap();
        let error = Identity::load(&files).unwrap_err();
        fs::write(path, good).unwrap();
        assert!(expected(&error.problem), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(&error.file.unwrap().display().to_string()) && text.contains(told), "{text}");
    };
    let cert = |deployment: &Deployment, role| deployment.credentials(role).certificate.clone();
    use CertificateFault::{Expired, NoRole, UnknownCa};
    use IdentityProblem::{Certificate, Empty, Key, Pem};
    check(Part::Certificate, "", |problem| matches!(problem, Empty), "holds no certificate");
    check(Part::Key, "", |problem| matches!(problem, Empty), "holds no private key");
    check(Part::Ca, "nothing", |problem| matches!(problem, Empty), "holds no authority's certificate");
    let cut = cert(&ours, Role::Server0).replace("-----END CERTIFICATE-----", "");
    check(Part::Certificate, &cut, |problem| matches!(problem, Pem(_)), "not valid PEM");
    let other = cert(&ours, Role::Server1);
    check(Part::Certificate, &other, |problem| matches!(problem, Key(_)), "does not fit");
    check(Part::Certificate, ours.ca(), |problem| matches!(problem, Certificate(NoRole)), "names no role");
    check(Part::Ca, theirs.ca(), |problem| matches!(problem, Certificate(UnknownCa)), "another authority");
    let replace_all = |deployment: &Deployment| {
        fs::write(&files.certificate, cert(deployment, Role::Dealer)).unwrap();
        fs::write(&files.key, deployment.credentials(Role::Dealer).key.as_bytes()).unwrap();
        fs::write(&files.ca, deployment.ca()).unwrap();
        Identity::load(&files)
    };
    assert_eq!(replace_all(&theirs).unwrap().role(), Role::Dealer);
    let error = replace_all(&old).unwrap_err();
    assert!(matches!(error.problem, Certificate(Expired { .. })), "{error}");

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        replace_all(&theirs).unwrap();
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Identity::load(&files).unwrap_err();
        assert!(matches!((error.part, &error.problem), (Part::Key, IdentityProblem::Exposed)), "{error}");
    }
    fs::remove_file(&files.key).unwrap();
    let error = Identity::load(&files).unwrap_err();
    assert!(matches!((error.part, &error.problem), (Part::Key, IdentityProblem::Read(_))), "{error}");

    // A configuration notices that it points at another role's certificate.
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir_all(&folder).unwrap();
    let config = fs::read_to_string(scratch.0.join("server1/server1.toml")).unwrap();
    let config =
        config.replace("\"cert.pem\"", "\"../dealer/cert.pem\"").replace("\"key.pem\"", "\"../dealer/key.pem\"");
    let config = Config::parse(&config, &scratch.0.join("server1/server1.toml")).unwrap();
    let error = config.identity().unwrap_err();
    assert!(matches!(error.fault, ConfigFault::OtherRole { certificate: Role::Dealer, .. }), "{error}");
}
