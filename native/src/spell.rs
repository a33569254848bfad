//! The text of atoms that is the same in every dialect.

/// Appends a flonum as every dialect writes it; false, with nothing appended, where they differ or it is large or small.
pub fn flonum(value: f64, exact: bool, out: &mut Vec<u8>) -> bool {
    let size = value.abs();
    if !(size == 0.0 || (1e-4..1e15).contains(&size)) {
        return false;
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    // Of 15 digits, those that `%.15g` prints are the shortest that read back.
    if exact && text.iter().filter(|byte| byte.is_ascii_digit()).count() > 15 {
        return false;
    }
    out.extend_from_slice(text);
    true
}

/// Appends a blob.
pub fn blob_text(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"#${");
    out.reserve(2 * bytes.len() + 1);
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    out.push(b'}');
}
