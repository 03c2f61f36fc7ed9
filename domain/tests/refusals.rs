//! Refusals are chained: codes and numbers, and words only where people read them.
#![allow(clippy::unwrap_used, reason = "tests may panic")]
use minicbor::{Decode, Decoder, Encode, data::Type};
use std::{collections::BTreeSet, fmt::Write as _};
use tidegate_domain::{
    Applied, Rejection, canonical,
    rejection::{
        AdmissionLimit, AmendmentFault, Field, Limit, MalformedFault, MembershipFault,
        SignatureFault, SupersessionFault, TallyFault, TargetFault, Unauthorized, ValueFault,
    },
    rollout::LifeStage,
    signature::KeyFault,
    testing::{Fleet, Step, every_refusal},
};

/// Reads the next value, and takes every text string in it.
fn read_texts(from: &mut Decoder<'_>, texts: &mut Vec<String>) {
    match from.datatype().unwrap() {
        Type::String => texts.push(from.str().unwrap().to_owned()),
        Type::Array => {
            let items = from.array().unwrap().unwrap();
            (0..items).for_each(|_| read_texts(from, texts));
        }
        Type::Map => {
            let fields = from.map().unwrap().unwrap();
            (0..2 * fields).for_each(|_| read_texts(from, texts));
        }
        _ => from.skip().unwrap(),
    }
}

fn texts(bytes: &[u8]) -> Vec<String> {
    let (mut decoder, mut texts) = (Decoder::new(bytes), Vec::new());
    read_texts(&mut decoder, &mut texts);
    assert_eq!(decoder.position(), bytes.len(), "one value");
    texts
}

#[test]
fn no_refusal_records_a_text_that_nobody_named() {
    for refusal in every_refusal() {
        let bytes = canonical::encode(&refusal);
        assert_eq!(canonical::decode::<Rejection>(&bytes).unwrap(), refusal);
        for text in texts(&bytes) {
            assert!(text.starts_with("named-"), "{text:?} in {refusal:?}");
        }
    }
}

/// The numbers of an enum's variants: those that its decoder knows.
fn known<T: for<'b> Decode<'b, ()>>() -> BTreeSet<u8> {
    let knows = |number: &u8| {
        // `[number, []]`, or the bare number where no variant has fields.
        let forms = [vec![0x82, 0x18, *number, 0x80], vec![0x18, *number]];
        forms.iter().any(|form| match minicbor::decode::<T>(form) {
            Ok(_) => true,
            Err(why) => why.is_missing_value() || why.is_end_of_input(),
        })
    };
    (0..=u8::MAX).filter(knows).collect()
}

fn number<T: Encode<()>>(value: &T) -> u8 {
    let bytes = canonical::encode(value);
    let mut decoder = Decoder::new(&bytes);
    if decoder.datatype().unwrap() == Type::Array {
        assert_eq!(decoder.array().unwrap(), Some(2));
    }
    decoder.u8().unwrap()
}

/// Whether the list of every refusal has every variant of an enum.
#[track_caller]
fn check_all_listed<T: Encode<()> + for<'b> Decode<'b, ()>>(of: impl Fn(&Rejection) -> Vec<T>) {
    let listed = every_refusal();
    let listed: BTreeSet<u8> = listed.iter().flat_map(of).map(|v| number(&v)).collect();
    let known = known::<T>();
    assert!(known.len() > 3, "{known:?}");
    assert_eq!(listed, known);
}

/// What the tests here say of every refusal, they say of every refusal.
#[test]
fn the_list_of_refusals_leaves_none_out() {
    macro_rules! check {
        ($of:ident, $pattern:pat => $fault:expr) => {
            check_all_listed::<$of>(|refusal| match refusal {
                $pattern => $fault,
                _ => Vec::new(),
            });
        };
    }
    check_all_listed::<Rejection>(|refusal| vec![refusal.clone()]);
    check!(Unauthorized, Rejection::Unauthorized(why) => vec![why.clone()]);
    check!(MalformedFault, Rejection::Unauthorized(Unauthorized::Malformed { fault }) => vec![*fault]);
    check!(Field, Rejection::InvalidValue { field, .. } => vec![*field]);
    check!(ValueFault, Rejection::InvalidValue { fault, .. } => vec![fault.clone()]);
    check!(Limit, Rejection::LimitReached { what, .. } => vec![*what]);
    check!(KeyFault, Rejection::UnacceptableKey { fault, .. } => vec![*fault]);
    check!(SignatureFault, Rejection::ReleaseSignatureRefused { fault, .. } => vec![*fault]);
    check!(LifeStage, Rejection::WrongLife { needed, .. } => needed.clone());
    check!(TargetFault, Rejection::BadRollbackTarget { fault, .. } => vec![fault.clone()]);
    check!(AmendmentFault, Rejection::AmendmentRefused { fault } => vec![*fault]);
    check!(SupersessionFault, Rejection::CannotSupersede { fault, .. } => vec![*fault]);
    check!(TallyFault, Rejection::TallyInconsistent { fault, .. } => vec![*fault]);
    check!(AdmissionLimit, Rejection::NoAdmissions { limit } => vec![*limit]);
    check!(MembershipFault, Rejection::BadMembership { fault } => vec![*fault]);
}

/// The bytes of each refusal beside its words. The words may change; the bytes may not, since logs
/// hold them.
#[test]
fn refusals_have_their_golden_bytes_and_read_well() {
    let mut page = String::new();
    let mut texts = BTreeSet::new();
    for refusal in every_refusal() {
        let bytes = canonical::encode(&refusal);
        bytes
            .iter()
            .for_each(|byte| write!(page, "{byte:02x}").unwrap());
        writeln!(page, "\n    {refusal}").unwrap();
        let text = refusal.to_string();
        assert!(!text.contains("{ ") && !text.contains("Some("), "{text}");
        assert!(texts.insert(text), "{refusal} is said of two things");
    }
    insta::assert_snapshot!(page);
}

/// Whatever is text in an event or a refusal was signed by somebody, or is the cluster's name.
#[test]
fn no_entry_records_a_text_that_nobody_signed() {
    let mut seen = 0_usize;
    for seed in 0..40_u64 {
        let mut fleet = Fleet::furnished();
        for step in 0..80_u64 {
            // A cheap walk over all choices; what matters is that it is always the same.
            let dice = (seed * 80 + step + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let what = (dice >> 56) as u8;
            fleet.take(Step { what, dice });
        }
        let mut signed = fleet.state.meta().origin.clone().into_bytes();
        for (envelope, _, Applied { outcome, .. }) in &fleet.log {
            signed.extend(envelope);
            for text in texts(&canonical::encode(outcome)) {
                let bytes = text.as_bytes();
                let is_signed = signed.windows(bytes.len()).any(|window| window == bytes);
                assert!(is_signed, "{text:?} in {outcome:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 3_000, "{seen}");
}
