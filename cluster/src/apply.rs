//! The decision of the control plane: what a command does to the state. Plain data in, plain data out.
//!
//! A bucket moves like this; the id in `Finish` and `Cancel` guards against a name that was created anew meanwhile:
//!
//! | from       | command | to         |
//! |------------|---------|------------|
//! | (absent)   | Create  | `Active`   |
//! | `Active`   | Begin   | `Deleting` |
//! | `Deleting` | Begin   | unchanged  |
//! | `Deleting` | Cancel  | `Active`   |
//! | `Active`   | Cancel  | unchanged  |
//! | `Deleting` | Finish  | (absent)   |
//!
//! Everything else is refused. Ids of buckets and terms only grow, so neither is ever given twice.

mod iam;
mod keys;

pub(crate) use keys::accounts_of_owners;

use crate::command::{Applied, Command};
use crate::error::{Error, Result};
use crate::limits;
use crate::state::{Bucket, BucketState, KmsKey, Limit, State};
use common::{BucketId, BucketName, OwnerId, Term};
use keys::{create_key, delete_key, put_owner, set_key_active};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Decides one command. A command that changes nothing gives back the state with its version unchanged; every other
/// one counts the version up by one, and of several that are decided together each does.
pub fn apply(state: &State, command: &Command) -> Result<(State, Applied)> {
    match command {
        Command::CreateBucket { name, owner, region, created_ms, documents } => {
            create_bucket(state, name, owner, region, *created_ms, documents)
        }
        Command::BeginDeleteBucket { name } => set_bucket_state(state, name, None, BucketState::Deleting),
        Command::FinishDeleteBucket { name, id, version } => finish_delete_bucket(state, name, *id, *version),
        Command::CancelDeleteBucket { name, id } => set_bucket_state(state, name, Some(*id), BucketState::Active),
        Command::SetBucketDocuments { name, id, version, documents } => {
            let bucket = find_bucket(state, name, Some(*id))?;
            if bucket.version != *version {
                return Err(Error::BucketChanged(name.clone()));
            }
            set_bucket_documents(state, bucket, documents)
        }
        Command::PutOwner { owner } => put_owner(state, owner),
        Command::CreateKey { key } => create_key(state, key),
        Command::DeleteKey { id } => delete_key(state, id),
        Command::SetKeyActive { id, active } => set_key_active(state, id, *active),
        Command::Iam { account, change } => iam::change(state, account, change),
        Command::All(commands) => all(state, commands),
        Command::CreateKmsKey { name, created_ms, sealed } => create_kms_key(state, name, *created_ms, sealed),
        Command::RotateKmsKey { name, version, sealed } => rotate_kms_key(state, name, *version, sealed),
        Command::SetLimit { name, document, expected } => set_limit(state, name, document.as_deref(), *expected),
        Command::NextTerm { above } => next_term(state, *above),
    }
}

fn all(state: &State, commands: &[Command]) -> Result<(State, Applied)> {
    let limit = limits::COMMANDS_TOGETHER_MAX;
    if commands.len() > limit || commands.iter().any(|command| matches!(command, Command::All(_))) {
        return Err(Error::Invalid(format!(
            "at most {limit} commands are decided together, and none of them is several"
        )));
    }
    let begin = (state.clone(), Applied::Nothing);
    commands.iter().try_fold(begin, |(state, _), command| apply(&state, command))
}

fn create_bucket(
    state: &State,
    name: &BucketName,
    owner: &OwnerId,
    region: &str,
    created_ms: u64,
    documents: &BTreeMap<String, Vec<u8>>,
) -> Result<(State, Applied)> {
    if let Some(bucket) = state.buckets.get(name) {
        return Err(match bucket.state {
            BucketState::Active => Error::BucketExists { name: name.clone(), owner: bucket.owner.clone() },
            BucketState::Deleting => Error::BucketDeleting(name.clone()),
        });
    }
    owner_must_exist(state, owner)?;
    text_must_fit("a region", region)?;
    documents_must_fit(documents)?;
    let limit = limits::BUCKETS_PER_OWNER_MAX;
    if state.buckets.values().filter(|bucket| bucket.owner == *owner).count() >= limit {
        return Err(Error::TooManyBuckets { owner: owner.clone(), limit });
    }

    let mut next = following(state);
    let bucket = Arc::new(Bucket {
        id: state.next_bucket,
        name: name.clone(),
        owner: owner.clone(),
        created_ms,
        version: next.version,
        state: BucketState::Active,
        region: region.to_owned(),
        documents: documents.clone(),
    });
    next.next_bucket = BucketId(state.next_bucket.0.checked_add(1).expect("2^64 buckets take longer than the sun"));
    Arc::make_mut(&mut next.buckets).insert(name.clone(), Arc::clone(&bucket));
    Ok((next, Applied::Bucket(bucket)))
}

