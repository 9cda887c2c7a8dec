//! What the headers of a request and a bucket's default ask for, as far as it is said without contradiction.

use crate::documents;
use crate::error::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cluster::Bucket;
use common::SecretKey;
use common::md5::Md5;
use http::HeaderMap;
use std::collections::BTreeMap;

const METHOD: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CONTEXT: &str = "x-amz-server-side-encryption-context";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";

const CUSTOMER_KEY: &str = "x-amz-server-side-encryption-customer-key";
const SOURCE_CUSTOMER_KEY: &str = "x-amz-copy-source-server-side-encryption-customer-key";

/// An encryption context's bytes as they come. It is kept with the object.
const CONTEXT_BYTES_MAX: usize = 2048;

/// How a new object is to be encrypted.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// Then the bucket's default counts, where this may still have a word about its bucket key.
    Nothing {
        bucket_key: Option<bool>,
    },
    S3,
    Kms {
        key: Option<String>,
        context: Option<String>,
        bucket_key: bool,
    },
    Customer(CustomerKey),
}

impl Asked {
    pub fn parse(headers: &HeaderMap) -> Result<Self> {
        let method = text(headers, METHOD)?;
        let (key, context) = (text(headers, KEY_ID)?, text(headers, CONTEXT)?);
        let bucket_key = match text(headers, BUCKET_KEY)? {
            None => None,
            Some(word) if word.eq_ignore_ascii_case("true") => Some(true),
            Some(word) if word.eq_ignore_ascii_case("false") => Some(false),
            Some(_) => return Err(wrong(&format!("The header {BUCKET_KEY} is true or false."))),
        };
        if let Some(customer) = CustomerKey::parse(headers, Whose::Target)? {
            if method.is_some() || key.is_some() || context.is_some() {
                return Err(wrong(
                    "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
                ));
            }
            return Ok(Self::Customer(customer));
        }
        match method {
            Some("aws:kms") => {
                let context = context.map(checked_context).transpose()?;
                let key = key.filter(|key| !key.is_empty()).map(str::to_owned);
                Ok(Self::Kms { key, context, bucket_key: bucket_key.unwrap_or(false) })
            }
            Some("aws:kms:dsse") => {
                Err(Error::NotImplemented("The header x-amz-server-side-encryption with the value aws:kms:dsse".into()))
            }
            None | Some("AES256") if key.is_some() || context.is_some() => Err(wrong(
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
            )),
            None => Ok(Self::Nothing { bucket_key }),
            Some("AES256") => Ok(Self::S3),
            Some(_) => Err(wrong("The encryption method specified is not supported")),
        }
    }

    pub fn or_default_of(self, bucket: &Bucket) -> Self {
        let Self::Nothing { bucket_key } = self else { return self };
        let document = bucket.documents.get(documents::ENCRYPTION);
        let document = document.and_then(|document| std::str::from_utf8(document).ok()).unwrap_or("");
        match element(document, "SSEAlgorithm") {
            Some("AES256") => Self::S3,
            Some("aws:kms") => Self::Kms {
                key: element(document, "KMSMasterKeyID").map(str::to_owned),
                context: None,
                bucket_key: bucket_key.unwrap_or(element(document, "BucketKeyEnabled") == Some("true")),
            },
            // Nothing else was ever accepted.
            Some(_) | None => Self::Nothing { bucket_key },
        }
    }
}

/// Who prints these headers, as s3s does at its lowest log levels, prints no key and nothing that could be sent again.
pub fn hide_secrets(headers: &mut HeaderMap) {
    const SECRETS: [&str; 5] = [CUSTOMER_KEY, SOURCE_CUSTOMER_KEY, "authorization", "x-amz-security-token", "cookie"];
    for (name, value) in headers.iter_mut() {
        if SECRETS.contains(&name.as_str()) {
            value.set_sensitive(true);
        }
    }
}

/// GET and HEAD take a customer's key and no other word about encryption.
pub fn refuse_on_read(headers: &HeaderMap) -> Result<()> {
    match [METHOD, KEY_ID, CONTEXT, BUCKET_KEY].iter().find(|name| headers.contains_key(**name)) {
        Some(name) => Err(wrong(&format!("{name} header is not supported for this operation."))),
        None => Ok(()),
    }
}

/// Of what a customer's key is: what is written or read, or the source of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Target,
    CopySource,
}

/// A key that comes with each request and is kept nowhere.
#[derive(Debug, PartialEq, Eq)]
pub struct CustomerKey {
    pub key: SecretKey,
    /// As it came and goes back, Base64.
    pub md5: String,
}

