//! Bounds XML documents. s3s parses them, knows no limit but their bytes, skips DTDs and drops CDATA, so that a key in
//! CDATA would be read as another key. The same parser goes over a document here first and remembers nothing of it.

use crate::error::Error;
use crate::limits;
use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;

/// How much of a document one operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub bytes: usize,
    pub nodes: usize,
    /// A policy is JSON, and its parser has bounds of its own.
    pub is_xml: bool,
}

impl Bounds {
    /// A list of keys or parts.
    pub const fn list(entries: usize) -> Self {
        Self { bytes: limits::LIST_DOCUMENT_BYTES_MAX, nodes: entries * limits::LIST_ENTRY_NODES_MAX, is_xml: true }
    }

    pub const LIFECYCLE: Self = Self {
        bytes: limits::LIFECYCLE_DOCUMENT_BYTES_MAX,
        nodes: limits::LIFECYCLE_RULES_MAX * limits::LIFECYCLE_RULE_NODES_MAX,
        is_xml: true,
    };

    pub const SMALL: Self = Self { bytes: limits::DOCUMENT_BYTES_MAX, nodes: limits::DOCUMENT_NODES_MAX, is_xml: true };

    pub const POLICY: Self = Self { is_xml: false, ..Self::SMALL };
}

/// Elements that hold a number, in any document that is parsed here.
const NUMBERS: [&[u8]; 1] = [b"PartNumber"];

/// Whether s3s may parse this document.
pub fn check(document: &[u8], bounds: Bounds) -> Result<(), Error> {
    if document.len() > bounds.bytes {
        return Err(Error::DocumentTooLarge { limit_bytes: bounds.bytes });
    }
    if !bounds.is_xml {
        return Ok(());
    }
    let refused = |what| Err(Error::MalformedXml(what));
    let mut reader = Reader::from_reader(document);
    let (mut depth, mut nodes) = (0_usize, 0_usize);
    // The text so far of an element that is a number. s3s reads the digits that a text begins with.
    let mut number: Option<Vec<u8>> = None;
    loop {
        let Ok(event) = reader.read_event() else { return refused("The document is not well-formed") };
        match event {
            Event::Start(start) => {
                depth += 1;
                nodes += 1;
                number = NUMBERS.contains(&start.local_name().as_ref()).then(Vec::new);
            }
            Event::Empty(_) | Event::Comment(_) => nodes += 1,
            Event::End(_) => {
                let Some(outside) = depth.checked_sub(1) else { return refused("An element ends that did not begin") };
                depth = outside;
                if number.take().is_some_and(|text| text.is_empty() || !text.iter().all(u8::is_ascii_digit)) {
                    return refused("A number has other characters than digits");
                }
            }
            Event::Text(text) => {
                if let Some(number) = &mut number {
                    number.extend_from_slice(&text);
                }
            }
            Event::DocType(_) => return refused("A document type is not accepted"),
            Event::CData(_) => return refused("CDATA is not accepted: escape the text"),
            Event::PI(_) => return refused("A processing instruction is not accepted"),
            Event::GeneralRef(entity) => {
                let name = std::str::from_utf8(&entity).unwrap_or_default();
                if resolve_xml_entity(name).is_none() && !matches!(entity.resolve_char_ref(), Ok(Some(_))) {
                    return refused("An entity is not defined");
                }
                if number.is_some() {
                    return refused("A number has other characters than digits");
                }
            }
            Event::Decl(_) => {}
            Event::Eof if depth == 0 => return Ok(()),
            Event::Eof => return refused("The document ends before its elements"),
        }
        if depth > limits::DOCUMENT_DEPTH_MAX || nodes > bounds.nodes {
            return refused("The document has too many elements, or too many inside of each other");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(document: &str) -> &'static str {
        check(document.as_bytes(), Bounds::SMALL).map_or_else(|error| error.answer().code, |()| "ok")
    }

    #[test]
    fn ordinary_documents_pass() {
        let delete = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- c --><Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Object><Key>a&amp;b&lt;&#10;&#x41;</Key></Object><Quiet/></Delete>";
        assert_eq!(code(delete), "ok");
        assert_eq!(code(""), "ok");
    }

    #[test]
    fn what_s3s_would_skip_is_refused() {
        for bad in [
            "<!DOCTYPE a><a/>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>",
            "<a>&b;</a>",
            "<a>x<![CDATA[y]]></a>",
            "<?php ?><a/>",
            "<a><b></a></b>",
            "</a>",
            "<a></a></a>",
            "<a>",
            "<a",
            "<a>&#xD800;</a>",
        ] {
            assert_eq!(code(bad), "MalformedXML", "{bad}");
        }
    }

    #[test]
    fn numbers_are_digits() {
        assert_eq!(code("<Part><PartNumber>12</PartNumber><ETag>1e0</ETag></Part>"), "ok");
        for bad in ["1e0", "-1", "+1", "0x1", " 1", "1&#50;", "", "1<!-- -->x"] {
            assert_eq!(code(&format!("<PartNumber>{bad}</PartNumber>")), "MalformedXML", "{bad}");
        }
    }

    #[test]
    fn documents_have_an_end() {
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert_eq!(code(&nested(limits::DOCUMENT_DEPTH_MAX)), "ok");
        assert_eq!(code(&nested(limits::DOCUMENT_DEPTH_MAX + 1)), "MalformedXML");
        let many = |count: usize| format!("<a>{}</a>", "<b/>".repeat(count));
        assert_eq!(code(&many(limits::DOCUMENT_NODES_MAX - 1)), "ok");
        assert_eq!(code(&many(limits::DOCUMENT_NODES_MAX)), "MalformedXML");
        assert_eq!(code(&"x".repeat(limits::DOCUMENT_BYTES_MAX + 1)), "MaxMessageLengthExceeded");
    }

    /// 10,000 parts with checksums and 1000 of the longest keys are what the protocol promises.
    #[test]
    fn the_longest_lists_pass() {
        let part = format!(
            "<Part><PartNumber>10000</PartNumber><ETag>&quot;{}&quot;</ETag><ChecksumSHA256>{}</ChecksumSHA256></Part>\n",
            "0".repeat(32),
            "A".repeat(44)
        );
        let parts = format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", part.repeat(limits::PARTS_MAX));
        assert!(check(parts.as_bytes(), Bounds::list(limits::PARTS_MAX)).is_ok());
        let key = format!("<Object><Key>{}</Key><VersionId>null</VersionId></Object>\n", "k".repeat(1024));
        let keys = format!("<Delete>{}</Delete>", key.repeat(limits::DELETE_KEYS_MAX));
        assert!(check(keys.as_bytes(), Bounds::list(limits::DELETE_KEYS_MAX)).is_ok());
    }
}
