//! Documents beside those of s3s. Those that are written here and not by s3s, whose types cannot say what has to be said: versions and delete markers
//! in one order, and metadata in a listing. The guard puts them in the place of s3s's.

use crate::error::{Error, Result};
use crate::guard::escape_text;
use crate::guard::xml::{self, Bounds};
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use s3s::Body;
use s3s::xml::{Deserialize, Deserializer};
use std::fmt::{Display, Write};

/// A whole document, among an answer's extensions.
#[derive(Clone)]
pub struct Written(Bytes);

pub struct Document {
    text: String,
    root: &'static str,
}

impl Document {
    pub fn new(root: &'static str) -> Self {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        );
        Self { text, root }
    }

    pub fn element(&mut self, name: &str, value: impl Display) {
        let value = escape_text(&value.to_string());
        write!(self.text, "<{name}>{value}</{name}>").expect("a string takes all text");
    }

    /// An element that is left out when there is nothing to say.
    pub fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.element(name, value);
        }
    }

    /// An element of elements.
    pub fn group(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        write!(self.text, "<{name}>").expect("a string takes all text");
        inside(self);
        write!(self.text, "</{name}>").expect("a string takes all text");
    }

    pub fn finish(mut self) -> Written {
        let root = self.root;
        write!(self.text, "</{root}>").expect("a string takes all text");
        Written(self.text.into())
    }
}

/// The answer with the document that was written for it, if there is one.
pub fn replace(answer: Response<Body>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    let Some(Written(document)) = head.extensions.remove() else { return Response::from_parts(head, body) };
    head.headers.remove(header::TRANSFER_ENCODING);
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(document.len()));
    Response::from_parts(head, Body::from(document))
}

/// Reads a small document that did not come as a request's body, as strictly as one that did.
pub fn parse<T: for<'xml> Deserialize<'xml>>(document: &[u8]) -> Result<T> {
    xml::check(document, Bounds::SMALL)?;
    let wrong = |_| Error::MalformedXml("The document does not follow the published schema");
    let mut deserializer = Deserializer::new(document);
    let parsed = T::deserialize(&mut deserializer).map_err(wrong)?;
    deserializer.expect_eof().map_err(wrong)?;
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_escaped_and_put_in_place() {
        let mut document = Document::new("Root");
        document.element("Key", "a<b>&\"\r\u{1}ü");
        document.optional("Nothing", None::<u8>);
        document.group("Owner", |owner| owner.element("ID", 7));
        let mut answer = Response::new(Body::from("<Other/>".to_owned()));
        answer.extensions_mut().insert(document.finish());
        let answer = replace(answer);
        let body = answer.body().bytes().expect("a document");
        // Control characters become references later (`guard/control.rs`).
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Root xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                        <Key>a&lt;b&gt;&amp;&quot;\r\u{1}ü</Key><Owner><ID>7</ID></Owner></Root>";
        assert_eq!(body, expected);
        assert_eq!(answer.headers()["content-length"], expected.len().to_string());
    }
}
