//! PostObject: a browser's form upload. It does not go through s3s, which holds the file in memory before it asks whose it
//! is: here the fields are read, the policy is decided, and only then the file is taken, as it comes.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html>

use super::named::written_version;
use super::post_policy::{Fields, Policy, Signed};
use super::{attributes, checksums::Declared, tags};
use crate::access::{self, Access, Requester};
use crate::admission::{Proof, Scene};
use crate::audit;
use crate::encryption::Seal;
use crate::error::{Error, Result};
use crate::guard::{Event, FormError, FormParser, SignatureV2, check_scope};
use crate::limits;
use crate::rates::{self, Verb};
use crate::route::Target;
use crate::s3::Service;
use crate::s3::listing::Encoding;
use crate::tls;
use authn::Identity;
use bytes::Bytes;
use cluster::Bucket;
use common::{ETag, ObjectKey};
use http::request::Parts as Head;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::Body;
use s3s::dto::Metadata;
use storage::{Cause, ObjectWriter, Precondition, PutOutcome, PutRequest};

/// The handler of forms, which the guard asks in place of s3s.
pub struct Forms {
    service: Service,
    access: Access,
    /// Where Signature Version 2 is taken.
    version_2: SignatureV2,
}

impl Forms {
    pub fn new(service: Service, access: Access, version_2: SignatureV2) -> Self {
        Self { service, access, version_2 }
    }

    pub async fn post_object(&self, head: &Head, bucket: &str, body: Body) -> Result<Response<Body>> {
        let service = &self.service;
        let control = &*service.parts.control;
        let bucket = access::find(control, bucket)?;
        let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let parser = FormParser::new(content_type, limits::FORM_FIELDS_BYTES_MAX).map_err(Error::MalformedForm)?;
        let mut form = Form { parser, body };

        let (mut fields, filename) = form.fields().await?;
        let now_ms = service.parts.clock.now_ms();
        let scope = |credential: &str| check_scope(credential, &service.region);
        let signed = Signed::of(&fields, self.version_2.takes_forms(), now_ms, scope)?;
        let proof = signed.as_ref().map_or(Proof::NONE, Signed::proof);
        let key = key_of(&fields, &filename);
        if let Some(requester) = head.extensions.get::<Requester>() {
            // What is no key is told as it was given.
            let told = key.as_ref().map_or(fields.get("key"), |key| Some(key.as_str()));
            requester.0.trail.of_form(proof.kind, signed.as_ref().map(|signed| signed.access_key), told);
        }
        // A form that nobody signed has no policy either, and goes where everybody may write.
        let signed = signed.map(|signed| self.verify(&signed, fields.get("x-amz-security-token"))).transpose()?;
        let (policy, identity) = signed.map_or((None, Identity::Anonymous), |(policy, by)| (Some(policy), by));
        let key = key?;
        fields.set("key", key.as_str().to_owned());
        if let Some(policy) = &policy {
            policy.check(&fields, bucket.name.as_str(), &*service.parts.clock)?;
        }
        if let (Some(requester), Some(owner)) = (head.extensions.get::<Requester>(), identity.owner()) {
            let _ = requester.0.owner.set(owner.0.clone());
        }
        audit::identified(&head.extensions, &identity);
        let asked = (&head.headers, &head.extensions);
        self.access.admit_rate((Verb::Put, rates::cost("PostObject")), Some(bucket.name.as_str()), &identity, asked)?;
        let Wanted { headers, metadata } = Wanted::of(&fields)?;
        let asked = as_asked(head, &headers, &fields)?;
        let place = (Some(bucket.name.as_str()), Some(key.as_str()));
        let uri = Uri::default();
        let mut scene = Scene::new("PostObject", place, &asked, &uri, &head.extensions, &identity);
        scene.proof = Some(proof);
        self.access.enter(&head.extensions, &head.headers, &identity, "PostObject").await?;
        service.admission.admit(&scene).await?;

        let now_ms = service.parts.clock.now_ms();
        let mut attributes = attributes::of_write(&headers, Some(metadata), &bucket, now_ms)?;
        attributes.acl = service.acl_of_write(&headers, &bucket, &identity)?;
        if let Some(field) = fields.get("tagging") {
            attributes.tags = tags::of_field(field)?;
        }
        let declared = Declared::parse(&headers)?;
        let put = PutRequest {
            epoch: service.router.epoch(),
            bucket: bucket.id,
            key: key.clone(),
            attributes,
            precondition: Precondition::default(),
            length: None,
            algorithms: declared.algorithms(),
        };
        let (sealing, encryption) = Seal::split(Seal::begin(service, &headers, &bucket, &key).await?);
        let Target::Here(target) = service.router.owner_of(bucket.id, &key);
        let writer = form.file(target.put_sealed(put, sealing).await?.by(Cause::Form), policy.as_ref()).await?;
        let staged = writer.finish().await?;
        declared.verify(staged.digests(), None)?;
        let outcome = staged.commit().await?;
        let mut answer = answer(&fields, &bucket, &key, &outcome, &location(head, &bucket, &key));
        answer.headers_mut().extend(encryption);
        Ok(answer)
    }

