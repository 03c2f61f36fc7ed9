//! What a signature over a command covers: DSSE's pre-authentication encoding (PAE).

/// The payload type of every command envelope.
pub const COMMAND_PAYLOAD_TYPE: &str = "application/vnd.tidegate.command.v1+cbor";
/// Most bytes of a PAE: what a KMS signs raw.
pub const PAE_BYTES_MAX: usize = 4_096;

/// The bytes that an approver of a command signs.
///
/// # Errors
/// [`PaeTooLong`]: put large arguments in by digest.
pub fn command_pae(body: &[u8]) -> Result<Vec<u8>, PaeTooLong> {
    pae(COMMAND_PAYLOAD_TYPE, body)
}

/// `"DSSEv1" SP len(type) SP type SP len(body) SP body`, lengths in ASCII decimal
/// (<https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>).
///
/// # Errors
/// [`PaeTooLong`] above [`PAE_BYTES_MAX`].
pub fn pae(payload_type: &str, body: &[u8]) -> Result<Vec<u8>, PaeTooLong> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        body.len()
    );
    let bytes = head.len().saturating_add(body.len());
    if bytes > PAE_BYTES_MAX {
        return Err(PaeTooLong { bytes });
    }
    let mut out = head.into_bytes();
    out.extend_from_slice(body);
    Ok(out)
}

/// The bytes to sign are more than a KMS signs raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes to sign are more than {PAE_BYTES_MAX}; put large arguments in by digest")]
pub struct PaeTooLong {
    /// Bytes that the PAE would have.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pae_is_the_example_of_the_dsse_protocol_page() {
        let pae = pae("http://example.com/HelloWorld", b"hello world").unwrap();
        assert_eq!(
            pae,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn the_limit_counts_the_whole_pae() {
        let overhead = command_pae(&[]).unwrap().len();
        let longest = vec![0; PAE_BYTES_MAX - overhead - 3];
        assert_eq!(command_pae(&longest).unwrap().len(), PAE_BYTES_MAX);
        let one_more = vec![0; longest.len() + 1];
        assert_eq!(
            command_pae(&one_more),
            Err(PaeTooLong {
                bytes: PAE_BYTES_MAX + 1
            })
        );
    }
}
