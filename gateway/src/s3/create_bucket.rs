//! CreateBucket. The owner's repetition answers 409 BucketAlreadyOwnedByYou, as S3 does everywhere but in us-east-1:
//! clients that create before they upload test for exactly that. In us-east-1 it is 200 if the bucket has all that is asked
//! for. S3 would also reset the bucket's list there; a repetition that changes who may read is no habit to copy.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html>

use crate::Parts;
use crate::documents;
use crate::error::{Error, Result};
use crate::s3::{
    Service, acl_request, attributes, document, put_bucket_acl, put_object_lock_configuration, put_public_access_block,
};
use authn::acl::{Acl, Ownership};
use cluster::{Applied, Bucket, Command};
use common::{BucketName, NameError, OwnerId};
use s3s::dto::{CreateBucketInput, CreateBucketOutput};
use s3s::{S3Request, S3Response};
use std::collections::BTreeMap;
use storage::{BucketState, BucketView};

pub async fn create_bucket(
    service: &Service,
    request: S3Request<CreateBucketInput>,
) -> Result<S3Response<CreateBucketOutput>> {
    let identity = service.identity(&request)?;
    let owner = identity.owner().cloned().ok_or(Error::AccessDenied)?;
    if let Some(configuration) = &request.input.create_bucket_configuration {
        document::received(&request, configuration)?;
        if configuration.bucket.is_some() || configuration.location.is_some() {
            return Err(Error::NotImplemented("A directory bucket".to_owned()));
        }
    }
    let S3Request { input, mut headers, .. } = request;
    headers.remove("x-amz-bucket-object-lock-enabled");
    attributes::refuse_unsupported(&headers)?;
    let name = BucketName::parse(&input.bucket)?;
    check_labels(&name)?;
    let constraint = input.create_bucket_configuration.and_then(|configuration| configuration.location_constraint);
    check_location(constraint.as_ref().map(|constraint| constraint.as_str()), &service.region)?;
    let mut given = BTreeMap::new();
    if input.object_lock_enabled_for_bucket == Some(true) {
        let lock = document::write(&put_object_lock_configuration::enabled())?;
        given.insert(documents::OBJECT_LOCK.to_owned(), lock);
        given.insert(documents::VERSIONING.to_owned(), documents::ENABLED.to_vec());
    }

    if service.blocks_public_access {
        given.insert(
            documents::PUBLIC_ACCESS_BLOCK.to_owned(),
            document::write(&put_public_access_block::everything())?,
        );
    }

    let asked = match input.object_ownership.as_ref().map(|ownership| ownership.as_str()) {
        None => None,
        Some(word) => Some(
            Ownership::parse(word)
                .ok_or_else(|| Error::InvalidArgument(format!("Invalid x-amz-object-ownership header: {word}")))?,
        ),
    };
    let ownership = asked.unwrap_or(service.ownership);
    given.insert(documents::OWNERSHIP.to_owned(), ownership.name().as_bytes().to_vec());
    if let Some(wanted) = acl_request::of_headers(&headers, &service.parts.control.current())? {
        let acl = put_bucket_acl::expand(&wanted, &owner);
        check_acl(&acl, ownership, service.blocks_public_access)?;
        given.extend(put_bucket_acl::kept(&acl)?.map(|acl| (documents::ACL.to_owned(), acl)));
    }

    let repeatable = (service.region == REPEATABLE_IN).then(|| Asked {
        lock: given.contains_key(documents::OBJECT_LOCK),
        ownership: asked,
        acl: given.get(documents::ACL).cloned(),
    });
    let command = Command::CreateBucket {
        name: name.clone(),
        owner: owner.clone(),
        region: service.region.clone(),
        created_ms: service.parts.clock.now_ms(),
        documents: given,
    };
    // Both steps go on without the client: the disks must not stay ignorant of a bucket because somebody hung up.
    let parts = service.parts.clone();
    let created = tokio::spawn(async move { create(&parts, command, &owner, repeatable).await });
    match created.await {
        Ok(outcome) => outcome?,
        Err(_) => return Err(Error::Internal("the creation of the bucket was interrupted")),
    }
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{name}")) }))
}

const REPEATABLE_IN: &str = "us-east-1";

/// What a request wants of its bucket.
struct Asked {
    lock: bool,
    ownership: Option<Ownership>,
    /// None is a private one, also where nothing is said: whoever made a private bucket must not be told that it has one while
    /// others read it.
    acl: Option<Vec<u8>>,
}

impl Asked {
    fn is_met_by(&self, bucket: &Bucket) -> bool {
        (documents::can_lock(bucket) || !self.lock)
            && self.ownership.is_none_or(|asked| asked == documents::ownership(bucket))
            && self.acl.as_ref() == bucket.documents.get(documents::ACL)
    }
}