    /// The policy that was signed, and who did.
    fn verify(&self, signed: &Signed<'_>, token: Option<&str>) -> Result<(Policy, Identity)> {
        if let Some(token) = token {
            let session = self.access.sessions().open(Some(signed.access_key), token)?;
            return Ok((signed.verify(session.secret())?, Identity::Known(session.caller()?)));
        }
        match signed.verify(&self.access.secret(signed.access_key)) {
            Err(Error::SignatureDoesNotMatch) if !self.access.knows(signed.access_key) => {
                Err(Error::InvalidAccessKeyId)
            }
            verified => Ok((verified?, access::identity(&*self.service.parts.control, signed.access_key)?)),
        }
    }
}

/// What is decided about: the fields as headers, the tags among them, and what the browser says of itself.
fn as_asked(head: &Head, headers: &HeaderMap, fields: &Fields) -> Result<HeaderMap> {
    let mut asked = headers.clone();
    for name in [header::USER_AGENT, header::REFERER] {
        asked.remove(&name);
        asked.extend(head.headers.get(&name).map(|value| (name, value.clone())));
    }
    if let Some(field) = fields.get("tagging") {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let tags = tags::of_field(field)?;
        let tags: Vec<String> = tags.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        let value = HeaderValue::from_str(&tags.join("&"));
        asked.insert(tags::HEADER, value.map_err(|_| Error::Internal("encoded tags are no header's value"))?);
    }
    Ok(asked)
}

/// A form on its way in.
struct Form {
    parser: FormParser,
    body: Body,
}

impl Form {
    /// What stands before the file, and the file's name.
    async fn fields(&mut self) -> Result<(Fields, String)> {
        let mut fields = Fields::default();
        loop {
            match self.next().await? {
                Event::Field { name, value } => fields.add(&name, value)?,
                Event::FileBegins { filename } => return Ok((fields, filename)),
                Event::FileBytes(_) | Event::FileEnds | Event::End => {
                    return Err(Error::InvalidArgument(
                        "POST requires exactly one file upload per request.".to_owned(),
                    ));
                }
            }
        }
    }

    /// Writes the file, to the form's end. S3 ignores the fields behind it.
    async fn file(&mut self, mut writer: ObjectWriter, policy: Option<&Policy>) -> Result<ObjectWriter> {
        let lengths = policy.map_or(0..=limits::PUT_BYTES_MAX, Policy::lengths);
        let mut length = 0;
        loop {
            match self.next().await? {
                Event::FileBytes(bytes) => {
                    length += bytes.len() as u64;
                    if length > *lengths.end() {
                        return Err(Error::EntityTooLarge { limit_bytes: *lengths.end() });
                    }
                    writer.write(bytes).await?;
                }
                Event::FileEnds if length < *lengths.start() => {
                    return Err(Error::EntityTooSmall { least_bytes: *lengths.start() });
                }
                Event::FileEnds | Event::Field { .. } | Event::FileBegins { .. } => {}
                Event::End => return Ok(writer),
            }
        }
    }

