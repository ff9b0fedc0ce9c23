use crate::harness::{World, mixed, rng, world};
use proptest::prelude::*;
use symbolon_core::report::{
    Reason,
    frame::{DELIMITER, Damage, Decoder, Frame, Part, Refuse},
    header::Header,
    identity::{Identity, IdentityError},
    node::{Event, Node, SubmitError},
    outbox::{Pace, WhenFull},
    record::join,
    session::{Receiver, SealError},
};

type Device = Node<4, 400>;
const PACE: Pace = Pace { first_ms: 100, longest_ms: 1000 };

fn device(world: &World, boot: u32, when_full: WhenFull) -> Device {
    Node::new(&world.identity, boot, when_full, PACE, &mut rng(boot as u8 + 10)).unwrap()
}

fn record(world: &World, fill: u8) -> Vec<u8> {
    let layout = world.identity.layout;
    let mut record = vec![fill; layout.record_bytes()];
    let [.., labels, bits] = layout.regions();
    record[labels.start] &= 7;
    record[bits.end - 1] &= 7;
    record
}

/// Both servers' starts of a device.
fn starts(world: &World, node: &mut Device) -> [Receiver; 2] {
    world.accept(&node.poll(0).unwrap())
}

/// The same, and both have answered.
fn confirmed(world: &World, node: &mut Device) -> [Receiver; 2] {
    let servers = starts(world, node);
    for server in &servers {
        node.receive(0, Ok(Frame::Ack(server.ack(1, 0))));
    }
    servers
}

/// What both servers make of a report.
fn open(world: &World, servers: &[Receiver; 2], frame: &Frame<'_>) -> Result<(Header, Vec<u8>), Reason> {
    let layout = &world.identity.layout;
    let mut shares = [vec![0; layout.record_bytes()], vec![0; layout.record_bytes()]];
    let parts = frame.parts().unwrap();
    let mut headers = [None; 2];
    for i in 0..2 {
        headers[i] = Some(servers[i].open(layout, &parts[i], &mut shares[i])?);
    }
    assert_eq!(headers[0], headers[1]);
    let [mut ours, theirs] = shares;
    join(layout, &mut ours, &theirs);
    Ok((headers[0].unwrap(), ours))
}

#[test]
fn a_record_reaches_both_servers_and_leaves_the_outbox_when_both_hold_it() {
    let world = world(&mixed());
    let mut node = device(&world, 1, WhenFull::RefuseNew);
    let servers = starts(&world, &mut node);
    let wanted = record(&world, 0x5b);
    assert_eq!(node.submit(5, 5, None, &mut wanted.clone()), Ok(1));
    let frame = node.poll(5).unwrap();
    let (header, got) = open(&world, &servers, &frame).unwrap();
    assert_eq!((got, header.id.sequence, header.time_ms, header.dropped), (wanted, 1, 5, 0));
    assert_eq!(node.receive(6, Ok(Frame::Ack(servers[0].ack(1, 1)))), Event::Nothing);
    assert_eq!(node.status().waiting, 1);
    assert!(!node.is_confirmed());
    assert_eq!(node.receive(7, Ok(Frame::Ack(servers[1].ack(0, 0b10)))), Event::Stored { from: 0, bits: 0b10 });
    assert!(node.is_confirmed() && node.status().waiting == 0 && node.status().acknowledged == 1);
    assert_eq!(node.receive(8, Ok(Frame::Ack(servers[1].ack(0, 0b10)))), Event::Nothing);
    assert_eq!((node.next_due_ms(), node.status().acknowledged), (None, 1));
}

#[test]
fn a_report_is_the_same_each_time_and_its_pause_doubles() {
    let world = world(&mixed());
    let mut node = device(&world, 1, WhenFull::RefuseNew);
    confirmed(&world, &mut node);
    node.submit(0, 0, None, &mut record(&world, 1)).unwrap();
    let encode = |frame: Frame<'_>| frame.encode(&mut [0; 1000]).unwrap().to_vec();
    let first = encode(node.poll(0).unwrap());
    let (mut now, mut pauses) = (0, Vec::new());
    for _ in 0..6 {
        assert!(node.poll(now).is_none());
        let due = node.next_due_ms().unwrap();
        pauses.push(due - now);
        now = due;
        assert_eq!(encode(node.poll(now).unwrap()), first);
    }
    for (pause, wanted) in pauses.iter().zip([100u64, 200, 400, 800, 1000, 1000]) {
        assert!((wanted * 3 / 4..=wanted * 5 / 4).contains(pause), "{pauses:?}");
    }
}

