//! GetBucketOwnershipControls.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketOwnershipControls.html>

use crate::documents;
use crate::error::{Error, Result};
use crate::s3::Service;
use s3s::dto::{
    GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput, ObjectOwnership, OwnershipControls,
    OwnershipControlsRule,
};
use s3s::{S3Request, S3Response};

pub async fn get_bucket_ownership_controls(
    service: &Service,
    request: S3Request<GetBucketOwnershipControlsInput>,
) -> Result<S3Response<GetBucketOwnershipControlsOutput>> {
    let bucket = service.bucket(&request.input.bucket)?;
    if !bucket.documents.contains_key(documents::OWNERSHIP) {
        return Err(Error::NoSuchDocument("OwnershipControlsNotFoundError", "ownership controls"));
    }
    let word = documents::ownership(&bucket).name();
    let rules = vec![OwnershipControlsRule { object_ownership: ObjectOwnership::from_static(word) }];
    let ownership_controls = Some(OwnershipControls { rules });
    Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls }))
}