fn set_bucket_state(
    state: &State,
    name: &BucketName,
    id: Option<BucketId>,
    wanted: BucketState,
) -> Result<(State, Applied)> {
    let bucket = find_bucket(state, name, id)?;
    if bucket.state == wanted {
        return Ok((state.clone(), Applied::Bucket(Arc::clone(bucket))));
    }
    Ok(change_bucket(state, bucket, |bucket| bucket.state = wanted))
}

fn finish_delete_bucket(state: &State, name: &BucketName, id: BucketId, version: u64) -> Result<(State, Applied)> {
    let bucket = find_bucket(state, name, Some(id))?;
    // An active bucket may have taken writes since somebody found it empty: removing it would lose them.
    if bucket.state == BucketState::Active {
        return Err(Error::Invalid(format!("bucket {name} is not being deleted: begin again")));
    }
    // So may one that was active in between.
    if bucket.version != version {
        return Err(Error::BucketDeleting(name.clone()));
    }
    let mut next = following(state);
    Arc::make_mut(&mut next.buckets).remove(name);
    Ok((next, Applied::Nothing))
}

fn set_bucket_documents(
    state: &State,
    bucket: &Arc<Bucket>,
    changes: &BTreeMap<String, Option<Vec<u8>>>,
) -> Result<(State, Applied)> {
    if bucket.state == BucketState::Deleting {
        return Err(Error::BucketDeleting(bucket.name.clone()));
    }
    let mut documents = bucket.documents.clone();
    for (name, content) in changes {
        match content {
            Some(content) => documents.insert(name.clone(), content.clone()),
            None => documents.remove(name),
        };
    }
    if documents == bucket.documents {
        return Ok((state.clone(), Applied::Bucket(Arc::clone(bucket))));
    }
    documents_must_fit(&documents)?;
    Ok(change_bucket(state, bucket, |bucket| bucket.documents = documents))
}

fn documents_must_fit(documents: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let (name_limit, limit) = (limits::DOCUMENT_NAME_BYTES_MAX, limits::DOCUMENT_BYTES_MAX);
    for (name, content) in documents {
        if !(1..=name_limit).contains(&name.len()) {
            let length = name.len();
            return Err(Error::Invalid(format!(
                "a configuration document's name has 1 to {name_limit} bytes, and this has {length}"
            )));
        }
        if content.len() > limit {
            let length = content.len();
            return Err(Error::Invalid(format!(
                "a configuration document has at most {limit} bytes, and this has {length}"
            )));
        }
    }
    let (limit, bytes) = (limits::DOCUMENTS_BYTES_MAX, documents.values().map(Vec::len).sum::<usize>());
    if bytes > limit {
        return Err(Error::Invalid(format!(
            "the configuration documents of a bucket have at most {limit} bytes together, and these have {bytes}"
        )));
    }
    Ok(())
}

fn create_kms_key(state: &State, name: &str, created_ms: u64, sealed: &[u8]) -> Result<(State, Applied)> {
    text_must_fit("a key's name", name)?;
    if state.kms.contains_key(name) {
        return Err(Error::KmsKeyExists(name.to_owned()));
    }
    if state.kms.len() >= limits::KMS_KEYS_MAX {
        return Err(Error::Invalid(format!("there are {} named keys, and more are not allowed", limits::KMS_KEYS_MAX)));
    }
    let key = KmsKey { name: name.to_owned(), created_ms, versions: vec![sealed_must_fit(sealed)?] };
    Ok((with_kms_key(state, key), Applied::Nothing))
}

fn rotate_kms_key(state: &State, name: &str, version: u32, sealed: &[u8]) -> Result<(State, Applied)> {
    let key = state.kms.get(name).ok_or_else(|| Error::NoSuchKmsKey(name.to_owned()))?;
    // It is sealed for its number: two who rotate at a time must not both come in.
    if key.versions.len() + 1 != version as usize {
        return Err(Error::KmsKeyExists(format!("{name} in version {version}")));
    }
    if key.versions.len() >= limits::KMS_KEY_VERSIONS_MAX {
        let limit = limits::KMS_KEY_VERSIONS_MAX;
        return Err(Error::Invalid(format!("the key {name} has {limit} versions, and more are not allowed")));
    }
    let mut key = KmsKey::clone(key);
    key.versions.push(sealed_must_fit(sealed)?);
    Ok((with_kms_key(state, key), Applied::Nothing))
}