#[test]
fn a_full_outbox_does_as_the_firmware_chose_and_counts() {
    let world = world(&mixed());
    let mut node = device(&world, 1, WhenFull::RefuseNew);
    let submit = |node: &mut Device| node.submit(0, 0, None, &mut record(&world, 1));
    assert_eq!([(); 5].map(|()| submit(&mut node)), [Ok(1), Ok(2), Ok(3), Ok(4), Err(SubmitError::Full)]);
    assert_eq!((node.status().dropped, node.status().waiting), (1, 4));

    let mut node = device(&world, 2, WhenFull::DropOldest);
    let servers = starts(&world, &mut node);
    assert_eq!([(); 6].map(|()| submit(&mut node)), [1, 2, 3, 4, 5, 6].map(Ok));
    let mut seen = Vec::new();
    while let Some(frame) = node.poll(1) {
        let (header, _) = open(&world, &servers, &frame).unwrap();
        seen.push((header.id.sequence, header.dropped));
    }
    assert_eq!(seen, [(3, 0), (4, 0), (5, 1), (6, 2)]);
}

#[test]
fn answers_of_nobody_change_nothing() {
    let world = world(&mixed());
    let mut node = device(&world, 1, WhenFull::RefuseNew);
    let servers = starts(&world, &mut node);
    let others = starts(&world, &mut device(&world, 2, WhenFull::RefuseNew));
    node.submit(0, 0, None, &mut record(&world, 1)).unwrap();
    let good = servers[0].ack(1, 1);
    let mut bad = [good; 6];
    bad[0].server = 1;
    bad[1].held = 3;
    bad[2].tag[15] ^= 1;
    bad[3].boot = 2;
    bad[4].from = 0;
    bad[5] = others[0].ack(1, 1);
    for ack in bad {
        assert_eq!(node.receive(1, Ok(Frame::Ack(ack))), Event::Nothing);
    }
    assert_eq!((node.status().waiting, node.status().forged), (1, 4));
    // A refusal that nobody vouches for keeps the report; a server's own frees it.
    let mut no = servers[1].refuse(1, Reason::Length);
    no.tag[0] ^= 1;
    assert_eq!(node.receive(1, Ok(Frame::Refuse(no))), Event::Later { reason: Reason::Length });
    assert_eq!(node.status().waiting, 1);
    let no = servers[1].refuse(1, Reason::Length);
    assert_eq!(node.receive(1, Ok(Frame::Refuse(no))), Event::Refused { sequence: 1, reason: Reason::Length });
    assert_eq!((node.status().waiting, node.status().refused), (0, 1));
}

#[test]
fn a_server_that_missed_the_start_gets_it_again() {
    let world = world(&mixed());
    let mut node = device(&world, 1, WhenFull::RefuseNew);
    let servers = confirmed(&world, &mut node);
    node.submit(0, 0, None, &mut record(&world, 1)).unwrap();
    assert!(matches!(node.poll(0), Some(Frame::Report { .. })));
    let hint = servers[1].refuse(1, Reason::NoSession);
    assert_eq!(node.receive(10, Ok(Frame::Refuse(hint))), Event::Later { reason: Reason::NoSession });
    let due = node.next_due_ms().unwrap();
    assert!(due <= 60);
    let again = world.accept(&node.poll(60).unwrap());
    assert!(matches!(node.poll(200), Some(Frame::Report { .. })));
    assert_eq!(again[0].ack(1, 1), servers[0].ack(1, 1), "the same session");
}