/// Existence is decided by the control store, then the disks are told. Where that failed the owner's repetition tells them.
async fn create(parts: &Parts, command: Command, owner: &OwnerId, repeatable: Option<Asked>) -> Result<()> {
    match parts.control.propose(command).await {
        Ok(Applied::Bucket(bucket)) => Ok(parts.target.apply_bucket(view(&bucket)).await?),
        Ok(Applied::Nothing | Applied::Term(_) | Applied::PolicyVersion(_) | Applied::Limit(_)) => {
            Err(Error::Internal("CreateBucket gave no bucket"))
        }
        Err(cluster::Error::BucketExists { name, owner: of }) if of == *owner => {
            let state = parts.control.read().await?;
            let bucket = state.buckets.get(&name);
            if let Some(bucket) = bucket {
                parts.target.apply_bucket(view(bucket)).await?;
            }
            match (repeatable, bucket) {
                (Some(asked), Some(bucket)) if is_here(bucket, owner) && asked.is_met_by(bucket) => Ok(()),
                _ => Err(Error::BucketAlreadyOwnedByYou(name)),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// It may have been deleted since, and made again by somebody else.
fn is_here(bucket: &Bucket, owner: &OwnerId) -> bool {
    bucket.owner == *owner && matches!(bucket.state, cluster::BucketState::Active)
}

/// A bucket as the disks know it.
pub fn view(bucket: &Bucket) -> BucketView {
    BucketView {
        id: bucket.id,
        name: bucket.name.clone(),
        version: bucket.version,
        state: match bucket.state {
            cluster::BucketState::Active => BucketState::Active,
            cluster::BucketState::Deleting => BucketState::Deleting,
        },
        versioning: documents::versioning(bucket),
        lock: documents::can_lock(bucket),
    }
}

/// A label of a host name begins and ends with a letter or digit (RFC 1123 section 2.1), and in virtual-hosted style a bucket
/// is a host. Asked of new buckets only: one that is there must go on opening.
fn check_labels(name: &BucketName) -> Result<()> {
    let wrong = [".-", "-."].iter().any(|pair| name.as_str().contains(pair));
    if wrong { Err(NameError::BucketReserved.into()) } else { Ok(()) }
}

/// A new bucket has no list that would not count.
fn check_acl(acl: &Acl, ownership: Ownership, blocks_public_access: bool) -> Result<()> {
    if !ownership.has_lists() && !acl.is_private() {
        return Err(Error::AclWithOwnership);
    }
    if blocks_public_access && acl.is_public() { Err(Error::AclWithBlock) } else { Ok(()) }
}

/// There is one region; a bucket that asks for another one does not get this one instead.
fn check_location(constraint: Option<&str>, region: &str) -> Result<()> {
    match constraint {
        Some(constraint) if !constraint.is_empty() && constraint != region => {
            Err(Error::IllegalLocationConstraint(constraint.to_owned()))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_host_names() {
        let code = |name| check_labels(&BucketName::parse(name).expect("a name")).map_err(|error| error.answer().code);
        assert_eq!(code("foo.bar-baz"), Ok(()));
        assert_eq!(code("foo.-bar"), Err("InvalidBucketName"));
        assert_eq!(code("foo-.bar"), Err("InvalidBucketName"));
    }

    #[test]
    fn no_bucket_begins_with_a_list_that_does_not_count() {
        use authn::acl::Canned;
        let code = |canned: Canned, ownership, blocks| {
            let acl = canned.of_bucket(&OwnerId("ann".to_owned()));
            check_acl(&acl, ownership, blocks).map_err(|error| error.answer().code)
        };
        let (enforced, writer) = (Ownership::BucketOwnerEnforced, Ownership::ObjectWriter);
        assert_eq!(code(Canned::Private, enforced, true), Ok(()));
        assert_eq!(code(Canned::LogDeliveryWrite, enforced, false), Err("InvalidBucketAclWithObjectOwnership"));
        assert_eq!(code(Canned::LogDeliveryWrite, writer, true), Ok(()));
        assert_eq!(code(Canned::PublicRead, writer, true), Err("InvalidBucketAclWithBlockPublicAccessError"));
        assert_eq!(code(Canned::PublicRead, writer, false), Ok(()));
    }

    #[test]
    fn a_repetition_gets_what_it_asks_for_or_nothing() {
        let private = || Asked { lock: false, ownership: None, acl: None };
        let bucket = |documents: &[(&str, &[u8])]| Bucket {
            id: common::BucketId(1),
            name: BucketName::parse("bucket").expect("a name"),
            owner: OwnerId("ann".to_owned()),
            created_ms: 0,
            version: 1,
            state: cluster::BucketState::Active,
            region: REPEATABLE_IN.to_owned(),
            documents: documents.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect(),
        };
        let (plain, public) = (bucket(&[]), bucket(&[(documents::ACL, b"everyone")]));
        assert!(private().is_met_by(&plain));
        assert!(!private().is_met_by(&public));
        assert!(Asked { acl: Some(b"everyone".to_vec()), ..private() }.is_met_by(&public));
        assert!(!Asked { acl: Some(b"ann".to_vec()), ..private() }.is_met_by(&public));
        assert!(!Asked { acl: Some(b"everyone".to_vec()), ..private() }.is_met_by(&plain));
        let (locked, writers) =
            (bucket(&[(documents::OBJECT_LOCK, b"x")]), bucket(&[(documents::OWNERSHIP, b"ObjectWriter")]));
        assert!(private().is_met_by(&locked) && private().is_met_by(&writers));
        assert!(Asked { lock: true, ..private() }.is_met_by(&locked));
        assert!(!Asked { lock: true, ..private() }.is_met_by(&plain));
        let asked = |ownership| Asked { ownership: Some(ownership), ..private() };
        assert!(asked(Ownership::ObjectWriter).is_met_by(&writers));
        assert!(!asked(Ownership::BucketOwnerEnforced).is_met_by(&writers));
    }

    #[test]
    fn only_this_region_is_given() {
        assert!(check_location(None, "eu-x").is_ok());
        assert!(check_location(Some(""), "eu-x").is_ok());
        assert!(check_location(Some("eu-x"), "eu-x").is_ok());
        let refused = check_location(Some("us-west-2"), "eu-x").expect_err("refused");
        assert_eq!(refused.answer().code, "IllegalLocationConstraintException");
    }
}
