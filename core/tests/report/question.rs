use crate::harness::{World, mixed, rng, world};
use symbolon_core::report::{
    Reason,
    frame::{Frame, PREDICTED_HEAD_BYTES, Predicted, Refuse},
    header::{Header, QUERY},
    node::{Event, Node, SubmitError},
    outbox::{Pace, WhenFull},
    question::{MAX_WORDS, Part, Question, Reply},
    record::join,
    session::{Receiver, SealError},
};

type Device = Node<4, 400>;
const PACE: Pace = Pace { first_ms: 100, longest_ms: 1000 };

fn device(world: &World, boot: u32) -> (Device, [Receiver; 2]) {
    let mut node = Device::new(&world.identity, boot, WhenFull::RefuseNew, PACE, &mut rng(boot as u8 + 10)).unwrap();
    let servers = world.accept(&node.poll(0).unwrap());
    (node, servers)
}

fn record(world: &World) -> Vec<u8> {
    vec![0; world.identity.layout.record_bytes()]
}

/// Both servers' parts of an answer of these words of 8 bytes, with the head of its kind.
fn parts(head: u8, words: &[u64]) -> [Vec<u8>; 2] {
    let share = |i: usize, word: &u64| if i == 0 { word.wrapping_sub(77) } else { 77 };
    [0, 1].map(|i| {
        let words = words.iter().flat_map(|word| share(i, word).to_le_bytes());
        [head, 8].into_iter().chain(words).collect()
    })
}

/// A reply as a test compares it.
fn told(reply: Reply) -> String {
    match reply {
        Reply::Other => "other".to_owned(),
        Reply::Part => "part".to_owned(),
        Reply::Refused(reason) => reason.to_string(),
        Reply::Predicted(answer) => format!("{:?} {:?} {:?}", answer.class(), answer.frac_bits(), answer.words()),
    }
}

fn hear(node: &Device, question: &mut Question<400>, frame: &Predicted<'_>) -> String {
    told(node.answered(question, &Frame::Predicted(&written(frame))))
}

fn written(answer: &Predicted<'_>) -> Vec<u8> {
    let mut bytes = [0; 1000];
    let written = answer.write(&mut bytes).unwrap();
    assert_eq!(Predicted::parse(written), Some(*answer));
    written.to_vec()
}

#[test]
fn a_question_is_a_record_that_both_parts_answer() {
    let world = world(&mixed());
    let (mut node, servers) = device(&world, 1);
    let layout = &world.identity.layout;
    let mut question = node.ask(5, 7, &mut record(&world)).unwrap();
    assert_eq!(question.sequence(), QUERY + 1);
    let mut shares = [record(&world), record(&world)];
    let frame = question.poll(5, &PACE).unwrap();
    for (i, part) in frame.parts().unwrap().iter().enumerate() {
        let header: Header = servers[i].open(layout, part, &mut shares[i]).unwrap();
        assert!(header.id.is_query() && (header.id.sequence, header.time_ms) == (QUERY + 1, 7));
    }
    let [mut ours, theirs] = shares;
    join(layout, &mut ours, &theirs);
    assert_eq!(ours, record(&world));
    // It is sent again until it is answered; records keep their own numbers.
    assert!(question.poll(6, &PACE).is_none() && question.poll(question.next_due_ms(), &PACE).is_some());
    assert_eq!(node.submit(8, 8, None, &mut record(&world)), Ok(1));
    assert_eq!(node.ask(9, 9, &mut record(&world)).unwrap().sequence(), QUERY + 2);

    let [mut a, mut b] = parts(Part::CLASSES, &[3]);
    let [a, b] = [servers[0].predicted(QUERY + 1, [1; 12], &mut a), servers[1].predicted(QUERY + 1, [2; 12], &mut b)];
    assert_eq!(hear(&node, &mut question, &a), "part");
    assert_eq!(hear(&node, &mut question, &a), "part", "the same again");
    assert_eq!(hear(&node, &mut question, &b), "Some(3) None [3]");
    // What has been sealed crosses a line in the frame that it is.
    let mut bytes = [0; 192];
    let b = written(&b);
    let encoded = Frame::Predicted(&b).encode(&mut bytes).unwrap();
    assert_eq!(Frame::decode(encoded), Ok(Frame::Predicted(&b)));
    assert!((0..PREDICTED_HEAD_BYTES).all(|len| Predicted::parse(&b[..len]).is_none()));
    assert!(Frame::decode_answer(encoded).is_err(), "a device that asks nothing does not read it");
}