fn sealed_must_fit(sealed: &[u8]) -> Result<Vec<u8>> {
    let limit = limits::KMS_SEALED_BYTES_MAX;
    if (1..=limit).contains(&sealed.len()) {
        return Ok(sealed.to_vec());
    }
    Err(Error::Invalid(format!("a sealed key has 1 to {limit} bytes")))
}

fn with_kms_key(state: &State, key: KmsKey) -> State {
    let mut next = following(state);
    Arc::make_mut(&mut next.kms).insert(key.name.clone(), Arc::new(key));
    next
}

fn set_limit(state: &State, name: &str, document: Option<&str>, expected: Option<u64>) -> Result<(State, Applied)> {
    text_must_fit("a limit's name", name)?;
    let known = state.limits.get(name);
    let version = known.map_or(0, |limit| limit.version);
    if expected.is_some_and(|expected| expected != version) {
        return Err(Error::LimitChanged { name: name.to_owned(), version });
    }
    let mut next = following(state);
    let limits = Arc::make_mut(&mut next.limits);
    let Some(document) = document else {
        limits.remove(name).ok_or_else(|| Error::NoSuchLimit(name.to_owned()))?;
        return Ok((next, Applied::Nothing));
    };
    let most = limits::RATE_LIMIT_BYTES_MAX;
    if document.len() > most {
        return Err(Error::Invalid(format!("a limit has at most {most} bytes, and this has {}", document.len())));
    }
    if let Some(known) = known.filter(|known| known.document == document) {
        return Ok((state.clone(), Applied::Limit(Arc::clone(known))));
    }
    if known.is_none() && limits.len() >= limits::RATE_LIMITS_MAX {
        return Err(Error::Invalid(format!("there are {} limits, and more are not allowed", limits::RATE_LIMITS_MAX)));
    }
    let limit = Arc::new(Limit { name: name.to_owned(), version: next.version, document: document.to_owned() });
    limits.insert(name.to_owned(), Arc::clone(&limit));
    Ok((next, Applied::Limit(limit)))
}

fn next_term(state: &State, above: Term) -> Result<(State, Applied)> {
    let term = Term(above.max(state.last_term).0.checked_add(1).ok_or(Error::TermsExhausted)?);
    let mut next = following(state);
    next.last_term = term;
    Ok((next, Applied::Term(term)))
}

/// The state one version later, not changed yet.
fn following(state: &State) -> State {
    State { version: state.version + 1, ..state.clone() }
}

fn change_bucket(state: &State, bucket: &Bucket, change: impl FnOnce(&mut Bucket)) -> (State, Applied) {
    let mut next = following(state);
    let mut changed = Bucket { version: next.version, ..bucket.clone() };
    change(&mut changed);
    let changed = Arc::new(changed);
    Arc::make_mut(&mut next.buckets).insert(bucket.name.clone(), Arc::clone(&changed));
    (next, Applied::Bucket(changed))
}

/// The bucket of this name and, if one is given, of this id: another id means that it was deleted and made anew.
fn find_bucket<'a>(state: &'a State, name: &BucketName, id: Option<BucketId>) -> Result<&'a Arc<Bucket>> {
    let bucket = state.buckets.get(name).filter(|bucket| id.is_none_or(|id| bucket.id == id));
    bucket.ok_or_else(|| Error::NoSuchBucket(name.clone()))
}

fn owner_must_exist(state: &State, owner: &OwnerId) -> Result<()> {
    if state.owners.contains_key(owner) {
        return Ok(());
    }
    Err(Error::Invalid(format!("owner {} does not exist", owner.0)))
}

