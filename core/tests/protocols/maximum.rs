//! The largest of several words, and counted matches.

use crate::{harness::*, uniform::assert_uniform};
use symbolon_core::{
    kernel::plane_words,
    link::Error,
    party::Party,
    protocol::{
        maximum::{argmax, choose, count_matches, maximum},
        truncate::{Cut, open},
    },
    word::Word,
};

struct Argmax(usize);

impl Job for Argmax {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let rows = inputs[0].len() / self.0;
        let mut draw = party.draw()?;
        let mut c = vec![W::default(); inputs[0].len()];
        let word = open(party, &mut draw, &inputs[0], Cut::signed(0), &mut c)?;
        let mut hot = vec![W::default(); self.0 * plane_words::<W>(rows)];
        argmax(party, &word, self.0, &mut hot)?;
        Ok(vec![Shared::Planes(hot, rows)])
    }
}

struct Choose(usize);

impl Job for Choose {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut largest = vec![W::default(); inputs[0].len() / self.0];
        let mut draw = party.draw()?;
        let mut c = vec![W::default(); inputs[0].len()];
        let word = open(party, &mut draw, &inputs[0], Cut::signed(0), &mut c)?;
        choose(party, (&word, &inputs[0]), self.0, &inputs[1], &mut largest)?;
        Ok(vec![Shared::Words(largest)])
    }
}

struct Maximum(usize);

impl Job for Maximum {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        let mut largest = vec![W::default(); inputs[0].len() / self.0];
        let mut draw = party.draw()?;
        let mut c = vec![W::default(); inputs[0].len()];
        let word = open(party, &mut draw, &inputs[0], Cut::signed(0), &mut c)?;
        maximum(party, &word, self.0, &mut largest)?;
        Ok(vec![Shared::Words(largest)])
    }
}

/// Rows with ties and words at both ends of the range.
fn logits<W: Word>(values: &mut Values, rows: usize, classes: usize) -> Vec<i64> {
    let edge = 1i64 << (W::BITS - 3);
    let mut row = || -> Vec<i64> {
        let kind = values.next() % 4;
        let any = |values: &mut Values| match kind {
            0 => 5 + (values.next() % 2).cast_signed(),
            1 => -7,
            2 => [edge - 1, -edge][(values.next() % 2) as usize],
            _ => values.signed(W::BITS - 3),
        };
        (0..classes).map(|_| any(values)).collect()
    };
    (0..rows).flat_map(|_| row()).collect()
}

/// Plays all of it and holds it against plain code; gives the cost of argmax without the words.
fn check<W: Word>(values: &mut Values, rows: usize, classes: usize) -> [u64; 3] {
    let z = logits::<W>(values, rows, classes);
    let words = Shared::Words(z.iter().map(|z| W::from_i64(*z)).collect::<Vec<_>>());
    let salt = values.next();
    let got = play::<W>(&Argmax(classes), std::slice::from_ref(&words), salt);
    let largest: Vec<i64> = z.chunks(classes).map(|row| *row.iter().max().unwrap()).collect();
    for class in 0..classes {
        let expected: Vec<bool> =
            z.chunks(classes).zip(&largest).map(|(r, m)| r.iter().position(|z| z == m) == Some(class)).collect();
        assert_eq!(got.outputs[0].bits(class), expected, "class {class} of {classes}, {rows} rows");
    }
    let values_of = |got: &Outcome<W>| got.outputs[0].clone().words().into_iter().map(as_i64).collect::<Vec<i64>>();
    let chosen = play::<W>(&Choose(classes), &[words.clone(), got.outputs[0].clone()], salt + 1);
    assert_eq!(values_of(&chosen), largest);
    let both = play::<W>(&Maximum(classes), &[words], salt + 2);
    assert_eq!(values_of(&both), largest);
    assert_eq!(both.cost.rounds, got.cost.rounds + chosen.cost.rounds - 1);
    let (n, bytes) = (rows * classes, W::BITS as usize / 8);
    let plane = plane_words::<W>(n);
    let cost = Cost {
        bytes: ((n + plane) * bytes) as u64,
        rounds: 2,
        // rho, rho h in words; rho m a bit, unpacked where packing saves nothing
        dealt_bytes: ((2 * n + plane) * bytes) as u64,
    };
    assert_eq!(chosen.cost, cost);
    [got.cost.bytes - (n * bytes) as u64, got.cost.rounds - 1, got.cost.dealt_bytes]
}