impl CustomerKey {
    pub fn parse(headers: &HeaderMap, whose: Whose) -> Result<Option<Self>> {
        let [algorithm, key, md5] = match whose {
            Whose::Target => [
                "x-amz-server-side-encryption-customer-algorithm",
                CUSTOMER_KEY,
                "x-amz-server-side-encryption-customer-key-md5",
            ],
            Whose::CopySource => [
                "x-amz-copy-source-server-side-encryption-customer-algorithm",
                SOURCE_CUSTOMER_KEY,
                "x-amz-copy-source-server-side-encryption-customer-key-md5",
            ],
        };
        let (algorithm, key, md5) = (text(headers, algorithm)?, text(headers, key)?, text(headers, md5)?);
        if algorithm.is_none() && key.is_none() && md5.is_none() {
            return Ok(None);
        }
        const MUST: &str = "Requests specifying Server Side Encryption with Customer provided keys must provide";
        match algorithm {
            None => return Err(wrong(&format!("{MUST} a valid encryption algorithm."))),
            Some("AES256") => {}
            Some(_) => return Err(Error::InvalidEncryptionAlgorithm),
        }
        let key = key.ok_or_else(|| wrong(&format!("{MUST} an appropriate secret key.")))?;
        let mut bytes = zeroize::Zeroizing::new([0; 33]);
        let decoded = STANDARD.decode_slice(key, &mut bytes[..]).ok().filter(|length| *length == 32);
        let key = decoded.and_then(|length| SecretKey::from_slice(&bytes[..length]));
        let key = key.ok_or_else(|| wrong("The secret key was invalid for the specified algorithm."))?;
        let md5 = md5.ok_or_else(|| wrong(&format!("{MUST} the client calculated MD5 of the secret key.")))?;
        let mut digest = Md5::default();
        digest.update(key.expose());
        if STANDARD.decode(md5).ok().as_deref() != Some(&digest.finish()) {
            return Err(wrong("The calculated MD5 hash of the key did not match the hash that was provided."));
        }
        Ok(Some(Self { key, md5: md5.to_owned() }))
    }
}

fn wrong(text: &str) -> Error {
    Error::InvalidArgument(text.to_owned())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| wrong(&format!("The header {name} is not ASCII.")))
}

/// Base64 of JSON of strings under strings.
fn checked_context(context: &str) -> Result<String> {
    let parsed = STANDARD.decode(context).ok().filter(|_| context.len() <= CONTEXT_BYTES_MAX);
    let parsed = parsed.and_then(|json| serde_json::from_slice::<BTreeMap<String, String>>(&json).ok());
    parsed.map(|_| context.to_owned()).ok_or_else(|| {
        wrong(
            "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which \
             represents a string-string map",
        )
    })
}

