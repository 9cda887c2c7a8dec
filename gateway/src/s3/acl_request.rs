//! The access control list that a request asks for: by a canned list's name, by grants in headers, or by a document. Only one
//! of them may speak, and every grantee must be known here.
//!
//! Source: "Access control list (ACL) overview", Amazon S3 User Guide; "PutObjectAcl", Amazon S3 API Reference.

use crate::acl::Wanted;
use crate::error::{Error, Result};
use crate::s3::{Service, document};
use authn::Identity;
use authn::acl::{Acl, Canned, GRANTS_MAX, Grant, Grantee, Group, Permission};
use cluster::{Bucket, State};
use common::OwnerId;
use http::{Extensions, HeaderMap};
use s3s::S3Request;
use s3s::dto::{self, AccessControlPolicy};

const CANNED: &str = "x-amz-acl";
const GRANTS: [(&str, Permission); 5] = [
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
    ("x-amz-grant-full-control", Permission::FullControl),
];

/// Who asks: nobody, where it is nobody.
pub fn writer(extensions: &Extensions) -> Identity {
    extensions.get::<Identity>().cloned().unwrap_or(Identity::Anonymous)
}

/// Whether headers ask for a list that grants something.
pub fn is_in(headers: &HeaderMap) -> bool {
    let canned = headers.get(CANNED);
    canned.is_some_and(|canned| canned != "private" && canned != "bucket-owner-full-control")
        || GRANTS.iter().any(|(name, _)| headers.contains_key(*name))
}

/// What headers say, if they say anything.
pub fn of_headers(headers: &HeaderMap, state: &State) -> Result<Option<Wanted>> {
    let mut grants = Vec::new();
    for (name, permission) in GRANTS {
        for value in headers.get_all(name) {
            let text = value.to_str().map_err(|_| not_recognized())?;
            for (kind, id) in grantees(text)? {
                grants.push(Grant { grantee: grantee(&kind, &id, state)?, permission });
            }
        }
    }
    let has_grants = GRANTS.iter().any(|(name, _)| headers.contains_key(*name));
    match headers.get(CANNED) {
        Some(_) if has_grants => {
            Err(Error::InvalidRequest("Specifying both Canned ACLs and Header Grants is not allowed".to_owned()))
        }
        Some(name) => {
            let canned = name.to_str().ok().and_then(Canned::parse);
            canned.map(|canned| Some(Wanted::Canned(canned))).ok_or_else(|| Error::InvalidArgument(String::new()))
        }
        None if grants.len() > GRANTS_MAX => Err(too_many()),
        None => Ok(has_grants.then_some(Wanted::Grants(grants))),
    }
}

/// What a request to change a list says. `owner` is whose the resource is: a document that names somebody else is not about
/// this resource.
pub fn of_change<I>(
    request: &S3Request<I>,
    document: Option<&AccessControlPolicy>,
    state: &State,
    owner: &OwnerId,
) -> Result<Wanted> {
    let in_headers = of_headers(&request.headers, state)?;
    match (in_headers, document) {
        (Some(_), Some(_)) => Err(Error::UnexpectedContent),
        (Some(wanted), None) => Ok(wanted),
        (None, None) => Err(Error::MissingSecurityHeader),
        (None, Some(document)) => {
            document::received(request, document).map_err(|error| match error {
                Error::MalformedXml(text) => Error::MalformedAcl(text),
                other => other,
            })?;
            of_document(document, state, owner).map(Wanted::Grants)
        }
    }
}

fn of_document(document: &AccessControlPolicy, state: &State, owner: &OwnerId) -> Result<Vec<Grant>> {
    let named = document.owner.as_ref().and_then(|owner| owner.id.as_deref());
    match named {
        None => return Err(Error::MalformedAcl("The list names no owner")),
        Some(id) if id != owner.0 => return Err(Error::AccessDenied),
        Some(_) => {}
    }
    let Some(grants) = &document.grants else { return Err(Error::MalformedAcl("There is no AccessControlList")) };
    if grants.len() > GRANTS_MAX {
        return Err(too_many());
    }
    grants.iter().map(|grant| of_element(grant, state)).collect()
}

