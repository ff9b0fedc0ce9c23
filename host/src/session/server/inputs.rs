//! A client's data, as it reaches this server: a seed at server 0, words at server 1.

use super::Session;
use crate::{
    net::{Connection, Role},
    session::{
        SessionError,
        message::{Data, MAX_MESSAGE_BYTES},
        prg,
    },
    train::Inputs,
};
use symbolon_core::{
    prg::{MaskId, Seed, fill},
    word::Word,
};

/// This server's shares of the data: expanded from a seed at server 0, received at server 1.
#[inline(never)] // the caller wipes the stack below its own frame
pub(super) fn receive_inputs<W: Word>(
    session: &Session<'_>,
    client: &mut Connection,
    role: Role,
) -> Result<Inputs<W>, SessionError> {
    let unexpected = || SessionError::Unexpected { from: Role::Client, wanted: "this server's share of the data" };
    let mut inputs = Inputs::<W>::dry(session.job);
    let tables = [&mut inputs.train, &mut inputs.train_labels, &mut inputs.test, &mut inputs.test_labels];
    loop {
        match (client.recv::<Data>(MAX_MESSAGE_BYTES)?, role) {
            (Data::Wait, Role::Server0) => {}
            (Data::Seed(seed), Role::Server0) => {
                let stream = prg(session.job.numbers.prg, &Seed::from_bytes(&seed), &session.id);
                for (i, table) in (0u32..).zip(tables) {
                    fill(&*stream, table_stream(i), 0, table);
                }
                break;
            }
            (Data::Words, Role::Server1) => {
                for table in tables {
                    client.recv_exact(W::bytes_mut(table))?;
                }
                break;
            }
            _ => return Err(unexpected()),
        }
    }
    Ok(inputs)
}

/// Name of the stream that splits table `i`.
pub(in crate::session) fn table_stream(i: u32) -> MaskId {
    MaskId { lane: 0, request: i, part: 0 }
}
