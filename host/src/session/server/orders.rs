//! A client's order: the job is admitted, its data are stored, and the client watches it.

use super::{Server, admission::Admitted, inputs};
use crate::{
    intake::validity::UnixSeconds,
    job::Job,
    job_store::StoredJob,
    net::{Connection, Role},
    session::{
        STACK_BYTES, SessionError,
        message::{Answer, Data, MAX_MESSAGE_BYTES, No, Order, Update},
    },
};
use symbolon_core::wipe::wipe_stack;

impl Server {
    /// Takes a client's job and its data, then lets the client watch the job.
    pub(super) fn order(&self, order: Order, mut client: Connection) -> Result<(), SessionError> {
        let result = self.receive(order, &mut client).and_then(|job| {
            client.send(&Update::Taken)?;
            self.watch(&job, &mut client)
        });
        let _ = client.close(); // the client may have closed it before
        result
    }

    /// Takes a job: from the return on it waits for its turn, whatever becomes of the client.
    fn receive(&self, order: Order, client: &mut Connection) -> Result<StoredJob, SessionError> {
        let prepared = self.jobs.arrive(order.id, client.serial()).map_err(SessionError::from).and_then(|arriving| {
            // The folder comes first: it reports a full disk before the client sends shares.
            let upload = self.jobs.begin_upload(order.id)?;
            Ok((arriving, upload, self.admit(&order, client.serial())?))
        });
        let (arriving, mut upload, admitted) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                client.send(&Answer::Err(No::new(&error)))?;
                return Err(error);
            }
        };
        let Admitted { job, plan_hash, memory_bytes, account, from } = admitted;
        let stored = client.send(&Answer::Ok(())).map_err(SessionError::from).and_then(|()| {
            if let Some(from) = &from {
                self.copy_initial(&job, client.serial(), &from.digest, &upload)?;
            }
            self.receive_data(&job, client, &mut upload)?;
            let Order { id, job: encoded, keep, output_key } = order;
            let (client, received_at) = (client.serial().to_owned(), UnixSeconds::now().0);
            let stored =
                StoredJob { id, client, encoded, keep, output_key, received_at, memory_bytes, plan_hash, from };
            self.jobs.insert(&stored, upload)?;
            Ok(stored)
        });
        match stored {
            Ok(stored) => {
                self.wake_queue();
                Ok(stored)
            }
            Err(error) => {
                account.end()?;
                // The lost peer may be the client.
                let _ = client.send(&Update::No(No::new(&error)));
                drop(arriving);
                if self.config.role == Role::Server1 {
                    let _ = self.report_missing(); // the queue reports it again
                }
                Err(error)
            }
        }
    }

    fn receive_data(
        &self,
        job: &Job,
        client: &mut Connection,
        upload: &mut crate::job_store::Upload,
    ) -> Result<(), SessionError> {
        if job.data.is_stored() {
            let wanted = "that both servers have accepted the job";
            return match client.recv(MAX_MESSAGE_BYTES)? {
                Data::Confirm => Ok(()),
                _ => Err(SessionError::Unexpected { from: Role::Client, wanted }),
            };
        }
        let times: (Role, _) = (self.config.role, self.config.timeouts.idle);
        let received = match job.numbers.ring_bits {
            32 => inputs::receive::<u32>(job, client, times, upload),
            _ => inputs::receive::<u64>(job, client, times, upload),
        };
        wipe_stack::<STACK_BYTES>(); // the seed of the data's shares
        received
    }
}
