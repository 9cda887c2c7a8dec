//! The XML of query APIs.

use crate::guard::escape;
use crate::s3::dates;
use http::{HeaderValue, Response, header};
use s3s::Body;

pub const CONTENT_TYPE: &str = "text/xml";

/// Elements, one after the other. Names are ours; values are escaped.
#[derive(Debug, Default)]
pub struct Xml(String);

impl Xml {
    pub fn text(&mut self, name: &str, value: &str) {
        self.0.push_str(&format!("<{name}>{}</{name}>", escape(value)));
    }

    pub fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    pub fn flag(&mut self, name: &str, value: bool) {
        self.text(name, if value { "true" } else { "false" });
    }

    pub fn date(&mut self, name: &str, ms: u64) {
        // Whole seconds, as IAM writes them: other stores' clients parse no fraction.
        self.text(name, &dates::iso_date(&dates::timestamp(ms)).replace(".000Z", "Z"));
    }

    pub fn element(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        self.0.push_str(&format!("<{name}>"));
        inside(self);
        self.0.push_str(&format!("</{name}>"));
    }

    /// A list of `member` elements.
    pub fn members<T>(&mut self, name: &str, items: impl IntoIterator<Item = T>, mut inside: impl FnMut(&mut Self, T)) {
        self.element(name, |list| {
            for item in items {
                list.element("member", |member| inside(member, item));
            }
        });
    }

    /// A list of `member` elements that are texts.
    pub fn texts<'t>(&mut self, name: &str, texts: impl IntoIterator<Item = &'t str>) {
        self.element(name, |list| texts.into_iter().for_each(|text| list.text("member", text)));
    }

    pub fn document(self, root: &str, namespace: &str) -> String {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"{namespace}\">{}</{root}>\n", self.0)
    }
}

pub fn success(action: &str, namespace: &str, result: Option<Xml>, request_id: &str) -> Response<Body> {
    let mut inside = Xml::default();
    if let Some(result) = result {
        inside.element(&format!("{action}Result"), |xml| xml.0.push_str(&result.0));
    }
    inside.element("ResponseMetadata", |metadata| metadata.text("RequestId", request_id));
    let mut answer = Response::new(Body::from(inside.document(&format!("{action}Response"), namespace)));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_escaped_and_dated() {
        let mut xml = Xml::default();
        xml.text("Path", "/<&>/");
        xml.date("CreateDate", 784_111_777_999);
        xml.members("Tags", [("a", "b")], |xml, (key, value)| {
            xml.text("Key", key);
            xml.text("Value", value);
        });
        xml.texts("Names", ["x"]);
        xml.optional("Nothing", None);
        assert_eq!(
            xml.document("R", "urn:x"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R xmlns=\"urn:x\"><Path>/&lt;&amp;&gt;/</Path>\
             <CreateDate>1994-11-06T08:49:37Z</CreateDate><Tags><member><Key>a</Key><Value>b</Value></member></Tags>\
             <Names><member>x</member></Names></R>\n"
        );
    }
}
