//! Documents beside those of s3s. Those that are written here and not by s3s, whose types cannot say what has to be said: versions and delete markers
//! in one order, and metadata in a listing. The guard puts them in the place of s3s's.

use crate::error::{Error, Result};
use crate::guard::escape_into;
use crate::guard::xml::{self, Bounds};
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use s3s::Body;
use s3s::xml::{Deserialize, Deserializer};
use std::fmt::{self, Display, Write};

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

    /// Makes room for so many bytes more.
    pub fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes);
    }

    pub fn element(&mut self, name: &str, value: impl Display) {
        self.open(name);
        write!(Escaping(&mut self.text), "{value}").expect("a string takes all text");
        self.close(name);
    }

    /// An element whose text has nothing of the grammar: a number, a time, an id.
    pub fn plain(&mut self, name: &str, value: impl Display) {
        self.open(name);
        write!(self.text, "{value}").expect("a string takes all text");
        self.close(name);
    }

    /// Text that another document was asked for: a page has the same owner a thousand times.
    pub fn written(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn open(&mut self, name: &str) {
        self.text.push('<');
        self.text.push_str(name);
        self.text.push('>');
    }

    fn close(&mut self, name: &str) {
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
    }

    /// An element that is left out when there is nothing to say.
    pub fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.element(name, value);
        }
    }

    /// An element of elements.
    pub fn group(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        self.open(name);
        inside(self);
        self.close(name);
    }

    pub fn finish(mut self) -> Written {
        let root = self.root;
        write!(self.text, "</{root}>").expect("a string takes all text");
        Written(self.text.into())
    }
}

/// Writes into a document what its grammar would take for its own.
struct Escaping<'d>(&'d mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape_into(self.0, text);
        Ok(())
    }
}

/// The elements alone, for `Document::written`.
pub fn fragment(write: impl FnOnce(&mut Document)) -> String {
    let mut document = Document { text: String::new(), root: "" };
    write(&mut document);
    document.text
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
        document.group("Owner", |owner| owner.plain("ID", 7));
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
