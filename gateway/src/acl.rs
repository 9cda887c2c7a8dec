//! What access control lists say about one request, for the one decision (`authn::authorize`): whose the resource is, and
//! whether a list grants the action. Lists count only where the bucket's object ownership lets them, and what is public in
//! them not where the bucket ignores that. The same rules decide what list a new object gets.

use crate::documents;
use crate::error::{Error, Result};
use crate::route::{Router, Target};
use crate::s3::put_public_access_block::PublicAccessBlock;
use authn::Identity;
use authn::acl::{Acl, Canned, Grantee, Listed, is_the_objects, permission_of};
use cluster::Bucket;
use common::{ObjectKey, OwnerId, Stamp, VersionId};
use storage::Attributes;

/// What of a bucket a request is about.
#[derive(Debug, Clone, Copy)]
pub enum About<'a> {
    /// The bucket, or a key whose object does not matter: a listing, a PUT, a delete.
    Bucket,
    /// The object that is there; `None` is the current version.
    Object(&'a ObjectKey, Option<VersionId>),
    /// The object that the request makes: the list, tags or lock that come with it.
    NewObject,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The account that the resource belongs to: `Question::owner`. Where it is not the bucket's, the bucket's policy can
    /// refuse, and not allow.
    pub owner: OwnerId,
    /// `Question::acl_grants`.
    pub grants: bool,
    /// The record of the object whose list it was.
    pub seen: Option<Stamp>,
}

/// Asks the lists about one action. An object's record is read only where its list may count: where the bucket has lists, and
/// the object's owner decides about the action.
pub async fn ask(
    router: &Router,
    bucket: &Bucket,
    about: About<'_>,
    action: &str,
    identity: &Identity,
) -> Result<Said> {
    let has_lists = documents::ownership(bucket).has_lists();
    let object = match about {
        About::Object(key, version) if has_lists && is_the_objects(action) => {
            let Target::Here(target) = router.owner_of(bucket.id, key);
            match target.head(bucket.id, key, version).await {
                Ok(info) => Found::Here(of_attributes(&info.attributes, bucket)?, Some(info.stamp)),
                Err(
                    storage::Error::NoSuchKey | storage::Error::NoSuchVersion | storage::Error::IsDeleteMarker { .. },
                ) => Found::Absent,
                Err(error) => return Err(error.into()),
            }
        }
        About::NewObject => Found::New,
        About::Bucket | About::Object(..) => Found::NotAsked,
    };
    decide(bucket, object, action, identity)
}

/// What is known of the object.
enum Found {
    NotAsked,
    Absent,
    New,
    Here(Acl, Option<Stamp>),
}

fn decide(bucket: &Bucket, object: Found, action: &str, identity: &Identity) -> Result<Said> {
    let ownership = documents::ownership(bucket);
    let of_bucket = |grants| Said { owner: bucket.owner.clone(), grants, seen: None };
    if !ownership.has_lists() {
        return Ok(of_bucket(false));
    }
    let permission = permission_of(action);
    match (object, permission) {
        (Found::Here(acl, seen), permission) => {
            let owner = acl.owner.clone();
            let grants = match permission {
                Some((Listed::Object, permission)) => in_force(acl, bucket)?.grants(identity, permission),
                Some((Listed::Bucket, _)) | None => false,
            };
            Ok(Said { owner, grants, seen })
        }
        (Found::Absent, _) => Ok(of_bucket(false)),
        // Who may put an object may say what the list of its own object is.
        (Found::New, permission) if is_the_objects(action) => {
            let writes = || Ok::<_, Error>(in_force(self::of_bucket(bucket)?, bucket)?.grants(identity, WRITE));
            let grants = matches!(permission, Some((Listed::Object, _))) && writes()?;
            Ok(Said { owner: ownership.owner(&bucket.owner, identity, None), ..of_bucket(grants) })
        }
        (Found::New | Found::NotAsked, Some((Listed::Bucket, permission))) => {
            Ok(of_bucket(in_force(self::of_bucket(bucket)?, bucket)?.grants(identity, permission)))
        }
        (Found::New | Found::NotAsked, Some((Listed::Object, _)) | None) => Ok(of_bucket(false)),
    }
}