    async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.parser.next_event().map_err(Error::MalformedForm)? {
                return Ok(event);
            }
            match self.body.frame().await {
                None => return Err(Error::MalformedForm(FormError::Short)),
                Some(Err(error)) => return Err(Error::body(error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.parser.feed(&bytes);
                    }
                }
            }
        }
    }
}

/// The key with the file's name in it. Of a path, as old browsers send one, only the last part counts.
fn key_of(fields: &Fields, filename: &str) -> Result<ObjectKey> {
    let Some(key) = fields.get("key").filter(|key| !key.is_empty()) else {
        return Err(Error::InvalidArgument(
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields."
                .to_owned(),
        ));
    };
    let filename = filename.rsplit(['/', '\\']).next().unwrap_or("");
    Ok(ObjectKey::parse(&key.replace("${filename}", filename))?)
}

/// A form's fields as the headers that a PUT would have.
struct Wanted {
    headers: HeaderMap,
    metadata: Metadata,
}

impl Wanted {
    fn of(fields: &Fields) -> Result<Self> {
        let (mut headers, mut metadata) = (HeaderMap::new(), Metadata::new());
        for (name, value) in fields.iter() {
            if let Some(name) = name.strip_prefix("x-amz-meta-") {
                metadata.insert(name.to_owned(), value.to_owned());
                continue;
            }
            let name = match name {
                "acl" => "x-amz-acl",
                // A document, which no header holds.
                "tagging" => continue,
                other => other,
            };
            let wrong = || Error::InvalidArgument(format!("the field {name} is no header's value"));
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?;
            // A field whose name no header can have asks for nothing.
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                headers.insert(name, value);
            }
        }
        Ok(Self { headers, metadata })
    }
}

/// The URL under which the client reached the bucket, and the key in it.
fn location(head: &Head, bucket: &Bucket, key: &ObjectKey) -> String {
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let key = Encoding::URL.name(key.as_str());
    let in_path = head.uri.path().trim_matches('/') == bucket.name.as_str();
    let scheme = tls::scheme();
    if in_path { format!("{scheme}://{host}/{}/{key}", bucket.name) } else { format!("{scheme}://{host}/{key}") }
}

