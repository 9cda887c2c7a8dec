//! A bucket as a website: what a request to `BUCKET.s3-website.DOMAIN` is answered with. The steps are pure; `guard/site.rs` takes
//! them.
//!
//! | step            | outcome                    | next                                                          |
//! |-----------------|----------------------------|---------------------------------------------------------------|
//! | begin           | everything is elsewhere    | redirect                                                      |
//! | begin           | a rule without a status    | redirect                                                      |
//! | begin           | otherwise                  | read the page; of a folder its index                          |
//! | page            | found                      | serve; redirect if the object says so                         |
//! | page            | missing, and not a folder  | read the index of the folder of this name                     |
//! | page            | missing or forbidden       | error 404 or 403                                              |
//! | index of folder | found                      | redirect to the folder                                        |
//! | index of folder | otherwise                  | error 404                                                     |
//! | error           | a rule with this status    | redirect                                                      |
//! | error           | an error document          | read it                                                       |
//! | error document  | found                      | serve with the error's status                                 |
//! | error document  | otherwise                  | fail                                                          |
//!
//! Source: "Hosting a static website using Amazon S3" and "Configuring a webpage redirect", Amazon S3 User Guide.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{Condition, Redirect, RedirectAllRequestsTo, RoutingRule, WebsiteConfiguration};

/// What a `Location` keeps of a key.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A request for a page.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// `http` or `https`: where a redirect leads that names none.
    pub scheme: &'static str,
    /// As the client named it, its port included.
    pub host: &'a str,
    /// The path without its first slash, decoded.
    pub path: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Redirect {
        status: u16,
        location: String,
    },
    Read {
        key: String,
        what: What,
    },
    /// The answer that was read; with the status of this error, where it is the document for one.
    Serve {
        error: Option<u16>,
    },
    Fail {
        status: u16,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Page,
    /// Whether a folder has an index.
    Index,
    /// The document for an error with this status.
    Error(u16),
}

/// What became of a step that reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// With its `x-amz-website-redirect-location`.
    Found(Option<String>),
    Missing,
    Forbidden,
}

pub fn begin(site: &WebsiteConfiguration, asked: Asked<'_>) -> Step {
    if let Some(RedirectAllRequestsTo { host_name, protocol }) = &site.redirect_all_requests_to {
        let protocol = protocol.as_ref().map_or(asked.scheme, |protocol| protocol.as_str());
        let location = format!("{protocol}://{host_name}/{}", encode(asked.path));
        return Step::Redirect { status: 301, location };
    }
    if let Some(redirect) = routed(site, asked, None) {
        return redirect;
    }
    Step::Read { key: page(site, asked.path), what: What::Page }
}

pub fn after(site: &WebsiteConfiguration, asked: Asked<'_>, what: What, read: Read) -> Step {
    match (what, read) {
        (What::Page, Read::Found(Some(location))) => Step::Redirect { status: 301, location },
        (What::Page, Read::Found(None)) => Step::Serve { error: None },
        (What::Page, Read::Missing) if !is_folder(asked.path) => {
            Step::Read { key: page(site, &format!("{}/", asked.path)), what: What::Index }
        }
        (What::Index, Read::Found(_)) => Step::Redirect { status: 302, location: format!("/{}/", encode(asked.path)) },
        (What::Page | What::Index, Read::Missing) | (What::Index, Read::Forbidden) => error(site, asked, 404),
        (What::Page, Read::Forbidden) => error(site, asked, 403),
        (What::Error(status), Read::Found(_)) => Step::Serve { error: Some(status) },
        (What::Error(status), Read::Missing | Read::Forbidden) => Step::Fail { status },
    }
}

fn error(site: &WebsiteConfiguration, asked: Asked<'_>, status: u16) -> Step {
    if let Some(redirect) = routed(site, asked, Some(status)) {
        return redirect;
    }
    match &site.error_document {
        Some(document) => Step::Read { key: document.key.clone(), what: What::Error(status) },
        None => Step::Fail { status },
    }
}

fn is_folder(path: &str) -> bool {
    path.is_empty() || path.ends_with('/')
}

fn page(site: &WebsiteConfiguration, path: &str) -> String {
    let suffix = site.index_document.as_ref().map_or("", |index| index.suffix.as_str());
    if is_folder(path) { format!("{path}{suffix}") } else { path.to_owned() }
}

/// The redirect of the first rule that applies: before anything is read to those that name no status, after an error to those
/// that name its status.
fn routed(site: &WebsiteConfiguration, asked: Asked<'_>, status: Option<u16>) -> Option<Step> {
    let rules = site.routing_rules.iter().flatten();
    rules.into_iter().find_map(|RoutingRule { condition, redirect }| {
        let Condition { http_error_code_returned_equals: code, key_prefix_equals: prefix } =
            condition.clone().unwrap_or_default();
        let prefix = prefix.unwrap_or_default();
        let applies = code.map(|code| code.parse().unwrap_or(0)) == status && asked.path.starts_with(&prefix);
        applies.then(|| to(redirect, asked, &prefix))
    })
}

fn to(redirect: &Redirect, asked: Asked<'_>, prefix: &str) -> Step {
    let protocol = redirect.protocol.as_ref().map_or(asked.scheme, |protocol| protocol.as_str());
    let host = redirect.host_name.as_deref().unwrap_or(asked.host);
    let key = match (&redirect.replace_key_with, &redirect.replace_key_prefix_with) {
        (Some(key), _) => key.clone(),
        (None, Some(other)) => format!("{other}{}", asked.path.strip_prefix(prefix).unwrap_or(asked.path)),
        (None, None) => asked.path.to_owned(),
    };
    let status = redirect.http_redirect_code.as_ref().and_then(|code| code.parse().ok()).unwrap_or(301);
    Step::Redirect { status, location: format!("{protocol}://{host}/{}", encode(&key)) }
}

