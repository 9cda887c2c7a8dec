//! Access control lists: who may do what with one bucket or one version of an object, beside all policies. A list grants,
//! it never denies. Pure.
//!
//! Source: "Access control list (ACL) overview" and "Controlling ownership of objects and disabling ACLs for your bucket",
//! Amazon S3 User Guide.

use crate::identity::Identity;
use common::OwnerId;

/// Grants that one list may have.
pub const GRANTS_MAX: usize = 100;

/// Who nobody is, where somebody without credentials makes an object that does not become the bucket owner's: S3's id for it.
pub const NOBODY: &str = "65a011a29cdf8ec533ec3d1ccaae921c";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// All others.
    FullControl,
    Write,
    WriteAcp,
    Read,
    ReadAcp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Everybody, also without credentials.
    AllUsers,
    /// Everybody who has an access key of any account.
    AuthenticatedUsers,
    /// Whoever delivers access logs: no identity of a request is in it.
    LogDelivery,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grantee {
    /// An account, by its canonical user id.
    Account(OwnerId),
    Group(Group),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub grantee: Grantee,
    pub permission: Permission,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    pub owner: OwnerId,
    /// In the order in which they were given, `GRANTS_MAX` at most.
    pub grants: Vec<Grant>,
}

/// A list by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canned {
    Private,
    PublicRead,
    PublicReadWrite,
    AuthenticatedRead,
    AwsExecRead,
    BucketOwnerRead,
    BucketOwnerFullControl,
    LogDeliveryWrite,
}

/// Whose the objects are that others put into a bucket, and whether lists count in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ownership {
    /// All are the bucket owner's, and no list counts.
    #[default]
    BucketOwnerEnforced,
    /// Whoever puts an object owns it, unless it comes with `bucket-owner-full-control`: then the bucket's owner does.
    BucketOwnerPreferred,
    /// Whoever puts an object owns it.
    ObjectWriter,
}

/// What has the list that decides about an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    Bucket,
    Object,
}

impl Permission {
    const ALL: [(Self, &'static str); 5] = [
        (Self::FullControl, "FULL_CONTROL"),
        (Self::Write, "WRITE"),
        (Self::WriteAcp, "WRITE_ACP"),
        (Self::Read, "READ"),
        (Self::ReadAcp, "READ_ACP"),
    ];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(permission, _)| *permission)
    }

    pub fn name(self) -> &'static str {
        name_in(&Self::ALL, self)
    }

    fn covers(self, wanted: Self) -> bool {
        self == Self::FullControl || self == wanted
    }
}

impl Group {
    const ALL: [(Self, &'static str); 3] = [
        (Self::AllUsers, "http://acs.amazonaws.com/groups/global/AllUsers"),
        (Self::AuthenticatedUsers, "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"),
        (Self::LogDelivery, "http://acs.amazonaws.com/groups/s3/LogDelivery"),
    ];

    pub fn parse(uri: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == uri).map(|(group, _)| *group)
    }

    pub fn uri(self) -> &'static str {
        name_in(&Self::ALL, self)
    }

    /// Whether the whole world is in it, or every account of this store: what S3 calls public.
    fn is_public(self) -> bool {
        matches!(self, Self::AllUsers | Self::AuthenticatedUsers)
    }

    fn has(self, identity: &Identity) -> bool {
        match self {
            Self::AllUsers => true,
            Self::AuthenticatedUsers => !identity.is_anonymous(),
            Self::LogDelivery => false,
        }
    }
}