#[test]
fn values_of_both_rings_join_and_the_longest_answer_fits_its_frame() {
    let world = world(&mixed());
    let (mut node, servers) = device(&world, 0xffff_ff00);
    let mut question = node.ask(0, 0, &mut record(&world)).unwrap();
    let words: Vec<u64> = (0..MAX_WORDS as u64).map(|i| i.wrapping_sub(5)).collect();
    let [mut a, mut b] = parts(12, &words);
    let first = servers[0].predicted(QUERY + 1, [255; 12], &mut a);
    assert!(Frame::Predicted(&written(&first)).encode(&mut [0; 192]).is_ok());
    hear(&node, &mut question, &first);
    let got = hear(&node, &mut question, &servers[1].predicted(QUERY + 1, [1; 12], &mut b));
    assert!(got.starts_with("None Some(12) [-5, -4, -3"), "{got}");
    // Halves add up modulo 2^32 and have a sign.
    let mut question = node.ask(0, 0, &mut record(&world)).unwrap();
    let half = |word: u32| [&[4, 4][..], &word.to_le_bytes()].concat();
    let (mut a, mut b) = (half(u32::MAX), half(u32::MAX - 1));
    hear(&node, &mut question, &servers[0].predicted(QUERY + 2, [1; 12], &mut a));
    assert_eq!(hear(&node, &mut question, &servers[1].predicted(QUERY + 2, [1; 12], &mut b)), "None Some(4) [-3]");
}

#[test]
fn parts_of_another_query_boot_server_or_key_are_nothing() {
    let world = world(&mixed());
    let (mut node, servers) = device(&world, 1);
    let (_, others) = device(&world, 2);
    let mut question = node.ask(0, 0, &mut record(&world)).unwrap();
    let part = || parts(Part::CLASSES, &[3]).map(|part| part);
    let [mut a, mut b] = part();
    let good = servers[0].predicted(QUERY + 1, [1; 12], &mut a);
    let other = others[0].predicted(QUERY + 1, [1; 12], &mut b);
    let mut forged = vec![
        other,
        Predicted { boot: 1, ..other },
        Predicted { server: 1, ..good },
        Predicted { server: 2, ..good },
        Predicted { device: 1, ..good },
        Predicted { sequence: QUERY + 2, ..good },
        Predicted { nonce: [2; 12], ..good },
        Predicted { sealed: &[], ..good },
        Predicted { sealed: &[0; 500], ..good },
    ];
    let [mut next, _] = part();
    let of_next = servers[0].predicted(QUERY + 2, [1; 12], &mut next);
    forged.extend([of_next, Predicted { sequence: QUERY + 1, ..of_next }]);
    for frame in &forged {
        assert_eq!(hear(&node, &mut question, frame), "other", "{frame:?}");
        assert_eq!(node.receive(0, Ok(Frame::Predicted(&written(frame)))), Event::Nothing);
    }
    assert_eq!(hear(&node, &mut question, &good), "part", "and the good one still counts");
    // Authentic parts that are of different answers are no answer.
    let mut longer = parts(Part::CLASSES, &[3, 4])[1].clone();
    assert_eq!(hear(&node, &mut question, &servers[1].predicted(QUERY + 1, [1; 12], &mut longer)), "malformed");
}

#[test]
fn an_authentic_refusal_ends_a_question_and_no_other() {
    let world = world(&mixed());
    let (mut node, servers) = device(&world, 1);
    let mut question = node.ask(0, 0, &mut record(&world)).unwrap();
    for reason in [Reason::NoModel, Reason::Unanswered, Reason::ReplayedQuery, Reason::Quota] {
        let no = servers[1].refuse(QUERY + 1, reason);
        let hint = Refuse { tag: [0; 16], ..no };
        let late = servers[1].refuse(QUERY + 2, reason);
        for other in [hint, late] {
            assert_eq!(told(node.answered(&mut question, &Frame::Refuse(other))), "other");
        }
        assert_eq!(told(node.answered(&mut question, &Frame::Refuse(no))), reason.to_string());
    }
    let short = &mut record(&world)[1..];
    assert_eq!(node.ask(0, 0, short).err(), Some(SubmitError::Seal(SealError::Length)));
}

#[test]
fn headers_of_queries_are_about_nothing() {
    let world = world(&mixed());
    let (node, _) = device(&world, 1);
    let id = symbolon_core::report::header::ReportId { device: node.header().device, boot: 1, sequence: QUERY + 1 };
    let header = Header { id, time_ms: 0, dropped: 0, about: None };
    assert_eq!(Header::parse(header.to_bytes().as_ref()), Ok(header));
    let about = Header { about: Some(id), ..header };
    assert_eq!(Header::parse(about.to_bytes().as_ref()), Err(Reason::Malformed));
    let zero = Header { id: symbolon_core::report::header::ReportId { sequence: QUERY, ..id }, ..header };
    assert_eq!(Header::parse(zero.to_bytes().as_ref()), Err(Reason::Malformed));
}