fn of_element(grant: &dto::Grant, state: &State) -> Result<Grant> {
    let malformed = |text| Err(Error::MalformedAcl(text));
    let permission = grant.permission.as_ref().and_then(|permission| Permission::parse(permission.as_str()));
    let (Some(permission), Some(named)) = (permission, &grant.grantee) else {
        return malformed("A grant has a grantee and a permission");
    };
    let (kind, id, others) = match named.type_.as_str() {
        dto::Type::CANONICAL_USER => ("id", &named.id, [&named.uri, &named.email_address]),
        dto::Type::GROUP => ("uri", &named.uri, [&named.id, &named.email_address]),
        dto::Type::AMAZON_CUSTOMER_BY_EMAIL => ("emailAddress", &named.email_address, [&named.id, &named.uri]),
        _ => return malformed("A grantee is a CanonicalUser, a Group or an AmazonCustomerByEmail"),
    };
    let Some(id) = id.as_deref().filter(|_| others.iter().all(|other| other.is_none())) else {
        return malformed("A grantee is named by what its type says");
    };
    Ok(Grant { grantee: grantee(kind, id, state)?, permission })
}

/// `id="..."`, `uri=...`, `emailAddress="..."`, with commas between them.
fn grantees(text: &str) -> Result<Vec<(String, String)>> {
    let mut grantees = Vec::new();
    let mut rest = text.trim();
    loop {
        let (kind, behind) = rest.split_once('=').ok_or_else(not_recognized)?;
        let behind = behind.trim_start();
        let (id, behind) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(not_recognized)?,
            None => behind.split_at(behind.find(',').unwrap_or(behind.len())),
        };
        grantees.push((kind.trim().to_owned(), id.trim().to_owned()));
        if grantees.len() > GRANTS_MAX {
            return Err(too_many());
        }
        let behind = behind.trim_start();
        if behind.is_empty() {
            return Ok(grantees);
        }
        rest = behind.strip_prefix(',').ok_or_else(not_recognized)?.trim_start();
    }
}

fn grantee(kind: &str, id: &str, state: &State) -> Result<Grantee> {
    let account = |id: &OwnerId| Grantee::Account(id.clone());
    if kind.eq_ignore_ascii_case("id") {
        let known = state.owners.get(&OwnerId(id.to_owned()));
        return known.map(|owner| account(&owner.id)).ok_or_else(|| Error::InvalidArgument("Invalid id".to_owned()));
    }
    if kind.eq_ignore_ascii_case("uri") {
        let group = Group::parse(id).map(Grantee::Group);
        return group.ok_or_else(|| Error::InvalidArgument("Invalid group uri".to_owned()));
    }
    if kind.eq_ignore_ascii_case("emailAddress") {
        let has_it = |owner: &&std::sync::Arc<cluster::Owner>| {
            owner.email.as_ref().is_some_and(|email| !id.is_empty() && email.eq_ignore_ascii_case(id))
        };
        let mut found = state.owners.values().filter(has_it);
        return match (found.next(), found.next()) {
            (None, _) => Err(Error::UnresolvableEmail),
            (Some(owner), None) => Ok(account(&owner.id)),
            (Some(_), Some(_)) => Err(Error::AmbiguousEmail),
        };
    }
    Err(not_recognized())
}

fn not_recognized() -> Error {
    Error::InvalidArgument("Argument format not recognized".to_owned())
}

fn too_many() -> Error {
    Error::MalformedAcl("An access control list has at most 100 grants")
}