impl Canned {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Private, "private"),
        (Self::PublicRead, "public-read"),
        (Self::PublicReadWrite, "public-read-write"),
        (Self::AuthenticatedRead, "authenticated-read"),
        (Self::AwsExecRead, "aws-exec-read"),
        (Self::BucketOwnerRead, "bucket-owner-read"),
        (Self::BucketOwnerFullControl, "bucket-owner-full-control"),
        (Self::LogDeliveryWrite, "log-delivery-write"),
    ];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(canned, _)| *canned)
    }

    /// The list of a bucket. Those that speak of a bucket's owner say nothing of a bucket.
    pub fn of_bucket(self, owner: &OwnerId) -> Acl {
        self.expand(owner, None)
    }

    /// The list of an object; `None` where S3 has this name for buckets only.
    pub fn of_object(self, owner: &OwnerId, bucket_owner: &OwnerId) -> Option<Acl> {
        (self != Self::LogDeliveryWrite).then(|| self.expand(owner, Some(bucket_owner)))
    }

    fn expand(self, owner: &OwnerId, bucket_owner: Option<&OwnerId>) -> Acl {
        let mut acl = Acl::private(owner.clone());
        let mut group = |group, permission| acl.grants.push(Grant { grantee: Grantee::Group(group), permission });
        match self {
            // There is no EC2 here that would read.
            Self::Private | Self::AwsExecRead => {}
            Self::PublicRead => group(Group::AllUsers, Permission::Read),
            Self::PublicReadWrite => {
                group(Group::AllUsers, Permission::Read);
                group(Group::AllUsers, Permission::Write);
            }
            Self::AuthenticatedRead => group(Group::AuthenticatedUsers, Permission::Read),
            Self::LogDeliveryWrite => {
                group(Group::LogDelivery, Permission::Write);
                group(Group::LogDelivery, Permission::ReadAcp);
            }
            Self::BucketOwnerRead | Self::BucketOwnerFullControl => {
                let permission = if self == Self::BucketOwnerRead { Permission::Read } else { Permission::FullControl };
                if let Some(bucket_owner) = bucket_owner.filter(|bucket_owner| *bucket_owner != owner) {
                    acl.grants.push(Grant { grantee: Grantee::Account(bucket_owner.clone()), permission });
                }
            }
        }
        acl
    }
}

impl Ownership {
    const ALL: [(Self, &'static str); 3] = [
        (Self::BucketOwnerEnforced, "BucketOwnerEnforced"),
        (Self::BucketOwnerPreferred, "BucketOwnerPreferred"),
        (Self::ObjectWriter, "ObjectWriter"),
    ];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(ownership, _)| *ownership)
    }

    pub fn name(self) -> &'static str {
        name_in(&Self::ALL, self)
    }

    pub fn has_lists(self) -> bool {
        self != Self::BucketOwnerEnforced
    }

    /// Whose a new object is.
    pub fn owner(self, bucket_owner: &OwnerId, writer: &Identity, canned: Option<Canned>) -> OwnerId {
        let hands_over = self == Self::BucketOwnerPreferred && canned == Some(Canned::BucketOwnerFullControl);
        if !self.has_lists() || hands_over {
            return bucket_owner.clone();
        }
        writer.owner().cloned().unwrap_or_else(|| OwnerId(NOBODY.to_owned()))
    }
}

impl Acl {
    /// The owner has full control, and nobody else anything.
    pub fn private(owner: OwnerId) -> Self {
        let grants = vec![Grant { grantee: Grantee::Account(owner.clone()), permission: Permission::FullControl }];
        Self { owner, grants }
    }

    pub fn is_private(&self) -> bool {
        *self == Self::private(self.owner.clone())
    }

    /// Whether it grants anything to everybody, or to everybody with an access key.
    pub fn is_public(&self) -> bool {
        self.grants.iter().any(|grant| matches!(&grant.grantee, Grantee::Group(group) if group.is_public()))
    }

    /// The same without what `is_public` finds: `IgnorePublicAcls`.
    pub fn without_public(mut self) -> Self {
        self.grants.retain(|grant| !matches!(&grant.grantee, Grantee::Group(group) if group.is_public()));
        self
    }

    /// Whether the list lets this identity do what the permission is for. A grant to the owner's own account lets nobody in:
    /// its root needs none, and its users go by their policies.
    pub fn grants(&self, identity: &Identity, permission: Permission) -> bool {
        let is_grantee = |grantee: &Grantee| match grantee {
            Grantee::Account(account) => *account != self.owner && identity.owner() == Some(account),
            Grantee::Group(group) => group.has(identity),
        };
        self.grants.iter().any(|grant| grant.permission.covers(permission) && is_grantee(&grant.grantee))
    }

