//! Certificates that do not do: each end says whose, why, and what to do.

use super::{alone, assert_useful, folder, train};
use symbolon::net::{Deployment, Hosts, Role};
use symbolon_tests::{
    dir::TempDir,
    jobs::Shape,
    program::{Process, assert_fails, run, symbolon},
    roles::{ANYTHING, CALM, HASTY, Roles, at, deployment, expired, write},
};

/// A client's configuration with the certificates of `deployment` and, perhaps, another authority to trust.
fn client_of(
    dir: &TempDir,
    deployment: &Deployment,
    trusted: Option<&Deployment>,
    hosts: &Hosts,
) -> std::path::PathBuf {
    let config = write(dir, deployment, hosts, Role::Client, &CALM, "");
    if let Some(trusted) = trusted {
        std::fs::write(config.with_file_name("ca.pem"), trusted.ca()).unwrap();
    }
    config
}

#[test]
fn of_another_authority() {
    let _alone = alone();
    let (mut roles, dir, job) = (Roles::start(CALM, ANYTHING), TempDir::new(), folder(&Shape::default()));
    let stranger = client_of(&dir, &deployment(), None, &roles.hosts);
    let output = train(&job, &stranger, &[]);
    assert_fails(&output, 3, &["server0 (127.0.0.1:", "certificate is from another authority", "symbolon init"]);
    roles.server0.says(&["an unknown peer (127.0.0.1:", "certificate is not from its deployment", "symbolon init"]);
    assert_useful(&mut roles);
}

#[test]
fn of_a_stranger_who_trusts_us() {
    let _alone = alone();
    let (mut roles, dir, job) = (Roles::start(CALM, ANYTHING), TempDir::new(), folder(&Shape::default()));
    let stranger = client_of(&dir, &deployment(), Some(&roles.deployment), &roles.hosts);
    let output = train(&job, &stranger, &[]);
    // It is found before anybody is asked.
    assert_fails(&output, 2, &["client.toml", "authority"]);
    assert_useful(&mut roles);
}

#[test]
fn expired_ones() {
    let _alone = alone();
    let (dir, job) = (TempDir::new(), folder(&Shape::default()));
    let hosts = Hosts { server0: at(1), server1: at(1), dealer: at(1), auditor: None };
    let old = expired();
    let output = train(&job, &client_of(&dir, &old, None, &hosts), &[]);
    assert_fails(&output, 2, &["client.toml", "expired 9 days", "issue new ones"]);
    for (role, command) in [(Role::Server0, "server"), (Role::Dealer, "dealer")] {
        let config = write(&dir, &old, &hosts, role, &CALM, ANYTHING);
        let output = run(symbolon([command, "--config"]).arg(config));
        assert_fails(&output, 2, &[&format!("{role}.toml"), "expired 9 days", "issue new ones"]);
    }
}

#[test]
fn of_another_role() {
    let _alone = alone();
    let (mut roles, dir, job) = (Roles::start(CALM, ANYTHING), TempDir::new(), folder(&Shape::default()));
    // The servers' addresses, exchanged.
    let crossed =
        Hosts { server0: roles.hosts.server1.clone(), server1: roles.hosts.server0.clone(), ..roles.hosts.clone() };
    let output = train(&job, &client_of(&dir, &roles.deployment, None, &crossed), &[]);
    assert_fails(&output, 3, &["server0 (127.0.0.1:", "not that of server0 but of server1", "correct the address"]);
    // The dealer takes no clients.
    let mut hosts = roles.hosts.clone();
    hosts.server0 = hosts.dealer.clone();
    let dir = TempDir::new();
    let output = train(&job, &client_of(&dir, &roles.deployment, None, &hosts), &[]);
    assert_fails(&output, 3, &["server0 (127.0.0.1:", "not that of server0 but of dealer"]);
    // A file says one role, its certificate another.
    let config = write(&dir, &roles.deployment, &hosts, Role::Server0, &CALM, ANYTHING);
    let other = write(&dir, &roles.deployment, &hosts, Role::Server1, &CALM, ANYTHING);
    for name in ["cert.pem", "key.pem"] {
        std::fs::copy(other.with_file_name(name), config.with_file_name(name)).unwrap();
    }
    let output = run(symbolon(["server", "--config"]).arg(&config));
    assert_fails(&output, 2, &["server0.toml", "is that of server1, but role is server0"]);
    assert_useful(&mut roles);
}

#[test]
fn at_a_server_that_no_other_role_trusts() {
    let _alone = alone();
    let (roles, dir, job) = (Roles::start(HASTY, ANYTHING), TempDir::new(), folder(&Shape::default()));
    // Server 1 of another deployment: the client of that deployment reaches it, nobody else does.
    let other = deployment();
    let mixed = TempDir::new();
    let free = Hosts { server1: at(0), ..roles.hosts.clone() };
    let config = write(&mixed, &other, &free, Role::Server1, &HASTY, ANYTHING);
    let server1 = Process::start("server", &config);
    let hosts = Hosts { server1: at(server1.port), ..roles.hosts.clone() };
    let output = train(&job, &client_of(&dir, &roles.deployment, None, &hosts), &[]);
    assert_fails(&output, 3, &["server1 (127.0.0.1:", "certificate is from another authority"]);
    server1.says(&["symbolon init"]);
}
