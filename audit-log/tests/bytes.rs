//! Bytes that are almost right: entries, bodies and detached bodies are refused for the reason
//! and at the place that is wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use tidegate_audit_log::canonical::{self, CanonicalError, NESTING_MAX, Reason};
use tidegate_audit_log::detached::{Commitment, DetachedBody, DetachedError};
use tidegate_audit_log::entry::{BODY_BYTES_MAX, ENTRY_BYTES_MAX, EntryError, HEADER_BYTES};
use tidegate_audit_log::{ChainHash, Entry, EntryHeader, Kind};

fn header() -> EntryHeader {
    EntryHeader {
        detached: false,
        kind: Kind(0x0102),
        index: 3,
        raft_term: 4,
        t_ms: 5,
        key_epoch: 6,
        prev_chain: ChainHash([7; 32]),
    }
}

#[test]
fn header_fields_stand_where_the_layout_says() {
    let entry = EntryHeader {
        detached: true,
        ..header()
    }
    .encode(&[0xf6])
    .unwrap();
    let expected = [
        "54444731",
        "01",
        "01",
        "0102",
        "0000000000000003",
        "0000000000000004",
        "0000000000000005",
        "00000006",
        "00000001",
        &"07".repeat(32),
        "f6",
    ];
    assert_eq!(hex::encode(&entry), expected.concat());
}

#[test]
fn errors_name_the_field() {
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: EntryError, word: &str| {
        let mut entry = header().encode(&[0xf6]).unwrap();
        change(&mut entry);
        assert_eq!(Entry::parse(&entry), Err(expected));
        assert!(expected.to_string().starts_with(word), "{expected}");
    };
    check(
        &|e| e[0] = b'X',
        EntryError::Magic { found: *b"XDG1" },
        "magic",
    );
    check(&|e| e[4] = 2, EntryError::Version { found: 2 }, "version");
    check(&|e| e[5] = 2, EntryError::Flags { found: 2 }, "flags");
    check(
        &|e| e[39] = 2,
        EntryError::BodyLen {
            stated: 2,
            actual: 1,
        },
        "body_len",
    );
    check(
        &|e| e.push(0),
        EntryError::BodyLen {
            stated: 1,
            actual: 2,
        },
        "body_len",
    );
    check(
        &|e| e.truncate(71),
        EntryError::TooShort { bytes: 71 },
        "entry",
    );
    check(
        &|e| e.resize(70_000, 0),
        EntryError::TooLong { bytes: 70_000 },
        "entry",
    );
}

#[test]
fn the_largest_body_fits_and_no_larger() {
    let entry = header().encode(&vec![0; BODY_BYTES_MAX]).unwrap();
    assert_eq!(entry.len(), ENTRY_BYTES_MAX);
    assert!(Entry::parse(&entry).is_ok());
    let error = header().encode(&vec![0; BODY_BYTES_MAX + 1]);
    assert_eq!(
        error,
        Err(EntryError::TooLong {
            bytes: ENTRY_BYTES_MAX + 1
        })
    );
    assert_eq!(HEADER_BYTES, 72);
}

fn check(hex_digits: &str, expected: Result<(), (usize, Reason)>) {
    let found = canonical::check(&hex::decode(hex_digits).unwrap());
    let expected = expected.map_err(|(offset, reason)| CanonicalError { offset, reason });
    assert_eq!(found, expected, "{hex_digits}");
}

#[test]
fn deterministic_bodies_are_accepted() {
    for body in [
        "00",
        "17",
        "1818",
        "18ff",
        "190100",
        "1a00010000",
        "1b0000000100000000",
        "20",
        "37",
        "3818",
        "1bffffffffffffffff",
        "40",
        "5818000000000000000000000000000000000000000000000000",
        "60",
        "62c3bc",
        "80",
        "820102",
        "a0",
        "a10000",
        "a2000001f6",
        "a3000118180220f5",
        "a2182000190100f4",
        "83f4f5f6",
        "a101a10182a0a0",
    ] {
        check(body, Ok(()));
    }
}

#[test]
fn anything_else_is_refused_where_it_stands() {
    use Reason::*;
    for (body, offset, reason) in [
        ("", 0, Truncated),
        ("18", 0, Truncated),
        ("8201", 2, Truncated),
        ("4201", 0, Truncated),
        ("a101", 2, Truncated),
        ("5bffffffffffffffff00", 0, Truncated),
        ("bbffffffffffffffff00", 0, Truncated),
        ("9bffffffffffffffff", 9, Truncated),
        ("0000", 1, TrailingBytes),
        ("a000", 1, TrailingBytes),
        ("1817", 0, NotShortest),
        ("1900ff", 0, NotShortest),
        ("1a0000ffff", 0, NotShortest),
        ("1b00000000ffffffff", 0, NotShortest),
        ("3817", 0, NotShortest),
        ("580100", 0, NotShortest),
        ("980100", 0, NotShortest),
        ("b8010000", 0, NotShortest),
        ("5f4100ff", 0, IndefiniteLength),
        ("9f00ff", 0, IndefiniteLength),
        ("bf0000ff", 0, IndefiniteLength),
        ("81ff", 1, IndefiniteLength),
        ("1f", 0, Reserved),
        ("1c", 0, Reserved),
        ("7e", 0, Reserved),
        ("c000", 0, Tag),
        ("81d8184100", 1, Tag),
        ("f93c00", 0, Float),
        ("fb3ff0000000000000", 0, Float),
        ("f7", 0, SimpleValue),
        ("e0", 0, SimpleValue),
        ("f8ff", 0, SimpleValue),
        ("a1616100", 1, KeyNotInteger),
        ("a1f500", 1, KeyNotInteger),
        ("a1410000", 1, KeyNotInteger),
        ("a201000000", 3, KeyOrder),
        ("a201000100", 3, KeyOrder),
        ("a220000000", 3, KeyOrder),
        ("a221002000", 3, KeyOrder),
        ("61ff", 0, NotUtf8),
        ("62c328", 0, NotUtf8),
    ] {
        check(body, Err((offset, reason)));
    }
}

