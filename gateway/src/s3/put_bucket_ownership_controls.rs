//! PutBucketOwnershipControls. Where a bucket's list grants something to others, lists cannot be switched off.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketOwnershipControls.html>

use crate::error::{Error, Result};
use crate::s3::document::Changes;
use crate::s3::{Service, document};
use crate::{acl, documents};
use authn::acl::Ownership;
use cluster::Bucket;
use s3s::dto::{OwnershipControls, PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput};
use s3s::{S3Request, S3Response};

pub async fn put_bucket_ownership_controls(
    service: &Service,
    request: S3Request<PutBucketOwnershipControlsInput>,
) -> Result<S3Response<PutBucketOwnershipControlsOutput>> {
    document::received(&request, &request.input.ownership_controls)?;
    let ownership = wanted(&request.input.ownership_controls)?;
    document::change(service, &request.input.bucket, move |bucket| decide(bucket, ownership)).await?;
    Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
}

/// One rule, which says one of the three words.
fn wanted(controls: &OwnershipControls) -> Result<Ownership> {
    let [rule] = controls.rules.as_slice() else {
        return Err(Error::MalformedXml("OwnershipControls has one Rule"));
    };
    let word = rule.object_ownership.as_str();
    let unknown = "ObjectOwnership is BucketOwnerEnforced, BucketOwnerPreferred or ObjectWriter";
    Ownership::parse(word).ok_or(Error::MalformedXml(unknown))
}

fn decide(bucket: &Bucket, ownership: Ownership) -> Result<Changes> {
    // A list that already does not count may stand there from before.
    let had_lists = documents::ownership(bucket).has_lists();
    if had_lists && !ownership.has_lists() && !acl::of_bucket(bucket)?.is_private() {
        return Err(Error::AclWithOwnership);
    }
    Ok([(documents::OWNERSHIP.to_owned(), Some(ownership.name().as_bytes().to_vec()))].into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::dto::{ObjectOwnership, OwnershipControlsRule};

    #[test]
    fn one_rule_says_one_of_three_words() {
        let code = |words: &[&'static str]| {
            let rule =
                |word: &&'static str| OwnershipControlsRule { object_ownership: ObjectOwnership::from_static(word) };
            let controls = OwnershipControls { rules: words.iter().map(rule).collect() };
            wanted(&controls).map_err(|error| error.answer().code)
        };
        assert_eq!(code(&["ObjectWriter"]), Ok(Ownership::ObjectWriter));
        for bad in [&[][..], &["objectwriter"], &["ObjectWriter", "ObjectWriter"]] {
            assert_eq!(code(bad), Err("MalformedXML"), "{bad:?}");
        }
    }
}