    /// As it is kept beside a version and in a bucket's documents: a format byte (1), the owner, and of each grant a byte for
    /// the permission, one for the kind of grantee, and an account's id. A text is its length in two bytes, low one first, and
    /// its UTF-8. `None` where there are too many grants, or an id is too long.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.grants.len() > GRANTS_MAX {
            return None;
        }
        let mut bytes = vec![FORMAT];
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
            Some(())
        };
        text(&mut bytes, &self.owner.0)?;
        for Grant { grantee, permission } in &self.grants {
            bytes.push(place_in(&Permission::ALL, *permission));
            match grantee {
                Grantee::Account(account) => {
                    bytes.push(ACCOUNT);
                    text(&mut bytes, &account.0)?;
                }
                Grantee::Group(group) => bytes.push(1 + place_in(&Group::ALL, *group)),
            }
        }
        Some(bytes)
    }

    /// `None` of what `encode` has not written.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        fn text<'b>(rest: &mut &'b [u8]) -> Option<&'b str> {
            let (length, behind) = rest.split_first_chunk::<2>()?;
            let (text, behind) = behind.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            *rest = behind;
            std::str::from_utf8(text).ok()
        }
        let (FORMAT, mut rest) = bytes.split_first().map(|(format, rest)| (*format, rest))? else { return None };
        let owner = OwnerId(text(&mut rest)?.to_owned());
        let mut grants = Vec::new();
        while let Some((&[permission, kind], behind)) = rest.split_first_chunk::<2>() {
            rest = behind;
            let (permission, _) = *Permission::ALL.get(usize::from(permission))?;
            let grantee = match kind.checked_sub(1) {
                None => Grantee::Account(OwnerId(text(&mut rest)?.to_owned())),
                Some(group) => Grantee::Group(Group::ALL.get(usize::from(group))?.0),
            };
            grants.push(Grant { grantee, permission });
            if grants.len() > GRANTS_MAX {
                return None;
            }
        }
        rest.is_empty().then_some(Self { owner, grants })
    }
}

const FORMAT: u8 = 1;
/// The kind of a grantee that is an account; groups follow.
const ACCOUNT: u8 = 0;

/// The list, and the permission in it, that an action can be granted by. `None`: only policies grant it.
///
/// Source: the table of "Mapping of ACL permissions and access policy permissions". AWS lets the writers of a bucket end the
/// uploads that they began; whose an upload is nobody knows but by its id, so here every writer may who knows that.
pub fn permission_of(action: &str) -> Option<(Listed, Permission)> {
    use Listed::{Bucket, Object};
    Some(match action.strip_prefix("s3:")? {
        "ListBucket" | "ListBucketVersions" | "ListBucketMultipartUploads" => (Bucket, Permission::Read),
        "PutObject" | "DeleteObject" | "AbortMultipartUpload" | "ListMultipartUploadParts" => {
            (Bucket, Permission::Write)
        }
        "GetBucketAcl" => (Bucket, Permission::ReadAcp),
        "PutBucketAcl" => (Bucket, Permission::WriteAcp),
        "GetObject" | "GetObjectVersion" => (Object, Permission::Read),
        "GetObjectAcl" | "GetObjectVersionAcl" => (Object, Permission::ReadAcp),
        "PutObjectAcl" | "PutObjectVersionAcl" => (Object, Permission::WriteAcp),
        _ => return None,
    })
}

/// Whether the object's owner decides about an action, and not the bucket's: who reads it, who changes what is beside its
/// bytes. To delete and replace it, and to keep it from being deleted, is the bucket owner's whoever owns it.
pub fn is_the_objects(action: &str) -> bool {
    let Some(name) = action.strip_prefix("s3:") else { return false };
    matches!(
        name,
        "GetObject"
            | "GetObjectVersion"
            | "GetObjectAcl"
            | "GetObjectVersionAcl"
            | "PutObjectAcl"
            | "PutObjectVersionAcl"
            | "GetObjectAttributes"
            | "GetObjectVersionAttributes"
            | "GetObjectTagging"
            | "GetObjectVersionTagging"
            | "PutObjectTagging"
            | "PutObjectVersionTagging"
            | "DeleteObjectTagging"
            | "DeleteObjectVersionTagging"
    )
}

