//! Text as other programs write it, and what errors show of it.

use super::*;

const ROWS: [f32; 4] = [1.0, 2.0, 3.0, -4.5];

fn utf16(text: &str, little: bool, mark: bool) -> Vec<u8> {
    let mark = if mark { "\u{feff}" } else { "" };
    let bytes = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
    mark.encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
}

#[test]
fn lines_end_in_any_way() {
    for end in ["\n", "\r\n", "\r", "\r\r\n", "\n\r"] {
        let text = ["a,b,y", "1,2,0", "", "3,-4.5,1"].join(end);
        assert_eq!(features(&text, 2, csv_format()), ROWS, "{end:?}");
        assert_eq!(features(text + end, 2, csv_format()), ROWS, "{end:?}");
    }
    assert_eq!(features("a,b,y\r1,2,0\r\n3,-4.5,1\n", 2, csv_format()), ROWS);
}

/// A CR LF that falls on two fills of the buffer is one line end.
#[test]
fn line_ends_on_two_buffers_are_one() {
    struct Bytes(Vec<u8>, usize);
    impl std::io::Read for Bytes {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            unreachable!("lines are read from the buffer")
        }
    }
    impl std::io::BufRead for Bytes {
        fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
            Ok(&self.0[self.1..self.0.len().min(self.1 + 1)])
        }
        fn consume(&mut self, bytes: usize) {
            self.1 += bytes;
        }
    }
    let head = Cursor::new(b"a,b,".to_vec());
    let rest = Bytes(b"y\r\n1,2,0\r\n\r\n3,four,1\r\n".to_vec(), 0);
    let source = Source { path: "t".into(), reader: Box::new(std::io::BufReader::with_capacity(4, head)) };
    let source = Source { reader: Box::new(std::io::Read::chain(source.reader, rest)), ..source };
    let mut table = Table::open(source, Dialect::default()).unwrap();
    assert!(table.advance().unwrap() && table.number(1).unwrap() == 2.0 && table.line() == 2);
    assert!(table.advance().unwrap() && table.number(1).is_err() && table.line() == 4);
    assert!(!table.advance().unwrap());
}

#[test]
fn utf16_is_read() {
    let text = "a,b,y,größe 🌡\r\n1,2,0,x\n3,-4.5,1,🌡\n";
    let except = Csv { columns: Columns::Except(vec!["größe 🌡".into()]), ..csv_format() };
    for (little, mark) in [(true, true), (false, true), (true, false), (false, false)] {
        assert_eq!(features(utf16(text, little, mark), 2, except.clone()), ROWS);
    }
    // Pairs of surrogates fall on the ends of chunks, whichever parity they begin with.
    for pad in ["", "x"] {
        let name = format!("{pad}{}", "🌡".repeat(20_000));
        let except = Csv { columns: Columns::Except(vec![name.clone()]), ..csv_format() };
        assert_eq!(features(utf16(&format!("a,b,y,{name}\n1,2,0,\n"), true, true), 1, except), ROWS[..2]);
    }
    // Halves of characters spoil no more than their cell.
    let mut odd = utf16("a,b,y,n\n1,2,0,", true, true);
    odd.extend([0x00, 0xd8, b'\n', 0, b'x']);
    let only = Csv { columns: Columns::Only(vec!["a".into(), "b".into()]), ..csv_format() };
    assert!(matches!(csv_load(odd, 1, only), Err(DataError::Ragged { line: 3, .. })));
    let no_text = csv_load(b"\0\0\0a,b,y\n1,2,0\n", 1, csv_format()).unwrap_err();
    assert!(matches!(no_text, DataError::NotText { .. }), "{no_text}");
}

