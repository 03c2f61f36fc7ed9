//! A signed command in a file, while it travels between those who approve it.
//!
//! Its canonical bytes, dressed as text. What it asks is in the bytes; `tidegate approval list` says
//! it in words.
use crate::{armour, failure::Failure, keys};
use std::{io, path::Path};
use tidegate_domain::{SignedCommand, command::ENVELOPE_BYTES_MAX};

const LABEL: &str = "TIDEGATE COMMAND";

/// Writes a command to a new file.
pub(crate) fn create(path: &Path, signed: &SignedCommand) -> Result<(), Failure> {
    keys::create_durably(path, 0o644, to_text(signed).as_bytes()).map_err(|error| {
        let failure = Failure::refused(format!("cannot write {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::AlreadyExists => failure.next(
                "name another file: a command that others may have signed is not overwritten",
            ),
            _ => failure,
        }
    })
}

/// Replaces a command by the same one with more signatures.
pub(crate) fn replace(path: &Path, signed: &SignedCommand) -> Result<(), Failure> {
    keys::replace_durably(path, to_text(signed).as_bytes())
        .map_err(|error| Failure::refused(format!("cannot write {}: {error}", path.display())))
}

/// Reads a command. Nothing is verified.
pub(crate) fn read(path: &Path) -> Result<SignedCommand, Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    from_text(&text).map_err(|problem| {
        Failure::usage(format!("{name} is no command file: {problem}"))
            .next("--collect FILE at any command that changes something writes one")
    })
}

fn to_text(signed: &SignedCommand) -> String {
    armour::dress(LABEL, &signed.to_bytes())
}

fn from_text(text: &str) -> Result<SignedCommand, String> {
    let bytes = armour::undress(LABEL, text, ENVELOPE_BYTES_MAX)?;
    SignedCommand::from_bytes(&bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_domain::{
        command::{Base, Proposal, Tick, seal},
        id::{CommandId, Epoch, LogTime},
        signature::SigningKey,
    };

    fn signed() -> SignedCommand {
        let proposal = Proposal {
            origin: "fleet.example".to_owned(),
            id: CommandId([9; 16]),
            epoch: Epoch(1),
            not_before: LogTime(1),
            not_after: LogTime(2),
            base: Base::genesis("fleet.example"),
            command: Tick {}.into(),
            expected_revision: None,
        };
        seal(&proposal, &[&SigningKey::from_bytes(&[1; 32])])
    }

    #[test]
    fn a_command_comes_back_from_its_text() {
        let text = to_text(&signed());
        assert!(text.lines().all(|line| line.len() <= 64), "{text}");
        assert_eq!(from_text(&text), Ok(signed()));
        assert_eq!(from_text(&text.replace('\n', "\r\n")), Ok(signed()));
    }

    #[test]
    fn every_flipped_character_is_noticed_or_changes_the_command() {
        let text = to_text(&signed());
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let read = from_text(std::str::from_utf8(&bytes).unwrap());
            assert_ne!(read, Ok(signed()), "character {at}");
        }
    }
}