fn name_in<T: Copy + PartialEq>(table: &[(T, &'static str)], value: T) -> &'static str {
    table.iter().find(|(of, _)| *of == value).map_or("", |(_, name)| name)
}

fn place_in<T: Copy + PartialEq>(table: &[(T, &'static str)], value: T) -> u8 {
    let place = table.iter().position(|(of, _)| *of == value).and_then(|place| u8::try_from(place).ok());
    place.expect("each table has all values, which are few")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Caller, Kind, Standing};
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

    fn granted(acl: &Acl, identity: &Identity) -> String {
        let letters = [
            ('r', Permission::Read),
            ('w', Permission::Write),
            ('R', Permission::ReadAcp),
            ('W', Permission::WriteAcp),
        ];
        letters.iter().filter(|(_, permission)| acl.grants(identity, *permission)).map(|(letter, _)| letter).collect()
    }

    #[test]
    fn canned_lists_grant_what_their_names_say() {
        let (ann, bob) = (id("ann"), id("bob"));
        // Of an object of ann's in bob's bucket: what bob, a third account and nobody may.
        for (name, bobs, others, nobodys) in [
            ("private", "", "", ""),
            ("public-read", "r", "r", "r"),
            ("public-read-write", "rw", "rw", "rw"),
            ("authenticated-read", "r", "r", ""),
            ("aws-exec-read", "", "", ""),
            ("bucket-owner-read", "r", "", ""),
            ("bucket-owner-full-control", "rwRW", "", ""),
        ] {
            let canned = Canned::parse(name).expect(name);
            let acl = canned.of_object(&ann, &bob).expect("of objects");
            let all = [who("bob"), who("eve"), Identity::Anonymous].map(|identity| granted(&acl, &identity));
            assert_eq!(all, [bobs, others, nobodys], "{name}");
            assert_eq!(acl.grants[0], Acl::private(ann.clone()).grants[0], "{name}");
            assert_eq!(acl.is_public(), !others.is_empty(), "{name}");
            assert_eq!(granted(&acl.clone().without_public(), &who("eve")), "", "{name}");
            // Where both are one account nothing is granted twice.
            let own = canned.of_object(&ann, &ann).expect("of objects");
            assert_eq!(own.is_private(), others.is_empty(), "{name}");
            if name.starts_with("bucket-owner") {
                assert!(canned.of_bucket(&ann).is_private(), "{name}");
            }
        }
        let log = Canned::LogDeliveryWrite;
        assert_eq!(log.of_object(&ann, &bob), None);
        assert_eq!((granted(&log.of_bucket(&ann), &who("bob")), log.of_bucket(&ann).grants.len()), (String::new(), 3));
        assert_eq!(Canned::parse("public-ready"), None);
        assert_eq!(Canned::parse("Private"), None);
    }

    #[test]
    fn a_grant_is_for_its_grantee_and_permission_alone() {
        for (permission, letters) in
            [("FULL_CONTROL", "rwRW"), ("READ", "r"), ("WRITE", "w"), ("READ_ACP", "R"), ("WRITE_ACP", "W")]
        {
            let permission = Permission::parse(permission).expect("known");
            let mut acl = Acl::private(id("ann"));
            acl.grants.push(Grant { grantee: Grantee::Account(id("bob")), permission });
            assert_eq!(granted(&acl, &who("bob")), letters);
            assert_eq!(granted(&acl, &who("eve")), "");
            assert_eq!(granted(&acl, &Identity::Anonymous), "");
            // Who owns it does not need the list, and users of that account are not let in by it.
            assert_eq!(granted(&acl, &who("ann")), "");
        }
        // The id of nobody is no key to what belongs to nobody.
        let acl = Acl::private(id(NOBODY));
        assert_eq!(granted(&acl, &Identity::Anonymous), "");
    }

    #[test]
    fn the_table_of_permissions_is_that_of_aws() {
        use Listed::{Bucket, Object};
        let rows: [(Listed, Permission, &[&str]); 7] = [
            (Bucket, Permission::Read, &["ListBucket", "ListBucketVersions", "ListBucketMultipartUploads"]),
            (
                Bucket,
                Permission::Write,
                &["PutObject", "DeleteObject", "AbortMultipartUpload", "ListMultipartUploadParts"],
            ),
            (Bucket, Permission::ReadAcp, &["GetBucketAcl"]),
            (Bucket, Permission::WriteAcp, &["PutBucketAcl"]),
            (Object, Permission::Read, &["GetObject", "GetObjectVersion"]),
            (Object, Permission::ReadAcp, &["GetObjectAcl", "GetObjectVersionAcl"]),
            (Object, Permission::WriteAcp, &["PutObjectAcl", "PutObjectVersionAcl"]),
        ];
        for (listed, permission, actions) in rows {
            for action in actions {
                let action = format!("s3:{action}");
                assert_eq!(permission_of(&action), Some((listed, permission)), "{action}");
                assert_eq!(is_the_objects(&action), listed == Object, "{action}");
            }
        }
        for action in [
            "s3:DeleteObjectVersion",
            "s3:GetBucketPolicy",
            "s3:PutBucketPolicy",
            "s3:DeleteBucket",
            "s3:GetObjectTagging",
            "s3:BypassGovernanceRetention",
            "s3:PutLifecycleConfiguration",
            "s3:*",
            "iam:GetObject",
            "GetObject",
        ] {
            assert_eq!(permission_of(action), None, "{action}");
        }
    }

    #[test]
    fn ownership_says_whose_a_new_object_is() {
        let full = Some(Canned::BucketOwnerFullControl);
        let of = |ownership: Ownership, writer: &Identity, canned| ownership.owner(&id("ann"), writer, canned).0;
        for (ownership, plain, handed_over) in [
            (Ownership::BucketOwnerEnforced, "ann", "ann"),
            (Ownership::BucketOwnerPreferred, "bob", "ann"),
            (Ownership::ObjectWriter, "bob", "bob"),
        ] {
            assert_eq!(of(ownership, &who("bob"), None), plain);
            assert_eq!(of(ownership, &who("bob"), Some(Canned::PublicRead)), plain);
            assert_eq!(of(ownership, &who("bob"), full), handed_over);
            assert_eq!(of(ownership, &who("ann"), None), "ann");
            assert_eq!(Ownership::parse(ownership.name()), Some(ownership));
        }
        assert_eq!(of(Ownership::ObjectWriter, &Identity::Anonymous, None), NOBODY);
        assert_eq!(of(Ownership::BucketOwnerPreferred, &Identity::Anonymous, full), "ann");
        assert_eq!((Ownership::default().has_lists(), Ownership::parse("")), (false, None));
    }

    #[test]
    fn lists_survive_their_bytes() {
        let mut acl = Acl::private(id("ann"));
        for (permission, _) in Permission::ALL {
            acl.grants.push(Grant { grantee: Grantee::Account(id("b\u{fc}b")), permission });
            for (group, _) in Group::ALL {
                acl.grants.push(Grant { grantee: Grantee::Group(group), permission });
            }
        }
        let bytes = acl.encode().expect("few grants");
        assert_eq!(Acl::decode(&bytes), Some(acl.clone()));
        // Cut anywhere it is another list or none, never a panic; and a whole one has nothing behind it.
        for length in 0..bytes.len() {
            assert_ne!(Acl::decode(&bytes[..length]), Some(acl.clone()));
        }
        assert_eq!(Acl::decode(&[bytes.clone(), vec![0]].concat()), None);
        assert_eq!(Acl::decode(&[2]), None);
        assert_eq!(Acl::decode(&[&bytes[..6], &[9, 1]].concat()), None);
        assert_eq!(Acl::decode(&[&bytes[..6], &[0, 4]].concat()), None);
        acl.grants = vec![acl.grants[0].clone(); GRANTS_MAX];
        assert!(acl.encode().is_some_and(|bytes| Acl::decode(&bytes) == Some(acl.clone())));
        acl.grants.push(acl.grants[0].clone());
        assert_eq!(acl.encode(), None);
        assert_eq!(Acl { owner: id(&"x".repeat(70_000)), grants: Vec::new() }.encode(), None);
    }

    #[test]
    fn groups_are_known_by_their_uris() {
        for (group, uri) in Group::ALL {
            assert_eq!((Group::parse(uri), group.uri()), (Some(group), uri));
        }
        assert_eq!(Group::parse("http://acs.amazonaws.com/groups/global/Everyone"), None);
    }
}
