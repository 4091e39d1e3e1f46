//! `multipart/form-data`, as far as ClickHouse's clients use it: short text fields.

use crate::error::{Exception, code};

/// The most fields of one form; a statement with more parameters is not written by a person.
const FIELD_COUNT_MAX: usize = 1000;

/// The boundary named by a `Content-Type`, if it is a form.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    Some(value.trim_matches('"').to_owned())
}

/// The fields of a form as pairs of name and value. Uploaded files (external tables) are refused.
pub(super) fn fields(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, Exception> {
    let delimiter = format!("--{boundary}");
    let mut found = Vec::new();
    // The first delimiter has no line break before it.
    let mut rest = split(body, delimiter.as_bytes()).ok_or_else(malformed)?.1;
    let delimiter = format!("\r\n--{boundary}");
    while !rest.starts_with(b"--") {
        let part = rest.strip_prefix(b"\r\n").ok_or_else(malformed)?;
        let (part, after) = split(part, delimiter.as_bytes()).ok_or_else(malformed)?;
        let (headers, value) = split(part, b"\r\n\r\n").ok_or_else(malformed)?;
        let headers = String::from_utf8_lossy(headers);
        if parameter(&headers, "filename").is_some() {
            return Err(Exception::new(
                code::NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                "External tables in a form are not supported by the embedded engine",
            ));
        }
        let name = parameter(&headers, "name").ok_or_else(malformed)?;
        found.push((name, String::from_utf8_lossy(value).into_owned()));
        if found.len() > FIELD_COUNT_MAX {
            return Err(malformed());
        }
        rest = after;
    }
    Ok(found)
}

/// A quoted parameter of the `Content-Disposition` header.
fn parameter(headers: &str, name: &str) -> Option<String> {
    let line = headers.lines().find(|line| {
        line.to_ascii_lowercase()
            .starts_with("content-disposition:")
    })?;
    line.split(';').map(str::trim).find_map(|part| {
        let value = part
            .strip_prefix(name)?
            .strip_prefix("=\"")?
            .strip_suffix('"')?;
        Some(value.to_owned())
    })
}

fn split<'text>(text: &'text [u8], at: &[u8]) -> Option<(&'text [u8], &'text [u8])> {
    let index = text.windows(at.len()).position(|window| window == at)?;
    Some((text.get(..index)?, text.get(index + at.len()..)?))
}

fn malformed() -> Exception {
    Exception::new(
        code::BAD_ARGUMENTS,
        "BAD_ARGUMENTS",
        "The multipart form is malformed",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_as_they_are() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"param_x\"\r\n\r\na\r\nb\r\n\
            --b\r\ncontent-disposition: form-data; name=\"query\"\r\n\r\nSELECT {x:String}\r\n--b--\r\n";
        let found = fields(body, &boundary("multipart/form-data; boundary=b").unwrap()).unwrap();
        assert_eq!(found[0], ("param_x".to_owned(), "a\r\nb".to_owned()));
        assert_eq!(found[1].1, "SELECT {x:String}");
    }

    #[test]
    fn damage_is_an_error() {
        for body in [&b""[..], b"--b", b"--b\r\n", b"--b\r\nx\r\n--b--", b"--c--"] {
            assert!(fields(body, "b").is_err(), "{body:?}");
        }
        let file =
            b"--b\r\nContent-Disposition: form-data; name=\"t\"; filename=\"t\"\r\n\r\n\r\n--b--";
        assert_eq!(fields(file, "b").unwrap_err().code, code::NOT_IMPLEMENTED);
    }
}
