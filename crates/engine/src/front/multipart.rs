//! `multipart/form-data`, as far as ClickHouse's clients use it: short text fields.

use std::convert::Infallible;
use std::fmt;

use bytes::Bytes;
use futures_util::stream;
use multer::Multipart;

use crate::error::{Exception, code};

/// The most fields of one form; a statement with more parameters is not written by a person.
const FIELD_COUNT_MAX: usize = 1000;

/// The boundary named by a `Content-Type`, if it is a form.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    multer::parse_boundary(content_type).ok()
}

/// The fields of a form as pairs of name and value. Uploaded files (external tables) are refused.
pub(super) async fn fields(
    body: Bytes,
    boundary: String,
) -> Result<Vec<(String, String)>, Exception> {
    let mut form = Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), boundary);
    let mut found = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| malformed(&error))? {
        if field.file_name().is_some() {
            return Err(Exception::new(
                code::NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                "External tables in a form are not supported by the embedded engine",
            ));
        }
        if found.len() == FIELD_COUNT_MAX {
            return Err(malformed(&"it has too many fields"));
        }
        let name = field.name().map(str::to_owned);
        let name = name.ok_or_else(|| malformed(&"a field has no name"))?;
        let value = field.bytes().await.map_err(|error| malformed(&error))?;
        found.push((name, String::from_utf8_lossy(&value).into_owned()));
    }
    Ok(found)
}

fn malformed(why: &dyn fmt::Display) -> Exception {
    Exception::new(
        code::BAD_ARGUMENTS,
        "BAD_ARGUMENTS",
        format!("The multipart form is malformed: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(body: &'static [u8]) -> Result<Vec<(String, String)>, Exception> {
        let boundary = boundary("multipart/form-data; boundary=b").unwrap();
        fields(Bytes::from_static(body), boundary).await
    }

    #[tokio::test]
    async fn fields_are_taken_as_they_are() {
        let found = read(
            b"--b\r\nContent-Disposition: form-data; name=\"param_x\"\r\n\r\na\r\nb\r\n\
            --b\r\ncontent-disposition: form-data; name=\"query\"\r\n\r\nSELECT {x:String}\r\n--b--\r\n",
        )
        .await
        .unwrap();
        assert_eq!(found[0], ("param_x".to_owned(), "a\r\nb".to_owned()));
        assert_eq!(found[1].1, "SELECT {x:String}");
    }

    #[tokio::test]
    async fn damage_is_an_error() {
        for body in [&b""[..], b"--b", b"--b\r\n", b"--b\r\nx\r\n--b--", b"--c--"] {
            assert!(read(body).await.is_err(), "{body:?}");
        }
        let file =
            b"--b\r\nContent-Disposition: form-data; name=\"t\"; filename=\"t\"\r\n\r\n\r\n--b--";
        assert_eq!(read(file).await.unwrap_err().code, code::NOT_IMPLEMENTED);
    }
}