const WRITE: authn::acl::Permission = authn::acl::Permission::Write;

/// The list without what the bucket ignores.
fn in_force(acl: Acl, bucket: &Bucket) -> Result<Acl> {
    let ignored = acl.is_public() && PublicAccessBlock::of(bucket)?.ignores_public_acls;
    Ok(if ignored { acl.without_public() } else { acl })
}

/// Whether the bucket's list lets everybody do something.
pub fn is_public(bucket: &Bucket) -> Result<bool> {
    Ok(documents::ownership(bucket).has_lists() && in_force(of_bucket(bucket)?, bucket)?.is_public())
}

/// The list that a bucket has. It is a few bytes to decode: nothing is kept of it.
pub fn of_bucket(bucket: &Bucket) -> Result<Acl> {
    let private = || Acl::private(bucket.owner.clone());
    bucket.documents.get(documents::ACL).map_or_else(|| Ok(private()), |bytes| decode(bytes))
}

/// The list of a version, also where none is kept: then it is private, and the bucket owner's.
pub fn of_attributes(attributes: &Attributes, bucket: &Bucket) -> Result<Acl> {
    let private = || Acl::private(bucket.owner.clone());
    attributes.acl.as_ref().map_or_else(|| Ok(private()), |acl| decode(&acl.list))
}

fn decode(bytes: &[u8]) -> Result<Acl> {
    Acl::decode(bytes).ok_or(Error::Internal("an access control list cannot be read"))
}

/// The list as it is kept beside a version. `None` is what an object has that nobody shared: most have that.
pub fn kept(acl: &Acl, bucket: &Bucket) -> Result<Option<storage::Acl>> {
    let is_foreign = acl.owner != bucket.owner;
    if !is_foreign && acl.is_private() {
        return Ok(None);
    }
    let list = acl.encode().ok_or(Error::MalformedAcl("The list has too many grants"))?;
    Ok(Some(storage::Acl { owner: is_foreign.then(|| acl.owner.0.clone()), list }))
}

/// Refuses a public list where the bucket blocks these.
pub fn check_block(bucket: &Bucket, acl: &Acl) -> Result<()> {
    let blocked = acl.is_public() && PublicAccessBlock::of(bucket)?.public_acls;
    if blocked { Err(Error::AccessDenied) } else { Ok(()) }
}

/// A list as a request gives it, before it is known whose the object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Canned(Canned),
    Grants(Vec<authn::acl::Grant>),
}

/// The list that a new object of this writer gets.
pub fn of_new_object(bucket: &Bucket, writer: &Identity, wanted: Option<&Wanted>) -> Result<Option<storage::Acl>> {
    let ownership = documents::ownership(bucket);
    if !ownership.has_lists() {
        check_nothing_granted(bucket, writer, wanted)?;
        return Ok(None);
    }
    let canned = match wanted {
        Some(Wanted::Canned(canned)) => Some(*canned),
        Some(Wanted::Grants(_)) | None => None,
    };
    let owner = ownership.owner(&bucket.owner, writer, canned);
    let acl = expand_for_object(wanted.unwrap_or(&Wanted::Canned(Canned::Private)), owner, bucket)?;
    check_block(bucket, &acl)?;
    kept(&acl, bucket)
}

/// The list that `wanted` means for an object of this owner.
pub fn expand_for_object(wanted: &Wanted, owner: OwnerId, bucket: &Bucket) -> Result<Acl> {
    match wanted {
        Wanted::Canned(canned) => canned
            .of_object(&owner, &bucket.owner)
            .ok_or_else(|| Error::InvalidArgument("log-delivery-write is a list of buckets only".to_owned())),
        Wanted::Grants(grants) => Ok(Acl { owner, grants: grants.clone() }),
    }
}