#[test]
fn what_is_changed_or_misdirected_is_refused() {
    let world = world(&mixed());
    let mut node = device(&world, 1, WhenFull::RefuseNew);
    let start = node.poll(0).unwrap();
    let [part0, part1] = start.parts().unwrap();
    let refused = |i, part: &Part<'_>| world.accept_at(i, part).err();
    assert_eq!(refused(0, &part1), Some(Reason::OtherServer));
    let Part::Start { header, enc, tag, .. } = part1 else { unreachable!() };
    // The other server's part under this server's name.
    assert_eq!(refused(0, &Part::Start { server: 0, header, enc, tag }), Some(Reason::Forged));
    for i in 0..header.len() {
        let mut header = header.to_vec();
        header[i] ^= 1;
        let wanted = if i == 0 { Reason::Version } else { Reason::Forged };
        assert_eq!(refused(1, &Part::Start { server: 1, header: &header, enc, tag }), Some(wanted));
    }
    assert_eq!(refused(1, &Part::Start { server: 1, header: &header[1..], enc, tag }), Some(Reason::Malformed));
    assert_eq!(refused(1, &Part::Start { server: 1, header, enc: [0; 32], tag }), Some(Reason::Forged));

    let servers = [world.accept_at(0, &part0).unwrap(), world.accept_at(1, &part1).unwrap()];
    node.submit(0, 0, None, &mut record(&world, 1)).unwrap();
    let frame = node.poll(0).unwrap();
    let Frame::Report { header, tags, sealed } = frame else { unreachable!() };
    let layout = world.identity.layout;
    let mut share = vec![0; layout.record_bytes()];
    let mut open = |i: u8, header: &[u8], tag, sealed: &[u8]| {
        let part = Part::Report { server: i, header, tag, sealed };
        servers[usize::from(i)].open(&layout, &part, &mut share).err()
    };
    assert_eq!(open(1, header, tags[1], sealed), None);
    assert_eq!(open(1, header, tags[0], sealed), Some(Reason::Forged));
    assert_eq!(open(0, header, tags[1], &[]), Some(Reason::Forged));
    assert_eq!(open(0, header, tags[0], sealed), Some(Reason::Length));
    assert_eq!(open(1, header, tags[1], &sealed[1..]), Some(Reason::Length));
    assert_eq!(open(1, &header[..28], tags[1], sealed), Some(Reason::Malformed));
    for i in 0..header.len() {
        let mut header = header.to_vec();
        header[i] ^= 0x80;
        assert!(open(0, &header, tags[0], &[]).is_some() && open(1, &header, tags[1], sealed).is_some());
    }
    for i in 0..sealed.len() {
        let mut sealed = sealed.to_vec();
        sealed[i] ^= 1;
        assert_eq!(open(1, header, tags[1], &sealed), Some(Reason::Forged));
    }
}

#[test]
fn another_device_cannot_pose_as_this_one() {
    let world = world(&mixed());
    let stranger = Identity {
        device: world.identity.device,
        secret: symbolon_core::report::identity::SecretKey::generate(&mut rng(77)),
        schema: world.identity.schema,
        layout: world.identity.layout,
        servers: world.identity.servers,
    };
    let mut node: Device = Node::new(&stranger, 1, WhenFull::RefuseNew, PACE, &mut rng(1)).unwrap();
    let start = node.poll(0).unwrap();
    for (i, part) in (0..2).zip(start.parts().unwrap()) {
        assert_eq!(world.accept_at(i, &part).err(), Some(Reason::Forged));
    }
}

/// The constant that the documentation states: a record's bytes and these.
#[test]
fn a_report_costs_its_record_and_a_constant() {
    let halves = |n| {
        [symbolon_core::report::schema::Field {
            name: "x",
            count: n,
            kind: symbolon_core::report::schema::Kind::Reading {
                width: symbolon_core::report::schema::Width::Half,
                offset: 0.0,
                step: 1.0,
                unit: "",
            },
        }]
    };
    for n in [1u16, 32, 63, 64, 200] {
        let world = world(&halves(n));
        let mut node = device(&world, 1, WhenFull::RefuseNew);
        starts(&world, &mut node);
        node.submit(0, 0, None, &mut vec![1; 2 * usize::from(n)]).unwrap();
        let (mut scratch, mut out) = ([0; 1000], [0; 1000]);
        let len = node.poll(0).unwrap().encode_stream(&mut scratch, &mut out).unwrap().len();
        let constant = len - 2 * usize::from(n);
        assert!((70..=72).contains(&constant), "{n} readings: {constant}");
    }
}

