//! A party that fails ends the others, and `play` returns its error.
#![allow(clippy::unwrap_used)]

use symbolon_core::{
    kernel::Portable,
    link::{Error, Peer},
    party::{Party, Role},
    prg::{ChaCha20Prg, Prg, Seed},
    word::Word,
};
use symbolon_parties::{MemoryLink, Parties, Program};

/// Opens a word; `role` stops before.
struct Stops {
    role: Role,
    error: Error,
}

impl Program for Stops {
    type Output<W: Word> = ();

    fn run<W: Word>(&self, party: &mut Party<'_, W>, mut inputs: Vec<Vec<W>>) -> Result<(), Error> {
        if party.role == self.role && W::bytes(&inputs[0]).len() > 1 {
            return Err(self.error); // not in the dealer's dry run, whose words are empty
        }
        party.open(&mut inputs[0])
    }
}

#[test]
fn the_cause_is_returned() {
    let prgs = [1, 2].map(|seed| ChaCha20Prg::new(&Seed::from_bytes(&[seed; 32]), &[3; 16]));
    for role in [Role::Server0, Role::Server1] {
        let error = Error::Malformed(Peer::Dealer);
        let program = Stops { role, error };
        let parties = Parties {
            program: &program,
            prgs: [&prgs[0] as &dyn Prg, &prgs[1]],
            kernels: &Portable,
            arena: 0,
            dithers: None,
        };
        let inputs = [vec![vec![1u64]], vec![vec![2]]];
        assert_eq!(parties.play(MemoryLink::pair(), inputs).map(|_| ()), Err(error), "{role:?}");
    }
}