fn answer(fields: &Fields, bucket: &Bucket, key: &ObjectKey, outcome: &PutOutcome, location: &str) -> Response<Body> {
    let status = success(fields, bucket.name.as_str(), key, &outcome.etag);
    let (status, body, to) = match status {
        Success::Status(StatusCode::CREATED) => {
            (StatusCode::CREATED, document(bucket.name.as_str(), key, &outcome.etag, location), location.to_owned())
        }
        Success::Status(status) => (status, String::new(), location.to_owned()),
        Success::Redirect(to) => (StatusCode::SEE_OTHER, String::new(), to),
    };
    let mut answer = Response::new(Body::from(Bytes::from(body.clone())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, text) in [(header::ETAG, format!("\"{}\"", outcome.etag)), (header::LOCATION, to)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    if let Some(version) = written_version(outcome.version)
        && let Ok(value) = HeaderValue::from_str(&version)
    {
        headers.insert("x-amz-version-id", value);
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    }
    answer
}

#[derive(Debug, PartialEq, Eq)]
enum Success {
    Status(StatusCode),
    Redirect(String),
}

/// What the form wants to be told. A redirect that is no web page's is as good as none.
fn success(fields: &Fields, bucket: &str, key: &ObjectKey, etag: &ETag) -> Success {
    let redirect = fields.get("success_action_redirect").or_else(|| fields.get("redirect"));
    if let Some(to) = redirect.filter(|to| is_web_address(to)) {
        let mark = if to.contains('?') { '&' } else { '?' };
        let key = Encoding::URL.name(key.as_str());
        return Success::Redirect(format!("{to}{mark}bucket={bucket}&key={key}&etag=%22{etag}%22"));
    }
    Success::Status(match fields.get("success_action_status") {
        Some("200") => StatusCode::OK,
        Some("201") => StatusCode::CREATED,
        Some(_) | None => StatusCode::NO_CONTENT,
    })
}

fn is_web_address(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let web = uri.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https");
    web && uri.host().is_some_and(|host| !host.is_empty())
}

fn document(bucket: &str, key: &ObjectKey, etag: &ETag, location: &str) -> String {
    let escape = crate::guard::escape;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location><Bucket>{bucket}</Bucket><Key>{}</Key>\
         <ETag>\"{etag}\"</ETag></PostResponse>",
        escape(location),
        escape(key.as_str())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, (*value).to_owned()).expect("once");
        }
        fields
    }

    #[test]
    fn keys_take_the_name_of_the_file() {
        let key = |template: &str, filename| {
            key_of(&fields(&[("key", template)]), filename)
                .map_or_else(|e| e.answer().code.to_owned(), |key| key.into())
        };
        assert_eq!(key("a/${filename}", "b.txt"), "a/b.txt");
        assert_eq!(key("${filename}", "C:\\Documents\\b.txt"), "b.txt");
        assert_eq!(key("${filename}", "../../b.txt"), "b.txt");
        assert_eq!(key("a/${filename}", ""), "a/");
        assert_eq!(key("", "b"), "InvalidArgument");
        assert_eq!(key("${filename}", ""), "KeyTooLongError");
        assert_eq!(key_of(&fields(&[]), "b").expect_err("no key").answer().code, "InvalidArgument");
    }

    #[test]
    fn fields_become_headers() {
        let wanted = fields(&[("acl", "private"), ("Content-Type", "a/b"), ("x-amz-meta-Größe", "klein"), ("ä", "x")]);
        let Wanted { headers, metadata } = Wanted::of(&wanted).expect("valid");
        assert_eq!(headers["x-amz-acl"], "private");
        assert_eq!(headers["content-type"], "a/b");
        assert_eq!(headers.len(), 2);
        assert_eq!(metadata.get("größe").map(String::as_str), Some("klein"));
        assert!(Wanted::of(&fields(&[("content-type", "a\nb")])).is_err());
    }

    #[test]
    fn only_web_pages_are_redirected_to() {
        let key = ObjectKey::parse("a b").expect("a key");
        let etag = ETag::of_md5([0; 16]);
        let to = |url: &str| success(&fields(&[("success_action_redirect", url)]), "b", &key, &etag);
        let zeros = "0".repeat(32);
        let query = format!("bucket=b&key=a%20b&etag=%22{zeros}%22");
        assert_eq!(to("http://web/done"), Success::Redirect(format!("http://web/done?{query}")));
        assert_eq!(to("https://web/?a=b"), Success::Redirect(format!("https://web/?a=b&{query}")));
        for other in
            ["javascript:alert(1)", "ftp://web/", "/done", "http://", "http://web/\r\nA: b", "data:text/html,x"]
        {
            assert_eq!(to(other), Success::Status(StatusCode::NO_CONTENT), "{other}");
        }
    }

    #[test]
    fn statuses_are_the_three() {
        let key = ObjectKey::parse("k").expect("a key");
        let of = |status| success(&fields(&[("success_action_status", status)]), "b", &key, &ETag::of_md5([0; 16]));
        assert_eq!(of("200"), Success::Status(StatusCode::OK));
        assert_eq!(of("201"), Success::Status(StatusCode::CREATED));
        assert_eq!(of("404"), Success::Status(StatusCode::NO_CONTENT));
    }
}