impl Service {
    /// What a write keeps of the list that its headers ask for.
    pub fn acl_of_write(
        &self,
        headers: &HeaderMap,
        bucket: &Bucket,
        writer: &Identity,
    ) -> Result<Option<storage::Acl>> {
        let state = self.parts.control.current();
        crate::acl::of_new_object(bucket, writer, of_headers(headers, &state)?.as_ref())
    }

    /// A list as S3 writes it. Groups come first, as the conformance suite expects; S3 promises no order.
    pub fn written_acl(&self, acl: &Acl) -> (dto::Owner, Vec<dto::Grant>) {
        let is_group = |grant: &&Grant| matches!(grant.grantee, Grantee::Group(_));
        let (groups, accounts): (Vec<_>, Vec<_>) = acl.grants.iter().partition(is_group);
        let grants = groups.into_iter().chain(accounts).map(|grant| self.written_grant(grant));
        (self.owner(&acl.owner), grants.collect())
    }

    fn written_grant(&self, grant: &Grant) -> dto::Grant {
        let (type_, owner, uri) = match &grant.grantee {
            Grantee::Account(id) => (dto::Type::CANONICAL_USER, Some(self.owner(id)), None),
            Grantee::Group(group) => (dto::Type::GROUP, None, Some(group.uri().to_owned())),
        };
        let dto::Owner { id, display_name } = owner.unwrap_or_default();
        let grantee = dto::Grantee { display_name, email_address: None, id, type_: dto::Type::from_static(type_), uri };
        dto::Grant { grantee: Some(grantee), permission: Some(dto::Permission::from_static(grant.permission.name())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::Owner;
    use http::{HeaderName, HeaderValue};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn state() -> State {
        let owner = |id: &str, email: Option<&str>| {
            let id = OwnerId(id.to_owned());
            (id.clone(), Arc::new(Owner { id, display_name: String::new(), email: email.map(str::to_owned) }))
        };
        let owners: BTreeMap<_, _> = [
            owner("ann", Some("ann@example.com")),
            owner("bob", Some("same@example.com")),
            owner("eve", Some("same@example.com")),
            owner("zoe", None),
        ]
        .into();
        State { owners: Arc::new(owners), ..State::default() }
    }

    fn wanted(pairs: &[(&'static str, &'static str)]) -> Result<Option<Wanted>, &'static str> {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        of_headers(&pairs.iter().map(pair).collect(), &state()).map_err(|error| error.answer().code)
    }

    fn to(id: &str, permission: Permission) -> Grant {
        Grant { grantee: Grantee::Account(OwnerId(id.to_owned())), permission }
    }

    #[test]
    fn headers_name_a_canned_list_or_grants() {
        assert_eq!(wanted(&[("host", "a")]), Ok(None));
        assert_eq!(wanted(&[("x-amz-acl", "public-read")]), Ok(Some(Wanted::Canned(Canned::PublicRead))));
        assert_eq!(wanted(&[("x-amz-acl", "public-ready")]), Err("InvalidArgument"));
        assert_eq!(wanted(&[("x-amz-acl", "private"), ("x-amz-grant-read", "id=ann")]), Err("InvalidRequest"));
        let all = wanted(&[
            (
                "x-amz-grant-read",
                "id=\"ann\", emailAddress=\"ANN@example.com\",uri=http://acs.amazonaws.com/groups/global/AllUsers",
            ),
            ("x-amz-grant-write-acp", " id = zoe "),
        ]);
        let everybody = Grant { grantee: Grantee::Group(Group::AllUsers), permission: Permission::Read };
        let (read, write) = (Permission::Read, Permission::WriteAcp);
        assert_eq!(all, Ok(Some(Wanted::Grants(vec![to("ann", read), to("ann", read), everybody, to("zoe", write)]))));
    }

    #[test]
    fn grantees_must_be_known_and_well_formed() {
        for (value, code) in [
            ("id=nobody", "InvalidArgument"),
            ("id=", "InvalidArgument"),
            ("uri=http://acs.amazonaws.com/groups/global/Everyone", "InvalidArgument"),
            ("emailAddress=nobody@example.com", "UnresolvableGrantByEmailAddress"),
            ("emailAddress=", "UnresolvableGrantByEmailAddress"),
            ("emailAddress=same@example.com", "AmbiguousGrantByEmailAddress"),
            ("", "InvalidArgument"),
            ("ann", "InvalidArgument"),
            ("name=ann", "InvalidArgument"),
            ("id=\"ann", "InvalidArgument"),
            ("id=\"ann\" id=\"zoe\"", "InvalidArgument"),
            ("id=ann,", "InvalidArgument"),
        ] {
            assert_eq!(wanted(&[("x-amz-grant-read", value)]), Err(code), "{value}");
        }
        let many: &'static str = "id=ann,".repeat(GRANTS_MAX).leak();
        let many = many.strip_suffix(',').expect("one");
        assert!(wanted(&[("x-amz-grant-read", many)]).is_ok());
        assert_eq!(wanted(&[("x-amz-grant-read", many), ("x-amz-grant-write", "id=ann")]), Err("MalformedACLError"));
    }

    #[test]
    fn documents_are_taken_whole_or_not_at_all() {
        let grantee = |type_: &'static str, id: Option<&str>, uri: Option<&str>, email: Option<&str>| dto::Grantee {
            display_name: Some("whatever".to_owned()),
            email_address: email.map(str::to_owned),
            id: id.map(str::to_owned),
            type_: dto::Type::from_static(type_),
            uri: uri.map(str::to_owned),
        };
        let of = |owner: Option<&str>, grants: Option<Vec<(dto::Grantee, &'static str)>>| {
            let grant = |(grantee, permission)| dto::Grant {
                grantee: Some(grantee),
                permission: Some(dto::Permission::from_static(permission)),
            };
            let document = AccessControlPolicy {
                owner: owner.map(|id| dto::Owner { id: Some(id.to_owned()), display_name: None }),
                grants: grants.map(|grants| grants.into_iter().map(grant).collect()),
            };
            of_document(&document, &state(), &OwnerId("ann".to_owned())).map_err(|error| error.answer().code)
        };
        let zoe = || grantee("CanonicalUser", Some("zoe"), None, None);
        assert_eq!(of(Some("ann"), Some(vec![(zoe(), "READ")])), Ok(vec![to("zoe", Permission::Read)]));
        assert_eq!(of(Some("ann"), Some(Vec::new())), Ok(Vec::new()));
        let mail = grantee("AmazonCustomerByEmail", None, None, Some("ann@example.com"));
        assert_eq!(of(Some("ann"), Some(vec![(mail, "WRITE")])), Ok(vec![to("ann", Permission::Write)]));
        assert_eq!(of(None, Some(Vec::new())), Err("MalformedACLError"));
        assert_eq!(of(Some("zoe"), Some(Vec::new())), Err("AccessDenied"));
        assert_eq!(of(Some("ann"), None), Err("MalformedACLError"));
        assert_eq!(of(Some("ann"), Some(vec![(zoe(), "DELETE")])), Err("MalformedACLError"));
        assert_eq!(
            of(Some("ann"), Some(vec![(grantee("Group", Some("zoe"), None, None), "READ")])),
            Err("MalformedACLError")
        );
        assert_eq!(
            of(Some("ann"), Some(vec![(grantee("Person", Some("zoe"), None, None), "READ")])),
            Err("MalformedACLError")
        );
        let two = grantee("CanonicalUser", Some("zoe"), Some("http://acs.amazonaws.com/groups/global/AllUsers"), None);
        assert_eq!(of(Some("ann"), Some(vec![(two, "READ")])), Err("MalformedACLError"));
        let many = (0..=GRANTS_MAX).map(|_| (zoe(), "READ")).collect();
        assert_eq!(of(Some("ann"), Some(many)), Err("MalformedACLError"));
    }
}