#[test]
fn other_encodings_spoil_no_more_than_their_cells() {
    let latin = b"a,b,y,gr\xf6\xdfe\n1,2,0,\xb0C\n3,-4.5,1,\n";
    let only = Csv { columns: Columns::Only(vec!["a".into(), "b".into()]), ..csv_format() };
    assert_eq!(features(latin, 2, only), ROWS);
    let named = Csv { columns: Columns::Except(vec!["größe".into()]), ..csv_format() };
    let error = csv_load(latin, 2, named).unwrap_err().to_string();
    assert!(error.contains("its header is not in UTF-8"), "{error}");
}

#[test]
fn gzip_is_read_to_its_end() {
    let text = b"a,b,y\n1,2,0\n3,-4.5,1\n";
    let packed = gzip(text);
    let padded = [&packed[..], &[0; 100_000]].concat();
    assert_eq!(features(&padded, 2, csv_format()), ROWS);
    let members = [gzip(&text[..9]), gzip(&text[9..])].concat();
    assert_eq!(features(&members, 2, csv_format()), ROWS);
    for behind in [&b"more"[..], b"\0\0more", b"\x1f\x8c"] {
        let error = csv_load([&packed[..], behind].concat(), 2, csv_format()).unwrap_err();
        assert!(matches!(error, DataError::Read { .. }), "{error}");
    }
    // Zeros part no members: gzip itself ends there.
    let error = csv_load([&members[..], &[0; 3], &packed[..]].concat(), 2, csv_format()).unwrap_err();
    assert!(error.to_string().contains("other bytes follow its gzip stream"), "{error}");
}

#[test]
fn a_cell_ends_in_its_line() {
    let quote = |text: &str| match csv_load(text, 2, csv_format()) {
        Err(DataError::Quote { opens, closes, .. }) => (opens, closes),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(quote("a,b,y\n1,2,0\n3,\"4,1\n5,6,0\n"), (3, None));
    assert_eq!(quote("a,b,y\n1,\"2,0\n\n3,4\",1\n5,6,0\n"), (2, Some(4)));
    assert_eq!(quote("a,\"b\n\",y\n1,2,0\n"), (1, Some(2)));
    assert_eq!(quote("a,b,y\r1,2,\"0\r3,4,1\r\"\r"), (2, Some(4)));
    assert_eq!(quote("a,b,y\n1,2,\"\n"), (2, None));
    // A quote inside of a cell that has none before it is a character.
    let only = Csv { columns: Columns::Only(vec!["a".into(), "b".into()]), ..csv_format() };
    assert_eq!(features("a,b,note,y\n1,2,5\" wide,0\n3,-4.5,\"x\"\" y\",1\n", 2, only), ROWS);
    let (said, long) = (
        csv_load("a,b,y\n1,\"2,0\n3,4\",1\n", 2, csv_format()).unwrap_err(),
        DataError::Quote { path: "t.csv".into(), opens: 7, closes: None },
    );
    assert!(said.to_string().contains("t.csv:2: a quote opens here and closes in line 3"), "{said}");
    assert!(long.to_string().contains("t.csv:7: a quote opens here and is never closed"), "{long}");
}

#[test]
fn errors_show_a_line_without_control_characters() {
    let wide = format!("\u{1b}[31m{}", "w".repeat(5000));
    for text in [
        format!("{wide},b,z\n1,2,0\n"),
        format!("a,b,y\n1,{wide},0\n"),
        format!("{wide},b,y\nx,2,0\n"),
        format!("{}y,y\n1,2\n", format!("{wide},").repeat(60)),
    ] {
        let error = csv_load(text, 1, csv_format()).unwrap_err().to_string();
        assert!(error.len() < 4000 && !error.contains(char::is_control), "{error}");
    }
    let format = Csv { test: TestSet::File("u.csv".into()), ..csv_format() };
    let dir = Dir::new().with("t.csv", "a,b,y\n1,2,0\n").with("u.csv", format!("{wide},b,y\n1,2,0\n"));
    let error = load(&csv_job(1, 1, format), &dir.0).unwrap_err().to_string();
    assert!(error.len() < 400 && !error.contains(char::is_control), "{error}");
}