fn encode(key: &str) -> String {
    utf8_percent_encode(key, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::document;

    fn site(inside: &str) -> WebsiteConfiguration {
        let document = format!("<WebsiteConfiguration>{inside}</WebsiteConfiguration>");
        document::parse(document.as_bytes()).expect("readable")
    }

    const INDEX: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";
    const ERROR: &str = "<ErrorDocument><Key>error.html</Key></ErrorDocument>";

    fn asked(path: &str) -> Asked<'_> {
        Asked { scheme: "http", host: "b.s3-website.test:9000", path }
    }

    /// The reads of a request and its end, for objects of these keys; `None` for all means that nobody may read.
    fn walk(site: &WebsiteConfiguration, path: &str, objects: Option<&[&str]>) -> (Vec<String>, Step) {
        let mut read = Vec::new();
        let mut step = begin(site, asked(path));
        while let Step::Read { key, what } = step {
            let outcome = match objects {
                None => Read::Forbidden,
                Some(objects) if objects.contains(&key.as_str()) => Read::Found(None),
                Some(_) => Read::Missing,
            };
            read.push(key);
            step = after(site, asked(path), what, outcome);
        }
        (read, step)
    }

    fn redirect(status: u16, location: &str) -> Step {
        Step::Redirect { status, location: location.to_owned() }
    }

    #[test]
    fn pages_indexes_and_folders() {
        let site = site(INDEX);
        let objects = ["index.html", "a.html", "docs/index.html"];
        let walk = |path| walk(&site, path, Some(&objects));
        assert_eq!(walk(""), (vec!["index.html".into()], Step::Serve { error: None }));
        assert_eq!(walk("a.html"), (vec!["a.html".into()], Step::Serve { error: None }));
        assert_eq!(walk("docs/"), (vec!["docs/index.html".into()], Step::Serve { error: None }));
        assert_eq!(walk("docs"), (vec!["docs".into(), "docs/index.html".into()], redirect(302, "/docs/")));
        assert_eq!(walk("none"), (vec!["none".into(), "none/index.html".into()], Step::Fail { status: 404 }));
        assert_eq!(walk("none/"), (vec!["none/index.html".into()], Step::Fail { status: 404 }));
    }

    #[test]
    fn errors_have_a_document_with_their_status() {
        let site = site(&format!("{INDEX}{ERROR}"));
        let reads = vec!["x/index.html".to_owned(), "error.html".to_owned()];
        assert_eq!(walk(&site, "x/", Some(&["error.html"])), (reads.clone(), Step::Serve { error: Some(404) }));
        assert_eq!(walk(&site, "x/", Some(&[])), (reads.clone(), Step::Fail { status: 404 }));
        assert_eq!(walk(&site, "x/", None), (reads, Step::Fail { status: 403 }));
    }

    #[test]
    fn everything_may_be_elsewhere() {
        let to = |protocol: &str| {
            site(&format!("<RedirectAllRequestsTo><HostName>a.example</HostName>{protocol}</RedirectAllRequestsTo>"))
        };
        assert_eq!(begin(&to(""), asked("a b/ü")), redirect(301, "http://a.example/a%20b/%C3%BC"));
        assert_eq!(begin(&to("<Protocol>https</Protocol>"), asked("")), redirect(301, "https://a.example/"));
    }

    #[test]
    fn rules_without_a_status_come_first() {
        let rules = "<RoutingRules>\
            <RoutingRule><Condition><KeyPrefixEquals>docs/</KeyPrefixEquals></Condition>\
            <Redirect><ReplaceKeyPrefixWith>documents/</ReplaceKeyPrefixWith></Redirect></RoutingRule>\
            <RoutingRule><Condition><KeyPrefixEquals>old</KeyPrefixEquals></Condition><Redirect><HostName>o.example</HostName>\
            <Protocol>https</Protocol><ReplaceKeyWith>new</ReplaceKeyWith><HttpRedirectCode>307</HttpRedirectCode></Redirect>\
            </RoutingRule></RoutingRules>";
        let site = site(&format!("{INDEX}{rules}"));
        assert_eq!(begin(&site, asked("docs/a")), redirect(301, "http://b.s3-website.test:9000/documents/a"));
        assert_eq!(begin(&site, asked("old/x")), redirect(307, "https://o.example/new"));
        assert!(matches!(begin(&site, asked("other")), Step::Read { what: What::Page, .. }));
    }

    #[test]
    fn rules_with_a_status_come_after_the_error() {
        let rules = "<RoutingRules><RoutingRule><Condition><KeyPrefixEquals>img/</KeyPrefixEquals>\
            <HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>\
            <Redirect><HostName>cdn.example</HostName></Redirect></RoutingRule></RoutingRules>";
        let site = site(&format!("{INDEX}{ERROR}{rules}"));
        let (_, end) = walk(&site, "img/a.png", Some(&[]));
        assert_eq!(end, redirect(301, "http://cdn.example/img/a.png"));
        assert_eq!(walk(&site, "other/", Some(&[])).1, Step::Fail { status: 404 });
        assert_eq!(walk(&site, "img/a.png", None).1, Step::Fail { status: 403 });
        assert_eq!(walk(&site, "img/a.png", Some(&["img/a.png"])).1, Step::Serve { error: None });
    }

    #[test]
    fn objects_may_say_where_they_are() {
        let site = site(INDEX);
        let found = Read::Found(Some("/elsewhere".to_owned()));
        assert_eq!(after(&site, asked("a"), What::Page, found), redirect(301, "/elsewhere"));
    }
}
