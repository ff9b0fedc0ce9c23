//! One function at one number: shared by this process, which is also the dealer, and computed by
//! two servers that are processes of their own and talk over the loopback.
//!
//! A server reads its task from its standard input, writes its port and then its share of the
//! result to its standard output. The second server reads the dealer's corrections behind its task.

use super::{
    super::exit::Failure,
    measure::{Apply, whole},
};
use crate::{
    kernel::{HostWord, best},
    session::random_bytes,
};
use serde::{Deserialize, Serialize};
use std::{
    io::{BufRead as _, BufReader, BufWriter, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};
use symbolon_core::{
    correlation::{Corrections, Request, Server, Sink},
    fixed::encode,
    function::{Numbers, method::Function, scalar::Scalar as _},
    kernel::Kernels,
    link::{Error, Fold, Link, Part, Peer},
    party::Role,
    prg::{Aes128Prg, MaskId, Prg, Seed},
    word::Word,
};
use symbolon_parties::{deal, planned, run as run_party};
use zeroize::Zeroizing;

/// The task of a server.
#[derive(Serialize, Deserialize)]
struct Task {
    function: Function,
    ring_bits: u32,
    frac_bits: u32,
    seed: [u8; 32],
    session: [u8; 16],
    /// Its share of the argument.
    share: u64,
    /// Where the other server listens; the first server has none.
    peer: Option<u16>,
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Other(format!("functions: {error}"))
}

/// Shares `x`, has `function` computed, and prints the result.
pub(super) fn run(function: &Function, numbers: &Numbers, x: f64) -> Result<(), Failure> {
    let word = if numbers.ring_bits == 32 {
        encode::<u32>(x, numbers.frac_bits).map(u64::from)
    } else {
        encode::<u64>(x, numbers.frac_bits)
    };
    let word = word.map_err(|error| Failure::Input(format!("--x: {error}")))?;
    let y = if numbers.ring_bits == 32 {
        shared::<u32>(function, numbers, word)
    } else {
        shared::<u64>(function, numbers, word)
    }?;
    let one = f64::from(1u32 << numbers.frac_bits);
    #[allow(clippy::cast_precision_loss)] // printed
    let y = y as f64 / one;
    let value = function.scalar.value(x);
    say!("{}({x}) = {y} on shares, by {}", function.scalar.name(), super::method(function));
    say!(
        "{value} in double precision; they differ by {:.2} units of 2^-{}",
        (y - value).abs() * one,
        numbers.frac_bits
    );
    Ok(())
}

/// A server's process, and what it was told through.
struct Started {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Started {
    fn new(task: &Task) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["functions", "--serve"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("a server has no pipes"));
        };
        let told = Zeroizing::new(postcard::to_stdvec(task).map_err(failed)?);
        let len = u32::try_from(told.len()).map_err(failed)?;
        input.write_all(&len.to_le_bytes()).and_then(|()| input.write_all(&told)).map_err(failed)?;
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    fn line(&mut self) -> Result<u64, Failure> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(failed)?;
        line.trim().parse().map_err(|_| failed("a server of this machine stopped early"))
    }

    fn end(mut self) -> Result<u64, Failure> {
        let share = self.line()?;
        drop(self.input);
        let status = self.child.wait().map_err(failed)?;
        if status.success() { Ok(share) } else { Err(failed(format!("a server of this machine ended with {status}"))) }
    }
}

fn shared<W: HostWord + Word>(function: &Function, numbers: &Numbers, word: u64) -> Result<i64, Failure> {
    let (session, share) = (random_bytes::<16>()?, u64::from_le_bytes(random_bytes::<8>()?));
    let seeds = [Zeroizing::new(random_bytes::<32>()?), Zeroizing::new(random_bytes::<32>()?)];
    let Numbers { ring_bits, frac_bits } = *numbers;
    let task = |i: usize, share, peer| Task {
        function: *function,
        ring_bits,
        frac_bits,
        seed: *seeds[i],
        session,
        share,
        peer,
    };
    let mut first = Started::new(&task(0, share, None))?;
    let port = u16::try_from(first.line()?).map_err(failed)?;
    let second = Started::new(&task(1, word.wrapping_sub(share), Some(port)))?;
    let prgs = seeds.each_ref().map(|seed| Aes128Prg::new(&Seed::from_bytes(seed), &session));
    let Started { child, input, output } = second;
    let mut dealer =
        Dealer::<W> { prgs: [&prgs[0], &prgs[1]], kernels: best(), buffer: Vec::new(), to: BufWriter::new(input) };
    deal::<W>(&Apply { function, numbers }, &[1], &mut dealer).map_err(failed)?;
    let input = dealer.to.into_inner().map_err(failed)?;
    let second = Started { child, input, output };
    let (second, first) = (second.end()?, first.end()?);
    Ok(whole(W::from_u64(first.wrapping_add(second))))
}