/// What the documentation says that a boot costs, beside the frame.
#[test]
fn a_start_costs_what_is_stated() {
    let world = world(&mixed());
    let mut node = device(&world, 1, WhenFull::RefuseNew);
    let Some(Frame::Start { header, enc, tags }) = node.poll(0) else { unreachable!() };
    assert_eq!(header.len() + enc.as_flattened().len() + tags.as_flattened().len(), 165);
}

#[test]
fn key_files_are_checked() {
    let identity = world(&mixed()).identity;
    let bytes = identity.to_bytes();
    let read = Identity::from_bytes(&bytes).unwrap();
    assert_eq!((read.device, read.schema, read.layout), (identity.device, identity.schema, identity.layout));
    assert!(read.servers == identity.servers && read.secret.expose() == identity.secret.expose());
    assert_eq!(Identity::from_bytes(&bytes[1..]).err(), Some(IdentityError::Length));
    for i in 0..bytes.len() {
        let mut changed = bytes;
        changed[i] ^= 4;
        assert!(Identity::from_bytes(&changed).is_err());
    }
    let short: Result<Node<1, 4>, _> = Node::new(&identity, 1, WhenFull::RefuseNew, PACE, &mut rng(1));
    assert_eq!(short.err(), Some(SubmitError::Long));
    let mut node = device(&world(&mixed()), 1, WhenFull::RefuseNew);
    assert_eq!(node.submit(0, 0, None, &mut [0; 3]), Err(SubmitError::Seal(SealError::Length)));
}

proptest! {
    /// Bytes of nobody neither panic nor become a frame, and the next frame is read all the same.
    #[test]
    fn a_decoder_survives_any_bytes(noise: Vec<u8>, cut in 0usize..80) {
        let ack = symbolon_core::report::frame::Ack { server: 1, device: 2, boot: 3, from: 4, held: 5, tag: [6; 16] };
        let (mut scratch, mut out) = ([0; 100], [0; 100]);
        let frame = Frame::Ack(ack).encode_stream(&mut scratch, &mut out).unwrap();
        let mut decoder = Decoder::<64>::new();
        let broken = &frame[..cut.min(frame.len() - 2)];
        for byte in noise.iter().chain(broken).chain(&[DELIMITER]) {
            prop_assert!(!matches!(decoder.push(*byte), Some(Ok(_))));
        }
        let mut got = None;
        for byte in frame {
            if let Some(frame) = decoder.push(*byte) {
                got = Some(frame == Ok(Frame::Ack(ack)));
            }
        }
        prop_assert_eq!(got, Some(true));
    }

    #[test]
    fn a_changed_frame_is_damaged(at: prop::sample::Index, bit in 0u8..8) {
        let ack = symbolon_core::report::frame::Ack { server: 1, device: 2, boot: 3, from: 4, held: 5, tag: [6; 16] };
        let mut out = [0; 100];
        let frame = Frame::Ack(ack).encode(&mut out).unwrap();
        let at = at.index(frame.len());
        frame[at] ^= 1 << bit;
        prop_assert!(matches!(Frame::decode(frame), Err(Damage::Crc)));
    }
}

#[test]
fn the_start_says_why_and_what_follows_does_not() {
    let world = world(&mixed());
    let mut node = device(&world, 1, WhenFull::RefuseNew);
    let servers = starts(&world, &mut node);
    let hint = |server, sequence, reason: Reason| {
        let (device, boot) = (world.identity.device.0, 1);
        Frame::Refuse(Refuse { server, device, boot, sequence, reason: reason.code(), tag: [0; 16] })
    };
    node.receive(0, Ok(hint(1, 0, Reason::ReplayedBoot)));
    node.receive(0, Ok(hint(1, 1, Reason::Forged)));
    let status = node.status();
    assert_eq!((status.start_refused, status.last_reason), (Some(Reason::ReplayedBoot), Some(Reason::Forged)));
    // A server that has confirmed the boot did not refuse it, whatever an unsigned message says.
    for server in &servers {
        let _ = node.receive(1, Ok(Frame::Ack(server.ack(1, 0))));
    }
    node.receive(1, Ok(hint(1, 0, Reason::ReplayedBoot)));
    assert_eq!(node.status().start_refused, None);
}
