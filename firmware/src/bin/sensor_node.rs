//! Samples, packs, shares, seals and sends, keeps each report until both servers hold it, and goes on after a reset.
//!
//! What its records hold it is told by its key file: one reading of the sensor for each code, in the order of the packed record; codes of fewer
//! than 32 bits are clamped to their width. On an emulated board the readings are recorded codes, on a real one what the chip measures.
//!
//! With the feature `predict` it also asks the servers for a prediction from its record, and logs
//! the answer.
//!
//! It samples when the sensor has something and the outbox has room: recorded readings are not lost for want of it. It ends only if it cannot
//! start; the log says why.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use embedded_io::{Read, ReadReady, Write};
    use static_cell::{ConstStaticCell, StaticCell};
    use symbolon_core::report::{
        frame::{Damage, Decoder, Frame},
        identity::{Identity, IdentityError},
        node::{Event, Node, Status, SubmitError},
        outbox::{Pace, WhenFull},
        record::put,
        schema::Layout,
    };
    use symbolon_firmware::board::{self, Board, Outcome, Sensor, Serial};

    /// Reports that may wait.
    const SLOTS: usize = 16;
    /// Bytes of a record at most.
    const RECORD_BYTES: usize = 64;
    /// Readings of a record at most.
    const CODES: usize = 32;
    /// Bytes of a frame at most, header and tags included; framed, a few more.
    const FRAME_BYTES: usize = 320;
    /// How often the sensor is asked.
    const SAMPLE_MS: u64 = if cfg!(emulated) { 10 } else { 60_000 };
    const PACE: Pace = if cfg!(emulated) {
        Pace { first_ms: 300, longest_ms: 3000 }
    } else {
        Pace { first_ms: 1000, longest_ms: 60_000 }
    };

    /// The device: it reports, and with the feature it asks.
    #[cfg(not(feature = "predict"))]
    type Device = Node<SLOTS, RECORD_BYTES>;
    #[cfg(feature = "predict")]
    type Device = symbolon_firmware::asking::Asking<SLOTS, RECORD_BYTES>;

    static NODE: StaticCell<Device> = StaticCell::new();
    static DECODER: ConstStaticCell<Decoder<FRAME_BYTES>> = ConstStaticCell::new(Decoder::new());

    /// Why the node does not start.
    #[derive(defmt::Format)]
    enum Error {
        Board(board::Error),
        Identity(IdentityError),
        Node(SubmitError),
        /// The schema has more readings than this program takes.
        Codes,
    }

    impl From<board::Error> for Error {
        fn from(e: board::Error) -> Self {
            Self::Board(e)
        }
    }

    #[board::entry]
    fn main() -> ! {
        let mut board = Board::take();
        match start(&mut board) {
            Ok((node, layout)) => run(node, &layout, board.serial, board.sensor),
            Err(error) => {
                defmt::error!("{}", error);
                board::end(Outcome::Fail)
            }
        }
    }

    #[inline(never)] // or key exchange would hold its stack for ever
    fn start(board: &mut Board) -> Result<(&'static mut Device, Layout), Error> {
        let mut entropy = board.entropy()?;
        let mut blob = zeroize::Zeroizing::new([0; Identity::BYTES]);
        board.storage.blob(&mut blob)?;
        let identity = Identity::from_bytes(&*blob).map_err(Error::Identity)?;
        if codes(&identity.layout).count() > CODES {
            return Err(Error::Codes);
        }
        let boot = board.storage.next_boot()?;
        let node = Node::new(&identity, boot, WhenFull::RefuseNew, PACE, &mut entropy).map_err(Error::Node)?;
        #[cfg(feature = "predict")]
        let node = Device::new(node, PACE);
        defmt::info!("boot {=u32}", boot);
        Ok((NODE.init(node), identity.layout))
    }

    /// Place and width in bits of each code, in the order of the record.
    fn codes(layout: &Layout) -> impl Iterator<Item = (usize, u32)> + use<> {
        let [words, halves, bytes, labels, bits] = layout.regions();
        let whole = |region: core::ops::Range<usize>, bits: u32| {
            region.step_by(bits as usize / 8).map(move |byte| (8 * byte, bits))
        };
        let first = 8 * bits.start;
        whole(words, 32)
            .chain(whole(halves, 16))
            .chain(whole(bytes, 8))
            .chain(whole(labels, 8))
            .chain((0..usize::from(layout.bits)).map(move |bit| (first + bit, 1)))
    }

    fn run(node: &mut Device, layout: &Layout, mut serial: Serial, mut sensor: Sensor) -> ! {
        let decoder = DECODER.take();
        let mut next_sample_ms = 0;
        loop {
            let worked = hear(node, decoder, &mut serial) | speak(node, &mut serial);
            let now_ms = board::now_ms();
            if next_sample_ms <= now_ms && node.has_room() {
                next_sample_ms = now_ms + SAMPLE_MS;
                sample(node, layout, &mut sensor);
            }
            if !worked {
                board::idle();
            }
        }
    }

    /// Takes what arrived. Whether anything did.
    fn hear(node: &mut Device, decoder: &mut Decoder<FRAME_BYTES>, serial: &mut Serial) -> bool {
        let mut bytes = [0; 64];
        let Ok(true) = serial.read_ready() else { return false };
        let Ok(len) = serial.read(&mut bytes);
        for byte in &bytes[..len] {
            // A node that asks reads more kinds of answers.
            #[cfg(feature = "predict")]
            let frame = decoder.push(*byte);
            #[cfg(not(feature = "predict"))]
            let frame = decoder.push_answer(*byte);
            let Some(frame) = frame else { continue };
            if let Err(damage) = &frame {
                defmt::debug!("damaged frame: {}", damage);
            }
            match node.receive(board::now_ms(), frame) {
                Event::Nothing => {}
                event => report(event, &node.status()),
            }
        }
        true
    }

    fn report(event: Event, status: &Status) {
        match event {
            Event::Stored { .. } => {
                defmt::info!("stored {=u32}", status.acknowledged);
                if cfg!(emulated) {
                    defmt::info!("stack {=usize}", board::stack::peak_bytes());
                }
            }
            event => defmt::warn!("{}", event),
        }
    }

    /// Sends what is due. Whether anything was.
    fn speak(node: &mut Device, serial: &mut Serial) -> bool {
        let Some(frame) = node.poll(board::now_ms()) else { return false };
        match send(&frame, serial) {
            Ok(()) => {}
            Err(damage) => defmt::error!("a frame is not sent: {}", damage),
        }
        true
    }

    #[inline(never)] // or its buffers would stay on the stack
    fn send(frame: &Frame<'_>, serial: &mut Serial) -> Result<(), Damage> {
        let (mut plain, mut framed) = ([0; FRAME_BYTES], [0; FRAME_BYTES + FRAME_BYTES / 254 + 2]);
        let Ok(()) = serial.write_all(frame.encode_stream(&mut plain, &mut framed)?);
        Ok(())
    }

    /// Submits one record, if the sensor has one.
    fn sample(node: &mut Device, layout: &Layout, sensor: &mut Sensor) {
        let mut readings = [0; CODES];
        let readings = &mut readings[..codes(layout).count()];
        match sensor.sample(readings) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return defmt::warn!("{}", error),
        }
        let mut record = [0; RECORD_BYTES];
        let record = &mut record[..layout.record_bytes()];
        for ((at, bits), reading) in codes(layout).zip(readings.iter().copied()) {
            let most = u32::MAX >> (32 - bits);
            let code = if bits == 32 { reading.cast_unsigned() } else { reading.max(0).cast_unsigned().min(most) };
            put(record, at, bits, code);
        }
        let now_ms = board::now_ms();
        match node.submit(now_ms, now_ms, None, record) {
            Ok(sequence) => defmt::debug!("report {=u32}", sequence),
            Err(error) => defmt::warn!("{}", error),
        }
    }
}