/// Writes corrections to the second server.
struct Dealer<'a, W: Word> {
    prgs: [&'a dyn Prg; 2],
    kernels: &'static dyn Kernels<W>,
    buffer: Vec<W>,
    to: BufWriter<ChildStdin>,
}

impl<W: Word> Sink for Dealer<'_, W> {
    fn request(&mut self, first: MaskId, request: &Request<'_>) -> Result<(), Error> {
        let Self { prgs, kernels, buffer, to } = self;
        buffer.resize(buffer.len().max(request.deal_words::<W>()), W::default());
        request.deal(first, *prgs, *kernels, buffer, |_, wire| {
            to.write_all(W::bytes(wire)).map_err(|_| Error::Lost(Peer::Server))
        })
    }
}

/// Reads corrections from the standard input.
struct FromInput;

impl<W: Word> Corrections<W> for FromInput {
    fn next(&mut self, out: &mut [W]) -> Result<(), Error> {
        std::io::stdin().lock().read_exact(W::bytes_mut(out)).map_err(|_| Error::Lost(Peer::Dealer))
    }
}

/// The connection of the servers.
struct Loopback(TcpStream);

impl<W: Word> Link<W> for Loopback {
    fn exchange(&mut self, parts: &mut [Part<'_, W>]) -> Result<(), Error> {
        let lost = |_| Error::Lost(Peer::Server);
        let own: Vec<u8> = parts.iter().flat_map(|(_, words)| W::bytes(words)).copied().collect();
        self.0.write_all(&own).map_err(lost)?;
        for (fold, words) in parts {
            let mut theirs = vec![W::default(); words.len()];
            self.0.read_exact(W::bytes_mut(&mut theirs)).map_err(lost)?;
            for (word, theirs) in words.iter_mut().zip(theirs) {
                *word = match fold {
                    Fold::Add => word.add(theirs),
                    Fold::Xor => word.xor(theirs),
                    Fold::Swap => theirs,
                };
            }
        }
        Ok(())
    }
}

/// Is one of the two servers.
pub(in crate::cli) fn serve() -> Result<(), Failure> {
    let mut len = [0; 4];
    let mut input = std::io::stdin().lock();
    input.read_exact(&mut len).map_err(failed)?;
    let len = u32::from_le_bytes(len);
    if len > 1 << 12 {
        return Err(failed("a task of more than 4096 bytes"));
    }
    let mut told = Zeroizing::new(vec![0; len as usize]);
    input.read_exact(&mut told).map_err(failed)?;
    drop(input);
    let task: Task = postcard::from_bytes(&told).map_err(failed)?;
    let numbers = Numbers { ring_bits: task.ring_bits, frac_bits: task.frac_bits };
    task.function.check(&numbers).map_err(failed)?;
    let (role, stream) = match task.peer {
        None => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
            say!("{}", listener.local_addr().map_err(failed)?.port());
            (Role::Server0, listener.accept().map_err(failed)?.0)
        }
        Some(port) => (Role::Server1, TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(failed)?),
    };
    stream.set_nodelay(true).map_err(failed)?;
    let share = match task.ring_bits {
        32 => compute::<u32>(&task, &numbers, role, stream),
        _ => compute::<u64>(&task, &numbers, role, stream),
    };
    say!("{}", share?);
    Ok(())
}

fn compute<W: HostWord + Word>(task: &Task, numbers: &Numbers, role: Role, stream: TcpStream) -> Result<u64, Failure> {
    let program = Apply { function: &task.function, numbers };
    let arena = planned::<W>(&program, &[1]).map_err(failed)?.arena;
    let prg = Aes128Prg::new(&Seed::from_bytes(&task.seed), &task.session);
    let (mut link, mut corrections) = (Loopback(stream), FromInput);
    let dealt = (role == Role::Server1).then_some(&mut corrections as &mut (dyn Corrections<W> + Send));
    let mut source = Server::new(&prg, best::<W>(), 0, dealt);
    let inputs = vec![vec![W::from_u64(task.share)]];
    let (shares, _) =
        run_party(&program, (role, &mut link), &mut source, best::<W>(), arena, inputs).map_err(failed)?;
    Ok(whole(shares[0]).cast_unsigned())
}