/// Where lists do not count, only those are taken that say what is so anyway: full control for the bucket's owner. `private`
/// says that only where the bucket's own account asks for it.
pub fn check_nothing_granted(bucket: &Bucket, writer: &Identity, wanted: Option<&Wanted>) -> Result<()> {
    let is_so = match wanted {
        None | Some(Wanted::Canned(Canned::BucketOwnerFullControl)) => true,
        Some(Wanted::Canned(canned)) => *canned == Canned::Private && writer.owner() == Some(&bucket.owner),
        Some(Wanted::Grants(grants)) => {
            let own = |grantee: &Grantee| *grantee == Grantee::Account(bucket.owner.clone());
            let full = authn::acl::Permission::FullControl;
            !grants.is_empty() && grants.iter().all(|grant| own(&grant.grantee) && grant.permission == full)
        }
    };
    if is_so { Ok(()) } else { Err(Error::AclNotSupported) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::{document, put_public_access_block};
    use authn::acl::{Grant, Group, Ownership, Permission};
    use authn::identity::{Caller, Kind, Standing};
    use cluster::BucketState;
    use common::{BucketId, BucketName};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn id(name: &str) -> OwnerId {
        OwnerId(name.to_owned())
    }

    fn who(name: &str) -> Identity {
        Identity::Known(Arc::new(Caller {
            access_key: None,
            owner: id(name),
            account: "123456789012".to_owned(),
            tenant: None,
            admin: false,
            kind: Kind::Root,
            standing: Standing::default(),
        }))
    }

    /// Ann's bucket.
    fn bucket(ownership: Option<Ownership>, acl: Option<Acl>, ignores_public: bool) -> Bucket {
        let mut documents = BTreeMap::new();
        if let Some(ownership) = ownership {
            documents.insert(documents::OWNERSHIP.to_owned(), ownership.name().as_bytes().to_vec());
        }
        if let Some(acl) = acl {
            documents.insert(documents::ACL.to_owned(), acl.encode().expect("few"));
        }
        if ignores_public {
            let block = put_public_access_block::everything();
            documents.insert(documents::PUBLIC_ACCESS_BLOCK.to_owned(), document::write(&block).expect("plain data"));
        }
        Bucket {
            id: BucketId(1),
            name: BucketName::parse("bucket").expect("a name"),
            owner: id("ann"),
            created_ms: 0,
            version: 1,
            state: BucketState::Active,
            region: "here".to_owned(),
            documents,
        }
    }

    const ACTIONS: [&str; 22] = [
        "s3:ListBucket",
        "s3:ListBucketVersions",
        "s3:ListBucketMultipartUploads",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
        "s3:GetBucketAcl",
        "s3:PutBucketAcl",
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:GetObjectAcl",
        "s3:GetObjectVersionAcl",
        "s3:PutObjectAcl",
        "s3:PutObjectVersionAcl",
        "s3:GetObjectTagging",
        "s3:PutObjectTagging",
        "s3:DeleteObjectVersion",
        "s3:GetBucketPolicy",
        "s3:PutBucketPolicy",
        "s3:DeleteBucket",
        "s3:PutBucketOwnershipControls",
    ];

    fn granting(owner: &str, grantee: Grantee, permission: Permission) -> Acl {
        let mut acl = Acl::private(id(owner));
        acl.grants.push(Grant { grantee, permission });
        acl
    }

    fn granted(bucket: &Bucket, object: Option<&Acl>, identity: &Identity) -> Vec<&'static str> {
        let asks = |action: &&&str| {
            let object = object.map_or(Found::NotAsked, |acl| Found::Here(acl.clone(), None));
            let found = if is_the_objects(action) { object } else { Found::NotAsked };
            decide(bucket, found, action, identity).expect("readable").grants
        };
        ACTIONS.iter().filter(asks).copied().collect()
    }

    /// Row by row: what a grant on the bucket lets its grantee do, and on the object, and that it lets do nothing else.
    #[test]
    fn the_matrix_of_grants_is_that_of_aws() {
        let (read, write) = (&ACTIONS[0..3], &ACTIONS[3..7]);
        let (read_acp, write_acp) = (&ACTIONS[7..8], &ACTIONS[8..9]);
        let full = [read, write, read_acp, write_acp].concat();
        let of_object = [&ACTIONS[9..11], &ACTIONS[11..13], &ACTIONS[13..15]];
        let full_of_object = of_object.concat();
        let rows: [(Permission, &[&str], &[&str]); 5] = [
            (Permission::Read, read, of_object[0]),
            (Permission::Write, write, &[]),
            (Permission::ReadAcp, read_acp, of_object[1]),
            (Permission::WriteAcp, write_acp, of_object[2]),
            (Permission::FullControl, &full, &full_of_object),
        ];
        let private = Acl::private(id("ann"));
        let grantees = [
            (Grantee::Account(id("bob")), [true, false, false]),
            (Grantee::Group(Group::AuthenticatedUsers), [true, true, false]),
            (Grantee::Group(Group::AllUsers), [true, true, true]),
            (Grantee::Group(Group::LogDelivery), [false, false, false]),
        ];
        for (permission, on_bucket, on_object) in rows {
            for (grantee, lets_in) in &grantees {
                let acl = granting("ann", grantee.clone(), permission);
                for (identity, is_in) in [who("bob"), who("eve"), Identity::Anonymous].iter().zip(lets_in) {
                    let expected = |actions: &[&'static str]| if *is_in { actions.to_vec() } else { Vec::new() };
                    for ownership in [Ownership::ObjectWriter, Ownership::BucketOwnerPreferred] {
                        let shared = bucket(Some(ownership), Some(acl.clone()), false);
                        assert_eq!(
                            granted(&shared, Some(&private), identity),
                            expected(on_bucket),
                            "{acl:?} {identity:?}"
                        );
                        let closed = bucket(Some(ownership), None, false);
                        assert_eq!(granted(&closed, Some(&acl), identity), expected(on_object), "{acl:?} {identity:?}");
                    }
                    // Where lists do not count they grant nothing, whatever was put before.
                    for ownership in [Some(Ownership::BucketOwnerEnforced), None] {
                        let enforced = bucket(ownership, Some(acl.clone()), false);
                        assert!(granted(&enforced, Some(&acl), identity).is_empty());
                    }
                    // Nor does what is public where the bucket ignores that.
                    let ignoring = bucket(Some(Ownership::ObjectWriter), Some(acl.clone()), true);
                    let is_public = matches!(grantee, Grantee::Group(Group::AllUsers | Group::AuthenticatedUsers));
                    assert_eq!(granted(&ignoring, Some(&acl), identity).is_empty(), is_public || !is_in);
                }
            }
        }
    }

    #[test]
    fn an_object_of_another_account_is_not_the_bucket_owners_to_read() {
        let writer = bucket(Some(Ownership::ObjectWriter), None, false);
        let bobs = Acl::private(id("bob"));
        let ask = |bucket: &Bucket, acl: &Acl, action, identity: &Identity| {
            decide(bucket, Found::Here(acl.clone(), None), action, identity).expect("readable")
        };
        for action in ["s3:GetObject", "s3:GetObjectAcl", "s3:PutObjectAcl", "s3:GetObjectTagging"] {
            let said = ask(&writer, &bobs, action, &who("ann"));
            assert_eq!((said.owner, said.grants), (id("bob"), false), "{action}");
        }
        // With a grant it may read, and still not change the list.
        let shared = Canned::BucketOwnerRead.of_object(&id("bob"), &id("ann")).expect("of objects");
        assert!(ask(&writer, &shared, "s3:GetObject", &who("ann")).grants);
        assert!(!ask(&writer, &shared, "s3:PutObjectAcl", &who("ann")).grants);
        // Deleting is the bucket owner's: there the object is not asked.
        let delete = decide(&writer, Found::NotAsked, "s3:DeleteObject", &who("ann")).expect("readable");
        assert_eq!(delete.owner, id("ann"));
        // Where the owner is enforced all objects are the bucket's again.
        let enforced = bucket(Some(Ownership::BucketOwnerEnforced), None, false);
        assert_eq!(ask(&enforced, &bobs, "s3:GetObject", &who("bob")).owner, id("ann"));
        let absent = decide(&writer, Found::Absent, "s3:GetObject", &who("bob")).expect("readable");
        assert_eq!((absent.owner, absent.grants, absent.seen), (id("ann"), false, None));
    }

    #[test]
    fn who_may_put_may_say_who_reads_it() {
        let open = Canned::PublicReadWrite.of_bucket(&id("ann"));
        let ask = |bucket: &Bucket, identity: &Identity| {
            let said = decide(bucket, Found::New, "s3:PutObjectAcl", identity).expect("readable");
            (said.owner.0, said.grants)
        };
        let writer = bucket(Some(Ownership::ObjectWriter), Some(open.clone()), false);
        assert_eq!(ask(&writer, &who("bob")), ("bob".to_owned(), true));
        assert_eq!(ask(&writer, &Identity::Anonymous), (authn::acl::NOBODY.to_owned(), true));
        let closed = bucket(Some(Ownership::ObjectWriter), None, false);
        assert_eq!(ask(&closed, &Identity::Anonymous), (authn::acl::NOBODY.to_owned(), false));
        let enforced = bucket(None, Some(open), false);
        assert_eq!(ask(&enforced, &who("bob")), ("ann".to_owned(), false));
    }

    #[test]
    fn new_objects_get_the_list_that_ownership_allows() {
        let code = |bucket: &Bucket, writer: &Identity, wanted: Option<&Wanted>| {
            of_new_object(bucket, writer, wanted).map_err(|error| error.answer().code)
        };
        let canned = |name| Wanted::Canned(Canned::parse(name).expect("known"));
        let enforced = bucket(None, None, false);
        for writer in [who("ann"), who("bob"), Identity::Anonymous] {
            assert_eq!(code(&enforced, &writer, None), Ok(None));
            assert_eq!(code(&enforced, &writer, Some(&canned("bucket-owner-full-control"))), Ok(None));
        }
        assert_eq!(code(&enforced, &who("ann"), Some(&canned("private"))), Ok(None));
        assert_eq!(code(&enforced, &who("bob"), Some(&canned("private"))), Err("AccessControlListNotSupported"));
        let full = |name: &str| Grant { grantee: Grantee::Account(id(name)), permission: Permission::FullControl };
        assert_eq!(code(&enforced, &who("bob"), Some(&Wanted::Grants(vec![full("ann")]))), Ok(None));
        for other in [
            canned("public-read"),
            canned("bucket-owner-read"),
            Wanted::Grants(vec![full("bob")]),
            Wanted::Grants(Vec::new()),
        ] {
            assert_eq!(code(&enforced, &who("ann"), Some(&other)), Err("AccessControlListNotSupported"));
        }
        // Nothing is stored of what everybody has.
        for ownership in [Ownership::ObjectWriter, Ownership::BucketOwnerPreferred] {
            let bucket = bucket(Some(ownership), None, false);
            assert_eq!(code(&bucket, &who("ann"), None), Ok(None));
            assert_eq!(code(&bucket, &who("ann"), Some(&canned("bucket-owner-full-control"))), Ok(None));
            let bobs = code(&bucket, &who("bob"), None).expect("taken").expect("kept");
            assert_eq!(bobs.owner.as_deref(), Some("bob"));
            let handed = code(&bucket, &who("bob"), Some(&canned("bucket-owner-full-control"))).expect("taken");
            assert_eq!(handed.is_none(), ownership == Ownership::BucketOwnerPreferred);
            assert_eq!(code(&bucket, &who("bob"), Some(&canned("log-delivery-write"))), Err("InvalidArgument"));
        }
        let blocking = bucket(Some(Ownership::ObjectWriter), None, true);
        assert_eq!(code(&blocking, &who("ann"), Some(&canned("public-read"))), Err("AccessDenied"));
        assert_eq!(code(&blocking, &who("ann"), Some(&canned("private"))), Ok(None));
        let many = Wanted::Grants(vec![full("eve"); authn::acl::GRANTS_MAX + 1]);
        assert_eq!(
            code(&bucket(Some(Ownership::ObjectWriter), None, false), &who("ann"), Some(&many)),
            Err("MalformedACLError")
        );
    }
}