/// The text of the first element of this name. The document was checked when it was put; here it is only looked into.
fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = document;
    while let Some((_, behind)) = rest.split_once('<') {
        let (tag, content) = behind.split_once('>')?;
        let tag = tag.split_ascii_whitespace().next().unwrap_or("");
        if tag.rsplit(':').next() == Some(name) {
            return content.split('<').next().map(str::trim).filter(|text| !text.is_empty());
        }
        rest = content;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::BucketState;
    use common::{BucketId, BucketName, OwnerId};
    use http::{HeaderName, HeaderValue};

    const KEY: &str = "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=";
    const MD5: &str = "DWygnHRtgiJ77HCm+1rvHw==";

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&str, &str)| {
            let name = format!("x-amz-server-side-encryption{name}");
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    fn code(pairs: &[(&str, &str)]) -> &'static str {
        Asked::parse(&headers(pairs)).expect_err("refused").answer().code
    }

    fn customer<'a>(key: &'a str, md5: &'a str) -> [(&'a str, &'a str); 3] {
        [("-customer-algorithm", "AES256"), ("-customer-key", key), ("-customer-key-md5", md5)]
    }

    #[test]
    fn requests_say_what_they_want() {
        let asked = |pairs: &[(&str, &str)]| Asked::parse(&headers(pairs)).expect("sound");
        assert_eq!(asked(&[]), Asked::Nothing { bucket_key: None });
        assert_eq!(asked(&[("", "AES256")]), Asked::S3);
        let kms = |key: Option<&str>, context: Option<&str>, bucket_key| Asked::Kms {
            key: key.map(str::to_owned),
            context: context.map(str::to_owned),
            bucket_key,
        };
        assert_eq!(asked(&[("", "aws:kms")]), kms(None, None, false));
        let context = STANDARD.encode(r#"{"a":"b"}"#);
        let all = [
            ("", "aws:kms"),
            ("-aws-kms-key-id", "k"),
            ("-context", context.as_str()),
            ("-bucket-key-enabled", "true"),
        ];
        assert_eq!(asked(&all), kms(Some("k"), Some(&context), true));
        let Asked::Customer(key) = asked(&customer(KEY, MD5)) else { panic!("a customer's key") };
        assert_eq!((key.md5.as_str(), format!("{key:?}").contains("pO3u")), (MD5, false));
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(code(&[("", "aes:kms")]), "InvalidArgument");
        assert_eq!(code(&[("", "aws:kms:dsse")]), "NotImplemented");
        assert_eq!(code(&[("-aws-kms-key-id", "k")]), "InvalidArgument");
        assert_eq!(code(&[("", "AES256"), ("-aws-kms-key-id", "k")]), "InvalidArgument");
        assert_eq!(code(&[("", "aws:kms"), ("-context", "no json")]), "InvalidArgument");
        assert_eq!(code(&[("", "aws:kms"), ("-bucket-key-enabled", "yes")]), "InvalidArgument");
        for method in [("", "AES256"), ("", "aws:kms"), ("-aws-kms-key-id", "k")] {
            assert_eq!(code(&[customer(KEY, MD5).as_slice(), &[method]].concat()), "InvalidArgument");
        }
    }

    #[test]
    fn customers_keys_are_whole() {
        let [algorithm, key, md5] = customer(KEY, MD5);
        for some in [[algorithm, key], [algorithm, md5], [key, md5]] {
            assert_eq!(code(&some), "InvalidArgument");
        }
        assert_eq!(code(&[("-customer-algorithm", "AES128"), key, md5]), "InvalidEncryptionAlgorithmError");
        for bad in ["", "pO3upElrwuEX", "no base64", &STANDARD.encode([1; 33]), &STANDARD.encode([1; 64])] {
            assert_eq!(code(&customer(bad, MD5)), "InvalidArgument");
        }
        assert_eq!(code(&customer(KEY, "AAAAAAAAAAAAAAAAAAAAAA==")), "InvalidArgument");
    }

    #[test]
    fn keys_are_not_printed() {
        let mut headers = headers(&customer(KEY, MD5));
        let said = ["authorization", "x-amz-security-token", "cookie", "cookie"];
        headers.extend(said.map(|name| (http::HeaderName::from_static(name), HeaderValue::from_static("said"))));
        hide_secrets(&mut headers);
        assert!(!format!("{headers:?}").contains(KEY) && !format!("{headers:?}").contains("said"));
        assert!(CustomerKey::parse(&headers, Whose::Target).is_ok());
    }

    #[test]
    fn reads_take_no_method() {
        assert!(refuse_on_read(&headers(&customer(KEY, MD5))).is_ok());
        assert!(refuse_on_read(&headers(&[("", "AES256")])).is_err());
        assert!(refuse_on_read(&headers(&[("-aws-kms-key-id", "k")])).is_err());
    }

    #[test]
    fn a_bucket_has_a_default() {
        let default = |document: &str, asked: Asked| {
            let bucket = Bucket {
                id: BucketId(1),
                name: BucketName::parse("photos").expect("a name"),
                owner: OwnerId("ann".into()),
                created_ms: 1,
                version: 1,
                state: BucketState::Active,
                region: "r".into(),
                documents: [(documents::ENCRYPTION.to_owned(), document.as_bytes().to_vec())].into(),
            };
            asked.or_default_of(&bucket)
        };
        let nothing = || Asked::Nothing { bucket_key: None };
        let rule = |inner: &str| {
            format!(
                "<ServerSideEncryptionConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Rule>\
                 <ApplyServerSideEncryptionByDefault>{inner}</ServerSideEncryptionConfiguration>"
            )
        };
        assert_eq!(default(&rule("<SSEAlgorithm>AES256</SSEAlgorithm>"), nothing()), Asked::S3);
        let kms = rule(
            "<s3:SSEAlgorithm> aws:kms </s3:SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID><BucketKeyEnabled>true</BucketKeyEnabled>",
        );
        let wanted = |bucket_key| Asked::Kms { key: Some("k".into()), context: None, bucket_key };
        assert_eq!(default(&kms, nothing()), wanted(true));
        assert_eq!(default(&kms, Asked::Nothing { bucket_key: Some(false) }), wanted(false));
        assert_eq!(default(&kms, Asked::S3), Asked::S3);
        assert_eq!(default("", nothing()), nothing());
        assert_eq!(default("<SSEAlgorithm", nothing()), nothing());
    }
}