#[test]
fn the_first_largest_of_ten_wins() {
    fn ten<W: Word>([opened, dealt]: [usize; 2]) {
        let mut values = Values(9);
        for rows in LENGTHS {
            let [bytes, rounds, dealt_bytes] = check::<W>(&mut values, rows, 10);
            let plane = plane_words::<W>(rows) * W::BITS as usize / 8;
            // 45 pairs compared, opened once more in the last round.
            assert_eq!(bytes, ((45 * opened + 45) * plane) as u64);
            // Nine bits take products over all sets of two and more.
            assert_eq!(dealt_bytes, ((45 * dealt + 10 * 502) * plane) as u64);
            assert_eq!(rounds, if rows == 0 { 0 } else { 3 });
        }
    }
    ten::<u32>([21, 105]);
    ten::<u64>([42, 297]);
}

#[test]
fn any_number_of_classes() {
    fn check_all<W: Word>() {
        let mut values = Values(10);
        for classes in 1..=32 {
            let [_, rounds, _] = check::<W>(&mut values, 70, classes);
            let ands = match classes - 1 {
                0 | 1 => 0,
                2..=9 => 1,
                _ => 2,
            };
            assert_eq!(rounds, if classes == 1 { 0 } else { 2 } + ands, "{classes} classes");
        }
    }
    check_all::<u32>();
    check_all::<u64>();
}

struct Count(usize);

impl Job for Count {
    fn run<W: Word>(&self, party: &mut Party<'_, W>, inputs: Vec<Vec<W>>) -> Result<Vec<Shared<W>>, Error> {
        Ok(vec![Shared::Words(vec![count_matches(party, &inputs[0], &inputs[1], self.0)?])])
    }
}

#[test]
fn matches_are_counted() {
    fn count<W: Word>() {
        let mut values = Values(11);
        for rows in LENGTHS {
            let (classes, lanes) = (7, plane_words::<W>(rows));
            let [predicted, labels]: [Vec<usize>; 2] =
                [0; 2].map(|_| (0..rows).map(|_| (values.next() % 4) as usize).collect());
            // A label past the last class is in none of the planes; padding bits are noise.
            let labels: Vec<usize> = labels.into_iter().map(|l| if l == 3 { classes } else { l }).collect();
            let mut planes = |of: &[usize]| {
                let mut planes: Vec<W> = (0..classes * lanes).map(|_| W::from_u64(values.next())).collect();
                for ((e, of), class) in of.iter().enumerate().flat_map(|e| (0..classes).map(move |class| (e, class))) {
                    let (word, bit) = (&mut planes[class * lanes + e % lanes], W::from_u64(1 << (e / lanes)));
                    *word = if *of == class { word.or(bit) } else { word.and(bit.not()) };
                }
                Shared::Planes(planes, rows)
            };
            let got = play(&Count(rows), &[planes(&predicted), planes(&labels)], rows as u64);
            let expected = predicted.iter().zip(&labels).filter(|(p, l)| p == l).count();
            assert_eq!(as_u64(got.outputs[0].clone().words()[0]), expected as u64);
            let bytes = u64::from(W::BITS / 8);
            let cost = Cost {
                bytes: (2 * classes + 1) as u64 * lanes as u64 * bytes,
                rounds: 2,
                dealt_bytes: (classes * lanes + rows) as u64 * bytes,
            };
            assert_eq!(got.cost, cost);
        }
    }
    count::<u32>();
    count::<u64>();
}

#[test]
fn what_a_maximum_opens_is_uniform() {
    fn check<W: Word>() {
        let z = Shared::Words([3, 3, -1, 0, 9, -9, 3, 3, 3, 3].map(W::from_i64).to_vec());
        let hot = Shared::Planes(vec![W::from_u64(2), W::from_u64(1), W::default(), W::default(), W::default()], 2);
        assert_uniform(&Argmax(5), std::slice::from_ref(&z));
        assert_uniform(&Choose(5), &[z, hot.clone()]);
        assert_uniform(&Count(2), &[hot.clone(), hot]);
    }
    check::<u32>();
    check::<u64>();
}
