//! Devices behind an MQTT 5 broker: a frame a message, without COBS, QoS 1.
//!
//! Devices publish at `PREFIX/DEVICE/up` and hear answers at `PREFIX/DEVICE/down`. A frame that names another device than its topic is refused, so that the broker's rules of who may
//! publish where hold here too. Sessions are not kept: devices send again what was not answered.

use super::{
    Shared,
    ingress::{Ingress, MAX_FRAME_BYTES},
    news::{News, count},
    pool::Source,
    routes::Answer,
};
use crate::{intake::wire::MAX_PARTS, net::Broker};
use rumqttc::v5::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions,
    mqttbytes::{QoS, v5::Publish},
};
use std::{sync::Arc, time::Duration};
use symbolon_core::report::{
    frame::{Damage, Frame},
    header::DeviceId,
};
use tokio::sync::mpsc::Receiver;

const KEEP_ALIVE: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_secs(1);
/// Answers that wait: a fleet's.
const WAITING_ANSWERS: usize = 2 * MAX_PARTS;
/// Requests to the broker that wait.
const REQUESTS: usize = 256;

/// Serves the broker for ever.
pub(super) async fn serve(broker: Broker, password: Option<String>, name: String, shared: Arc<Shared>) {
    let mut options = MqttOptions::new(name, broker.host, broker.port);
    options.set_keep_alive(KEEP_ALIVE).set_clean_start(true);
    if let (Some((user, _)), Some(password)) = (broker.login, password) {
        options.set_credentials(user, password);
    }
    let (client, events) = AsyncClient::new(options, REQUESTS);
    let (ingress, answers) = Ingress::open(&shared, Source::Broker, WAITING_ANSWERS);
    tokio::join!(
        read(events, client.clone(), ingress, &broker.prefix, &shared),
        write(client, answers, &broker.prefix)
    );
}

async fn read(mut events: EventLoop, client: AsyncClient, ingress: Ingress, prefix: &str, shared: &Shared) {
    let mut told = false;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                (shared.tell)(News::BrokerHere);
                told = false;
                let (client, topic) = (client.clone(), format!("{prefix}/+/up"));
                // Waits for room among the requests, which this loop makes.
                tokio::spawn(async move { client.subscribe(topic, QoS::AtLeastOnce).await });
            }
            Ok(Event::Incoming(Incoming::Publish(message))) => {
                take(&ingress, &message, prefix, shared);
                ingress.yield_to_servers().await;
            }
            Ok(_) => {}
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    (shared.tell)(News::BrokerAway(Box::new(error)));
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

fn take(ingress: &Ingress, message: &Publish, prefix: &str, shared: &Shared) {
    let Some(device) = device(&message.topic, prefix) else {
        count(&shared.counters.damaged, 1);
        return;
    };
    let fits = message.payload.len() <= MAX_FRAME_BYTES;
    let frame = if fits { Frame::decode(&message.payload) } else { Err(Damage::Long) };
    ingress.take(frame, Some(device));
}

/// The device that a topic names.
fn device(topic: &[u8], prefix: &str) -> Option<DeviceId> {
    let name = topic.strip_prefix(prefix.as_bytes())?.strip_prefix(b"/")?.strip_suffix(b"/up")?;
    let is_hex = name.len() == 16 && name.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(name).ok().filter(|_| is_hex)?;
    u64::from_str_radix(digits, 16).ok().map(DeviceId)
}

async fn write(client: AsyncClient, mut answers: Receiver<Answer>, prefix: &str) {
    while let Some(Answer { device, frame }) = answers.recv().await {
        let topic = format!("{prefix}/{device}/down");
        if client.publish(topic, QoS::AtLeastOnce, false, frame).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_name_devices() {
        let at = |topic: &str| device(topic.as_bytes(), "a/b").map(|device| device.0);
        assert_eq!(at("a/b/00000000000000fF/up"), Some(255));
        for topic in
            ["a/b/ff/up", "a/b/00000000000000ff/down", "a/00000000000000ff/up", "a/b/+0000000000000ff/up", "", "a/b"]
        {
            assert_eq!(at(topic), None, "{topic}");
        }
    }
}
