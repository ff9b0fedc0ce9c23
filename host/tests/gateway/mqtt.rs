//! Through a real broker.

use super::harness::*;
use rumqttc::v5::{
    Client, Connection, Event, Incoming, MqttOptions,
    mqttbytes::{QoS, v5::Publish},
};
use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use symbolon::gateway::news::News;
use symbolon_core::report::{
    frame::Frame,
    header::{DeviceId, ReportId},
};

struct Broker(Child);

impl Broker {
    fn start(dir: &Path, port: u16) -> Option<Self> {
        let config = dir.join("mosquitto.conf");
        let password = dir.join("users");
        fs::write(&password, "gateway:word\ndevice:word\n").unwrap();
        let hashed = Command::new("mosquitto_passwd").arg("-U").arg(&password).status();
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\nuser root\n",
            password.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("mosquitto");
        let child = command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        match (hashed, child) {
            (Ok(_), Ok(child)) => Some(Self(child)),
            (hashed, child) => {
                assert!(std::env::var("CI").is_err(), "no mosquitto: {hashed:?}, {child:?}");
                println!("skipped: the package `mosquitto` is not installed");
                None
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A device's client, connected and subscribed to its answers.
fn client(port: u16, device: u64) -> (Client, Connection) {
    let mut options = MqttOptions::new(format!("device-{device}"), "127.0.0.1", port);
    options.set_credentials("device", "word");
    let (client, mut connection) = Client::new(options, 64);
    client.subscribe(format!("symbolon/{}/down", DeviceId(device)), QoS::AtLeastOnce).unwrap();
    wait(&mut connection, "subscribed", |event| matches!(event, Incoming::SubAck(_)).then_some(()));
    (client, connection)
}

fn wait<T>(connection: &mut Connection, what: &str, wanted: impl Fn(&Incoming) -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "never: {what}");
        match connection.recv_timeout(Duration::from_millis(200)) {
            Ok(Ok(Event::Incoming(event))) => {
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
            Ok(Err(_)) => thread::sleep(Duration::from_millis(100)),
            _ => {}
        }
    }
}

fn answer(connection: &mut Connection) -> (u8, u64, u32) {
    wait(connection, "an answer", |event| match event {
        Incoming::Publish(Publish { payload, .. }) => match Frame::decode(payload) {
            Ok(Frame::Ack(ack)) => Some((ack.server, ack.device, ack.from)),
            _ => None,
        },
        _ => None,
    })
}

#[test]
fn devices_behind_a_broker_are_served_and_a_broker_may_go_and_come() {
    let world = World::new("mqtt");
    let port = free_port();
    let Some(broker) = Broker::start(&world.scratch.0, port) else { return };
    let word = world.scratch.0.join("word");
    fs::write(&word, "word\n").unwrap();
    #[cfg(unix)]
    fs::set_permissions(&word, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let section =
        format!("mqtt = {{ url = \"mqtt://127.0.0.1:{port}\", user = \"gateway\", password_file = \"word\" }}");
    let gateway = world.gateway(&section);
    gateway.says("broker there", |news| matches!(news, News::BrokerHere));
    thread::sleep(Duration::from_millis(500)); // subscribes

    let (device, mut answers) = client(port, 0xab);
    let frame = |device, sequence| {
        frame_of(ReportId { device: DeviceId(device), boot: 1, sequence }, &[5; 64], &mut Vec::new())
    };
    let up = |device: u64| format!("symbolon/{}/up", DeviceId(device));
    for sequence in 0..20 {
        device.publish(up(0xab), QoS::AtLeastOnce, false, frame(0xab, sequence)).unwrap();
        let mut both = [answer(&mut answers), answer(&mut answers)];
        both.sort_unstable();
        assert_eq!(both, [(0, 0xab, sequence), (1, 0xab, sequence)]);
    }
    // What is no frame, and what another device's topic says.
    device.publish(up(0xab), QoS::AtLeastOnce, false, vec![1, 2, 3]).unwrap();
    device.publish(up(0xab), QoS::AtLeastOnce, false, vec![1; 8000]).unwrap();
    device.publish(up(0xab), QoS::AtLeastOnce, false, frame(0xcd, 1)).unwrap();
    device.publish("symbolon/what/up", QoS::AtLeastOnce, false, frame(0xab, 1)).unwrap();
    device.publish(up(0xab), QoS::AtLeastOnce, false, frame(0xab, 50)).unwrap();
    assert_eq!((answer(&mut answers).2, answer(&mut answers).2), (50, 50));

    drop((device, answers));
    gateway.hush();
    drop(broker);
    gateway.says("broker away", |news| matches!(news, News::BrokerAway(_)));
    let Some(_broker) = Broker::start(&world.scratch.0, port) else { return };
    gateway.says("broker back", |news| matches!(news, News::BrokerHere));
    thread::sleep(Duration::from_millis(500));
    let (device, mut answers) = client(port, 0xab);
    device.publish(up(0xab), QoS::AtLeastOnce, false, frame(0xab, 51)).unwrap();
    assert_eq!((answer(&mut answers).2, answer(&mut answers).2), (51, 51));
    let status = gateway.stop();
    assert_eq!((status.frames, status.damaged), (22, 4), "{status}");
}
