//! HeadObject: what GetObject says, without the bytes.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>

use crate::access::check_seen;
use crate::encryption::{Wanted, refuse_on_read};
use crate::error::Result;
use crate::s3::checksums::set_checksum;
use crate::s3::conditions::Conditions;
use crate::s3::get_object::view;
use crate::s3::named::Named;
use crate::s3::{Service, attributes, listing};
use s3s::dto::{HeadObjectInput, HeadObjectOutput};
use s3s::{S3Request, S3Response};

pub async fn head_object(
    service: &Service,
    request: S3Request<HeadObjectInput>,
) -> Result<S3Response<HeadObjectOutput>> {
    refuse_on_read(&request.headers)?;
    let input = request.input;
    let named = Named::parse(service, &input.bucket, &input.key, input.version_id.as_deref())?;
    let info = named.head(service).await?;
    check_seen(&request.extensions, info.stamp)?;
    let encryption = Wanted::of(&named, &info).look(service, &request.headers).await?;
    Conditions::parse(&request.headers, "").check_read(&info)?;
    let view = view(&request.headers, input.part_number, &info)?;

    let mut output = HeadObjectOutput {
        content_length: Some(listing::size(view.range.end - view.range.start)),
        // The guard turns an answer with this header into a 206: s3s does not for HEAD.
        content_range: view.content_range(&info),
        metadata: attributes::metadata(&info.attributes),
        parts_count: view.parts_count,
        version_id: named.answered(info.version),
        expiration: service.expiration_of_read(&named, &info),
        ..Default::default()
    };
    if input.checksum_mode.is_some()
        && let Some((checksum, kind)) = view.checksum(&info)
    {
        output.checksum_type = kind;
        set_checksum!(output, checksum);
    }
    let mut headers = view.headers(&info)?;
    headers.extend(encryption);
    Ok(S3Response::with_headers(output, headers))
}
