//! A configuration document that was accepted and kept, as a tree of elements. What a client sends is judged elsewhere, and
//! strictly; here a document is ours, and what cannot be read of it is as if it were not there.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    text: String,
    children: Vec<Node>,
}

impl Node {
    /// The document's root.
    pub fn parse(document: &[u8]) -> Option<Self> {
        let mut reader = Reader::from_reader(document);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => open.push(Self::named(start.local_name().as_ref())?),
                Event::Empty(start) => open.last_mut()?.children.push(Self::named(start.local_name().as_ref())?),
                Event::End(_) => {
                    let closed = open.pop()?;
                    open.last_mut()?.children.push(closed);
                }
                Event::Text(text) => open.last_mut()?.text.push_str(std::str::from_utf8(&text).ok()?),
                Event::GeneralRef(entity) => {
                    let text = &mut open.last_mut()?.text;
                    match resolve_xml_entity(std::str::from_utf8(&entity).ok()?) {
                        Some(value) => text.push_str(value),
                        None => text.push(entity.resolve_char_ref().ok()??),
                    }
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let [outside] = <[Self; 1]>::try_from(open).ok()?;
        outside.children.into_iter().next()
    }

    fn named(name: &[u8]) -> Option<Self> {
        Some(Self { name: std::str::from_utf8(name).ok()?.to_owned(), ..Self::default() })
    }

    pub fn all<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first such element.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    pub fn own_text(&self) -> &str {
        &self.text
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_texts_are_found() {
        let document = "<?xml version=\"1.0\"?><a xmlns=\"u\"><b>x &amp;&#65;</b><n> 7 </n><b>y</b><e/></a>";
        let root = Node::parse(document.as_bytes()).expect("a document");
        assert_eq!((root.name.as_str(), root.text("b"), root.number("n")), ("a", Some("x &A"), Some(7_u32)));
        assert_eq!(root.all("b").map(Node::own_text).collect::<Vec<_>>(), ["x &A", "y"]);
        assert_eq!((root.child("e").is_some(), root.text("z")), (true, None));
        assert!(Node::parse(b"<a><b></a>").is_none() && Node::parse(b"").is_none());
    }
}