fn text_must_fit(what: &str, text: &str) -> Result<()> {
    let limit = limits::TEXT_BYTES_MAX;
    if (1..=limit).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::Invalid(format!("{what} has 1 to {limit} bytes and no control characters")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{AccessKey, Owner};
    use common::AccessKeyId;

    fn name(text: &str) -> BucketName {
        BucketName::parse(text).expect("a good name")
    }

    fn owner(id: &str) -> Owner {
        Owner { id: OwnerId(id.into()), display_name: id.into(), email: None }
    }

    fn key(id: &str, owner: &str, admin: bool) -> AccessKey {
        let (id, owner) = (AccessKeyId(id.into()), OwnerId(owner.into()));
        AccessKey { id, secret: "a secret".into(), owner, admin, created_ms: 1, user: None, active: true }
    }

    fn create(bucket: &str) -> Command {
        let owner = OwnerId("ann".into());
        let documents = BTreeMap::new();
        Command::CreateBucket { name: name(bucket), owner, region: "us-east-1".into(), created_ms: 7, documents }
    }

    fn begin(bucket: &str) -> Command {
        Command::BeginDeleteBucket { name: name(bucket) }
    }

    fn finish(bucket: &str, id: u64) -> Command {
        finish_seen(bucket, id, 3)
    }

    fn finish_seen(bucket: &str, id: u64, version: u64) -> Command {
        Command::FinishDeleteBucket { name: name(bucket), id: BucketId(id), version }
    }

    fn cancel(bucket: &str, id: u64) -> Command {
        Command::CancelDeleteBucket { name: name(bucket), id: BucketId(id) }
    }

    /// For bucket 1, which was looked at in this version.
    fn document(bucket: &str, version: u64, content: Option<&[u8]>) -> Command {
        let documents = [("cors".to_owned(), content.map(<[u8]>::to_vec))].into();
        Command::SetBucketDocuments { name: name(bucket), id: BucketId(1), version, documents }
    }

    fn kms(name: &str) -> Command {
        Command::CreateKmsKey { name: name.into(), created_ms: 4, sealed: vec![1] }
    }

    fn rotate(name: &str, version: u32) -> Command {
        Command::RotateKmsKey { name: name.into(), version, sealed: vec![2] }
    }

    #[test]
    fn limits_have_versions() {
        let set = |document: Option<&str>, expected| Command::SetLimit {
            name: "slow".into(),
            document: document.map(str::to_owned),
            expected,
        };
        let refused = |state: &State, command| apply(state, &command).unwrap_err();
        assert_eq!(refused(&State::default(), set(None, None)), Error::NoSuchLimit("slow".into()));
        let changed = |version| Error::LimitChanged { name: "slow".into(), version };
        assert_eq!(refused(&State::default(), set(Some("{}"), Some(7))), changed(0));
        let state = after(&[set(Some("{}"), Some(0))]);
        let limit = &state.limits["slow"];
        assert_eq!((limit.version, limit.document.as_str()), (state.version, "{}"));
        assert_eq!(refused(&state, set(Some("{1}"), Some(0))), changed(state.version));
        let (same, applied) = apply(&state, &set(Some("{}"), None)).unwrap();
        assert_eq!((same.version, applied), (state.version, Applied::Limit(limit.clone())));
        let (gone, _) = apply(&state, &set(None, Some(limit.version))).unwrap();
        assert!(gone.limits.is_empty());
        let long = "x".repeat(limits::RATE_LIMIT_BYTES_MAX + 1);
        assert!(matches!(refused(&state, set(Some(&long), None)), Error::Invalid(_)));
        let many = (0..limits::RATE_LIMITS_MAX).map(|number| Command::SetLimit {
            name: format!("limit-{number}"),
            document: Some("{}".into()),
            expected: None,
        });
        let full = after(&many.collect::<Vec<_>>());
        assert!(matches!(refused(&full, set(Some("{}"), None)), Error::Invalid(_)));
    }

    fn term(above: u32) -> Command {
        Command::NextTerm { above: Term(above) }
    }

    fn after(commands: &[Command]) -> State {
        let start = [Command::PutOwner { owner: owner("ann") }];
        start.iter().chain(commands).fold(State::default(), |state, command| {
            let (next, _) = apply(&state, command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
            next
        })
    }

    #[test]
    fn refusals() {
        let ann = OwnerId("ann".into());
        let exists = || Error::BucketExists { name: name("one"), owner: ann.clone() };
        let table: Vec<(Vec<Command>, Command, Error)> = vec![
            (vec![create("one")], create("one"), exists()),
            (vec![create("one"), begin("one")], create("one"), Error::BucketDeleting(name("one"))),
            (vec![], begin("one"), Error::NoSuchBucket(name("one"))),
            (vec![create("one"), begin("one")], finish("one", 2), Error::NoSuchBucket(name("one"))),
            (vec![create("one")], cancel("one", 2), Error::NoSuchBucket(name("one"))),
            (vec![create("one"), begin("one"), finish("one", 1)], finish("one", 1), Error::NoSuchBucket(name("one"))),
            (
                vec![create("one"), begin("one"), cancel("one", 1)],
                finish("one", 1),
                Error::Invalid("bucket one is not being deleted: begin again".into()),
            ),
            (vec![create("one"), begin("one")], document("one", 3, Some(b"x")), Error::BucketDeleting(name("one"))),
            (vec![], document("one", 1, None), Error::NoSuchBucket(name("one"))),
            (
                vec![create("one"), begin("one"), finish("one", 1), create("one")],
                document("one", 5, None),
                Error::NoSuchBucket(name("one")),
            ),
            (
                vec![create("one"), document("one", 2, Some(b"x"))],
                document("one", 2, Some(b"y")),
                Error::BucketChanged(name("one")),
            ),
            (
                vec![],
                Command::CreateKey { key: key("k", "bob", false) },
                Error::Invalid("owner bob does not exist".into()),
            ),
            (
                vec![Command::CreateKey { key: key("k", "ann", false) }],
                Command::CreateKey { key: key("k", "ann", true) },
                Error::KeyExists(AccessKeyId("k".into())),
            ),
            (vec![], Command::DeleteKey { id: AccessKeyId("k".into()) }, Error::NoSuchKey(AccessKeyId("k".into()))),
            (
                vec![
                    Command::CreateKey { key: key("root", "ann", true) },
                    Command::CreateKey { key: key("user", "ann", false) },
                ],
                Command::DeleteKey { id: AccessKeyId("root".into()) },
                Error::LastAdminKey(AccessKeyId("root".into())),
            ),
            (vec![kms("k")], kms("k"), Error::KmsKeyExists("k".into())),
            (vec![], rotate("k", 2), Error::NoSuchKmsKey("k".into())),
            (vec![kms("k"), rotate("k", 2)], rotate("k", 2), Error::KmsKeyExists("k in version 2".into())),
            (vec![], term(u32::MAX), Error::TermsExhausted),
            (vec![term(u32::MAX - 1)], term(0), Error::TermsExhausted),
        ];
        for (before, command, error) in table {
            assert_eq!(apply(&after(&before), &command), Err(error), "{before:?} then {command:?}");
        }
    }

    #[test]
    fn an_unknown_owner_makes_no_bucket() {
        let error = apply(&State::default(), &create("one")).unwrap_err();
        assert_eq!(error, Error::Invalid("owner ann does not exist".into()));
    }

    #[test]
    fn versions_of_a_key_are_added() {
        let state = after(&[kms("k"), rotate("k", 2)]);
        let key = KmsKey { name: "k".into(), created_ms: 4, versions: vec![vec![1], vec![2]] };
        assert_eq!(*state.kms["k"], key);
    }

    #[test]
    fn a_bucket_id_is_never_given_twice() {
        let state = after(&[create("one"), begin("one"), finish("one", 1), create("one"), create("two")]);
        assert_eq!(state.buckets[&name("one")].id, BucketId(2));
        assert_eq!(state.buckets[&name("two")].id, BucketId(3));
        assert_eq!(state.next_bucket, BucketId(4));
    }

    #[test]
    fn deletion_goes_back_and_forth() {
        let state = after(&[create("one"), begin("one")]);
        assert_eq!(state.buckets[&name("one")].state, BucketState::Deleting);
        assert_eq!(state.buckets[&name("one")].version, state.version);
        let (again, applied) = apply(&state, &begin("one")).unwrap();
        assert_eq!((&again, applied), (&state, Applied::Bucket(Arc::clone(&state.buckets[&name("one")]))));
        let (back, _) = apply(&state, &cancel("one", 1)).unwrap();
        assert_eq!(back.buckets[&name("one")].state, BucketState::Active);
        assert_eq!(back.version, state.version + 1);
        let (gone, applied) = apply(&state, &finish("one", 1)).unwrap();
        assert_eq!((gone.buckets.len(), applied), (0, Applied::Nothing));
    }

    #[test]
    fn documents_are_set_and_removed() {
        let state = after(&[create("one"), document("one", 2, Some(b"x"))]);
        assert_eq!(state.buckets[&name("one")].documents["cors"], b"x");
        let (same, _) = apply(&state, &document("one", 3, Some(b"x"))).unwrap();
        assert_eq!(same, state);
        let (removed, _) = apply(&state, &document("one", 3, None)).unwrap();
        assert!(removed.buckets[&name("one")].documents.is_empty());
        let long = vec![0; limits::DOCUMENT_BYTES_MAX + 1];
        assert!(matches!(apply(&state, &document("one", 3, Some(&long))), Err(Error::Invalid(_))));

        let set = |documents: BTreeMap<String, Option<Vec<u8>>>| Command::SetBucketDocuments {
            name: name("one"),
            id: BucketId(1),
            version: 3,
            documents,
        };
        let both = set([("cors".to_owned(), None), ("tagging".to_owned(), Some(b"y".to_vec()))].into());
        let (changed, _) = apply(&state, &both).unwrap();
        let found = &changed.buckets[&name("one")];
        assert_eq!((found.documents.len(), found.documents["tagging"].as_slice(), found.version), (1, &b"y"[..], 4));
        let full = vec![0; limits::DOCUMENT_BYTES_MAX];
        let most = limits::DOCUMENTS_BYTES_MAX / limits::DOCUMENT_BYTES_MAX;
        let many = |count: usize| set((0..count).map(|n| (n.to_string(), Some(full.clone()))).collect());
        assert!(apply(&state, &many(most - 1)).is_ok());
        assert!(matches!(apply(&state, &many(most)), Err(Error::Invalid(_))));
    }

    #[test]
    fn a_bucket_can_begin_with_documents() {
        let Command::CreateBucket { name, owner, region, created_ms, .. } = create("one") else { unreachable!() };
        let with = |content: Vec<u8>| Command::CreateBucket {
            name: name.clone(),
            owner: owner.clone(),
            region: region.clone(),
            created_ms,
            documents: [("object-lock".to_owned(), content)].into(),
        };
        let state = after(&[with(b"x".to_vec())]);
        assert_eq!(state.buckets[&name].documents["object-lock"], b"x");
        let long = with(vec![0; limits::DOCUMENT_BYTES_MAX + 1]);
        assert!(matches!(apply(&after(&[]), &long), Err(Error::Invalid(_))));
    }

    #[test]
    fn an_owner_has_a_limit_of_buckets() {
        let limit = limits::BUCKETS_PER_OWNER_MAX;
        let full = after(&(0..limit).map(|n| create(&format!("bucket-{n}"))).collect::<Vec<_>>());
        let refused = Error::TooManyBuckets { owner: OwnerId("ann".into()), limit };
        assert_eq!(apply(&full, &create("one-more")), Err(refused));
        let (freed, _) = apply(&full, &begin("bucket-0")).unwrap();
        let seen = freed.buckets[&name("bucket-0")].version;
        let (freed, _) = apply(&freed, &finish_seen("bucket-0", 1, seen)).unwrap();
        assert!(apply(&freed, &create("one-more")).is_ok());
    }

    #[test]
    fn an_administrator_may_go_when_another_stays() {
        let state = after(&[
            Command::CreateKey { key: key("first", "ann", true) },
            Command::CreateKey { key: key("second", "ann", true) },
        ]);
        let (state, _) = apply(&state, &Command::DeleteKey { id: AccessKeyId("first".into()) }).unwrap();
        let last = AccessKeyId("second".into());
        for command in
            [Command::DeleteKey { id: last.clone() }, Command::SetKeyActive { id: last.clone(), active: false }]
        {
            assert_eq!(apply(&state, &command), Err(Error::LastAdminKey(last.clone())));
        }
    }

    #[test]
    fn terms_only_grow() {
        let mut state = State::default();
        for (above, given) in [(0, 1), (0, 2), (10, 11), (5, 12), (u32::MAX - 1, u32::MAX)] {
            let (next, applied) = apply(&state, &term(above)).unwrap();
            assert_eq!(applied, Applied::Term(Term(given)));
            state = next;
        }
    }

    #[test]
    fn an_owner_changes_only_when_it_differs() {
        let state = after(&[]);
        let (same, _) = apply(&state, &Command::PutOwner { owner: owner("ann") }).unwrap();
        assert_eq!(same.version, state.version);
        let renamed = Owner { display_name: "Ann".into(), ..owner("ann") };
        let (changed, _) = apply(&state, &Command::PutOwner { owner: renamed.clone() }).unwrap();
        assert_eq!((&*changed.owners[&renamed.id], changed.version), (&renamed, state.version + 1));
        let empty = Command::PutOwner { owner: owner("") };
        assert!(matches!(apply(&state, &empty), Err(Error::Invalid(_))));
    }
}
