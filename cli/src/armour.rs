//! Bytes as text, so that they survive mail and chat: a first line, base64, a last line.
use base64::{Engine, prelude::BASE64_STANDARD};

const LINE: usize = 64;

/// Dresses bytes.
pub(crate) fn dress(label: &str, bytes: &[u8]) -> String {
    let encoded = BASE64_STANDARD.encode(bytes);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text + &format!("-----END {label}-----\n")
}

/// Undresses what [`dress`] made, at most `bytes_max` bytes; line ends may have changed.
pub(crate) fn undress(label: &str, text: &str, bytes_max: usize) -> Result<Vec<u8>, String> {
    // Four characters of base64 for three bytes, and room for line ends.
    let length_max = bytes_max.saturating_mul(3) / 2 + 1_024;
    if text.len() > length_max {
        return Err(format!("it has {} bytes, at most {length_max}", text.len()));
    }
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let body = text.trim().strip_prefix(&begin);
    let body = body.and_then(|rest| rest.strip_suffix(&end));
    let body = body.ok_or_else(|| format!("expected `{begin}` … `{end}`"))?;
    let encoded: String = body.split_ascii_whitespace().collect();
    BASE64_STANDARD
        .decode(encoded)
        .map_err(|error| format!("its base64 is damaged: {error}"))
}
