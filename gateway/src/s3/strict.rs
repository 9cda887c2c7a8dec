//! Whether a document was understood whole. s3s passes over elements that it does not know, reads the digits that a text
//! begins with, and keeps no trace of either. So what it made of a document is written out again, and must say the same: a
//! rule that was misspelt is refused and not forgotten.

use crate::error::{Error, Result};
use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};
use s3s::dto::{Timestamp, TimestampFormat};

/// An element with its text, or with the elements inside of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    name: String,
    text: String,
    inside: Vec<Element>,
}

/// `sent` came from a client, `understood` is the same document as s3s writes it.
pub fn check(sent: &[u8], understood: &[u8]) -> Result<()> {
    let unread = || Error::MalformedXml("The XML you provided was not well-formed or did not validate");
    let (sent, understood) = (tree(sent).ok_or_else(unread)?, tree(understood).ok_or_else(unread)?);
    if sent.name == understood.name && says_the_same(&sent, &understood) { Ok(()) } else { Err(unread()) }
}

fn says_the_same(sent: &Element, understood: &Element) -> bool {
    if sent.inside.is_empty() && understood.inside.is_empty() {
        return is_same_text(sent, understood);
    }
    // Text between elements holds nothing but the space of an indentation.
    if !sent.text.trim().is_empty() {
        return false;
    }
    // s3s writes elements in an order of its own; those of one name stay in theirs.
    let names = sent.inside.iter().chain(&understood.inside).map(|element| element.name.as_str());
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().all(|name| {
        let of_name = |element: &&Element| element.name == name;
        let (mut sent, mut understood) = (sent.inside.iter().filter(of_name), understood.inside.iter().filter(of_name));
        loop {
            match (sent.next(), understood.next()) {
                (None, None) => return true,
                (Some(sent), Some(understood)) if says_the_same(sent, understood) => {}
                // A list that was left out is written as an empty one.
                (None, Some(added)) if added.inside.is_empty() && added.text.is_empty() => {}
                _ => return false,
            }
        }
    })
}

fn is_same_text(sent: &Element, understood: &Element) -> bool {
    let instant = |text: &str| Timestamp::parse(TimestampFormat::DateTime, text).ok();
    sent.text == understood.text
        || (understood.text.is_empty() && sent.text.trim().is_empty())
        || (matches!(understood.text.as_str(), "true" | "false") && sent.text.eq_ignore_ascii_case(&understood.text))
        || (sent.name == "Date" && instant(&sent.text).is_some() && instant(&sent.text) == instant(&understood.text))
}

/// The root of a document that `guard/xml.rs` let through: its depth is bounded.
fn tree(document: &[u8]) -> Option<Element> {
    let mut reader = Reader::from_reader(document);
    let mut open = vec![Element::default()];
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => open.push(element(&start)?),
            Event::Empty(start) => open.last_mut()?.inside.push(element(&start)?),
            Event::End(_) => {
                let closed = open.pop()?;
                open.last_mut()?.inside.push(closed);
            }
            Event::Text(text) => open.last_mut()?.text.push_str(std::str::from_utf8(&text).ok()?),
            Event::GeneralRef(entity) => {
                let name = std::str::from_utf8(&entity).ok()?;
                let text = &mut open.last_mut()?.text;
                match resolve_xml_entity(name) {
                    Some(value) => text.push_str(value),
                    None => text.push(entity.resolve_char_ref().ok()??),
                }
            }
            Event::Decl(_) | Event::Comment(_) => {}
            Event::CData(_) | Event::DocType(_) | Event::PI(_) => return None,
            Event::Eof => break,
        }
    }
    let outside = open.pop().filter(|outside| open.is_empty() && outside.text.trim().is_empty())?;
    let mut roots = outside.inside.into_iter();
    let root = roots.next()?;
    if roots.next().is_some() { None } else { Some(root) }
}

/// Attributes hold the names of namespaces and types only.
fn element(start: &BytesStart<'_>) -> Option<Element> {
    for attribute in start.attributes() {
        let name = attribute.ok()?.key;
        if !name.as_ref().starts_with(b"xmlns") && name.as_ref() != b"xsi:type" {
            return None;
        }
    }
    Some(Element { name: std::str::from_utf8(start.name().as_ref()).ok()?.to_owned(), ..Default::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(sent: &str, understood: &str) -> bool {
        check(sent.as_bytes(), understood.as_bytes()).is_ok()
    }

    #[test]
    fn order_space_and_forms_of_one_value_are_free() {
        assert!(same("<a xmlns='u'>\n <b>1</b> <c/>\n</a>", "<a><c></c><b>1</b></a>"));
        assert!(same("<?xml version='1.0'?><!-- x --><a>&lt;&#65;</a>\n", "<a>&lt;A</a>"));
        assert!(same("<a><b>TRUE</b></a>", "<a><b>true</b></a>"));
        assert!(same("<a><b>1</b></a>", "<a><b>1</b><c></c></a>"));
        assert!(same("<a><b>\n</b></a>", "<a><b></b></a>"));
        assert!(same("<a><Date>2026-01-01T00:00:00Z</Date></a>", "<a><Date>2026-01-01T00:00:00.000Z</Date></a>"));
    }

    #[test]
    fn what_got_lost_is_noticed() {
        for (sent, understood) in [
            ("<a><b>1</b><x>2</x></a>", "<a><b>1</b></a>"),
            ("<a><b>1e3</b></a>", "<a><b>1</b></a>"),
            ("<a><b>01</b></a>", "<a><b>1</b></a>"),
            ("<a><b>x</b><b>y</b></a>", "<a><b>y</b><b>x</b></a>"),
            ("<a><b>x</b><b>y</b></a>", "<a><b>x</b></a>"),
            ("<a>text<b>x</b></a>", "<a><b>x</b></a>"),
            ("<a><b c='d'>x</b></a>", "<a><b>x</b></a>"),
            ("<a><b>x</b></a>", "<a><b>x</b><c>y</c></a>"),
            ("<a/>", "<b/>"),
            ("<a/><a/>", "<a/>"),
            ("<a>b</a>", "<a>b </a>"),
            ("<a><Date>2026-01-01T00:00:00Z</Date></a>", "<a><Date>2026-01-02T00:00:00.000Z</Date></a>"),
            ("<a><Date>2026</Date></a>", "<a><Date>2027</Date></a>"),
            ("", "<a/>"),
            ("x", "<a/>"),
        ] {
            assert!(!same(sent, understood), "{sent}");
        }
    }
}