#[test]
fn nesting_has_a_limit() {
    let deep = |levels: usize| "81".repeat(levels) + "00";
    check(&deep(NESTING_MAX), Ok(()));
    check(&deep(NESTING_MAX + 1), Err((NESTING_MAX, Reason::TooDeep)));
    // Siblings do not add up.
    check(&("98ff".to_owned() + &"8100".repeat(255)), Ok(()));
}

/// A body as a tree of what is allowed, so that its one deterministic encoding can be written.
#[derive(Clone, Debug)]
enum Item {
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Item>),
    Map(std::collections::BTreeMap<u64, Item>),
    Bool(bool),
    Null,
}

fn write(item: &Item, encoder: &mut minicbor::Encoder<&mut Vec<u8>>) {
    match item {
        Item::Int(value) => drop(encoder.i64(*value).unwrap()),
        Item::Bytes(value) => drop(encoder.bytes(value).unwrap()),
        Item::Text(value) => drop(encoder.str(value).unwrap()),
        Item::Bool(value) => drop(encoder.bool(*value).unwrap()),
        Item::Null => drop(encoder.null().unwrap()),
        Item::Array(items) => {
            encoder.array(u64::try_from(items.len()).unwrap()).unwrap();
            items.iter().for_each(|item| write(item, encoder));
        }
        Item::Map(items) => {
            encoder.map(u64::try_from(items.len()).unwrap()).unwrap();
            for (key, item) in items {
                encoder.u64(*key).unwrap();
                write(item, encoder);
            }
        }
    }
}

fn item() -> impl Strategy<Value = Item> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Item::Int),
        (-300i64..300).prop_map(Item::Int),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Item::Bytes),
        "\\PC{0,20}".prop_map(Item::Text),
        any::<bool>().prop_map(Item::Bool),
        Just(Item::Null),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Item::Array),
            prop::collection::btree_map(any::<u64>(), inner, 0..6).prop_map(Item::Map),
        ]
    })
}

proptest! {
    #[test]
    fn what_minicbor_writes_is_deterministic_and_no_part_of_it_is(item in item(), cut: prop::sample::Index) {
        let mut bytes = Vec::new();
        write(&item, &mut minicbor::Encoder::new(&mut bytes));
        prop_assert_eq!(canonical::check(&bytes), Ok(()));
        let cut = cut.index(bytes.len());
        prop_assert!(canonical::check(&bytes[..cut]).is_err());
        bytes.push(0);
        prop_assert_eq!(canonical::check(&bytes).unwrap_err().reason, Reason::TrailingBytes);
    }

    #[test]
    fn no_bytes_make_the_check_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = canonical::check(&bytes) {
            prop_assert!(error.offset <= bytes.len());
        }
        let _ = Entry::parse(&bytes);
        let _ = Commitment::decode(&bytes);
    }
}

#[test]
fn a_detached_body_has_a_fixed_form() {
    let body = DetachedBody::new([9; 32], b"erasable").unwrap();
    assert_eq!(
        body.file(),
        [b"TDB1".as_slice(), &[9; 32], b"erasable"].concat()
    );
    let entry_body = body.commitment().encode();
    let hashes = (
        hex::encode(body.commitment().blake3),
        hex::encode(body.commitment().sha256),
    );
    let expected = format!("a30108025820{}035820{}", hashes.0, hashes.1);
    assert_eq!(hex::encode(&entry_body), expected);
    assert_eq!(canonical::check(&entry_body), Ok(()));
    assert_eq!(Commitment::decode(&entry_body), Ok(*body.commitment()));
    let name = body.commitment().path();
    let sha256 = hex::encode(body.commitment().sha256);
    assert_eq!(name, format!("detached/{}/{sha256}", &sha256[..2]));

    let again = DetachedBody::from_file(body.file().to_vec()).unwrap();
    assert_eq!(
        (again.body(), again.commitment()),
        (b"erasable".as_slice(), body.commitment())
    );
    let other_salt = DetachedBody::new([8; 32], b"erasable").unwrap();
    assert_ne!(other_salt.commitment().sha256, body.commitment().sha256);
    assert_eq!(
        DetachedBody::from_file(b"TDB2".to_vec()),
        Err(DetachedError::Magic)
    );
    let short = DetachedBody::from_file(b"TDB1salt".to_vec());
    assert_eq!(short, Err(DetachedError::TooShort { bytes: 8 }));
}

#[test]
fn a_commitment_has_one_encoding() {
    let good = DetachedBody::new([9; 32], b"x")
        .unwrap()
        .commitment()
        .encode();
    let mut longer_integer = good.clone();
    longer_integer.splice(2..3, [0x18, 0x01]);
    let trailing = [good.as_slice(), &[0]].concat();
    let mut other_key = good.clone();
    other_key[1] = 0;
    for bad in [
        longer_integer,
        trailing,
        other_key,
        good[..good.len() - 1].to_vec(),
        Vec::new(),
    ] {
        assert_eq!(Commitment::decode(&bad), Err(DetachedError::Commitment));
    }
}
