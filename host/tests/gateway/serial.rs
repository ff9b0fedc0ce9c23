//! On a pseudo-terminal whose device is pulled out and put back.

use super::harness::*;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
    thread,
    time::{Duration, Instant},
};
use symbolon::gateway::news::News;
use symbolon_core::report::{
    frame::{Decoder, Frame},
    header::{DeviceId, ReportId},
};

/// The device's end of a terminal that `path` then names.
fn plug_in(path: &Path) -> File {
    let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&end).unwrap();
    unlockpt(&end).unwrap();
    let name = ptsname(&end, Vec::new()).unwrap();
    let _ = fs::remove_file(path);
    symlink(std::ffi::OsStr::from_bytes(name.as_bytes()), path).unwrap();
    rustix::io::ioctl_fionbio(&end, true).unwrap();
    File::from(end)
}

/// The next answers of both servers: which server, which report.
fn both_answers(end: &mut File) -> [(u8, u32); 2] {
    let (mut decoder, mut found) = (Decoder::<256>::new(), Vec::new());
    let patience = Instant::now() + PATIENCE;
    while found.len() < 2 {
        assert!(Instant::now() < patience, "no answers");
        let mut bytes = [0; 256];
        let Ok(len) = end.read(&mut bytes) else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        for byte in &bytes[..len] {
            if let Some(Ok(Frame::Ack(ack))) = decoder.push(*byte) {
                found.push((ack.server, ack.from));
            }
        }
    }
    found.sort_unstable();
    [found[0], found[1]]
}

#[test]
fn a_serial_port_is_served_and_opened_again_when_its_device_is_back() {
    let world = World::new("serial");
    let path = world.scratch.0.join("port");
    let section = format!("serial = [{{ path = \"{}\", baud = 9600 }}]", path.display());
    let gateway = world.gateway(&section);
    gateway.says("no port", |news| matches!(news, News::SerialAway { .. }));
    for round in 1..=2 {
        gateway.hush();
        let mut end = plug_in(&path);
        gateway.says("port open", |news| matches!(news, News::SerialHere(_)));
        end.write_all(b"boot loader says hello\r\n\0").unwrap();
        let id = ReportId { device: DeviceId(3), boot: round, sequence: round };
        end.write_all(&on_stream(&frame_of(id, &[0, 1, 3, 4, 10, 13, 17, 19, 26, 127, 255], &mut Vec::new()))).unwrap();
        assert_eq!(both_answers(&mut end), [(0, round), (1, round)]);
        gateway.hush();
        fs::remove_file(&path).unwrap();
        drop(end);
        gateway.says("port gone", |news| matches!(news, News::SerialAway { .. }));
    }
    let status = gateway.stop();
    assert_eq!((status.frames, status.damaged), (2, 2), "{status}");
}
