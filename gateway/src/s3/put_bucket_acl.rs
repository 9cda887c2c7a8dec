//! PutBucketAcl: the canned lists that say what is so anyway. Any other would be a promise.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketAcl.html>

use crate::error::{Error, Result};
use crate::s3::{Service, attributes};
use http::HeaderMap;
use s3s::dto::{AccessControlPolicy, PutBucketAclInput, PutBucketAclOutput};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_acl(
    service: &Service,
    request: S3Request<PutBucketAclInput>,
) -> Result<S3Response<PutBucketAclOutput>> {
    let S3Request { input, headers, .. } = request;
    service.bucket(&input.bucket)?;
    check_acl(&headers, input.access_control_policy.as_ref())?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}

/// A list comes as one header, as grants or as a document. The header is the one that is understood, and says who owns it.
pub fn check_acl(headers: &HeaderMap, document: Option<&AccessControlPolicy>) -> Result<()> {
    attributes::refuse_unsupported(headers)?;
    match (document, headers.contains_key("x-amz-acl")) {
        (Some(_), _) => Err(Error::NotImplemented("An access control list of grants".to_owned())),
        (None, true) => Ok(()),
        (None, false) => Err(Error::InvalidRequest("Your request was missing a required header: x-amz-acl".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_so_anyway_is_taken() {
        let code = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, http::HeaderValue::from_static(value));
            check_acl(&headers, None).map_or_else(|error| error.answer().code, |()| "ok")
        };
        assert_eq!(code("x-amz-acl", "private"), "ok");
        assert_eq!(code("x-amz-acl", "public-read"), "NotImplemented");
        assert_eq!(code("x-amz-acl", "public-ready"), "InvalidArgument");
        assert_eq!(code("x-amz-grant-read", "id=1"), "NotImplemented");
        assert_eq!(code("host", "a"), "InvalidRequest");
        let document = check_acl(&HeaderMap::new(), Some(&AccessControlPolicy::default()));
        assert_eq!(document.expect_err("refused").answer().code, "NotImplemented");
    }
}
