//! The store against a model, kills, full disks and newer programs.

use super::*;
use crate::command::{Holder, IamChange, Tagged};
use crate::iam::{BUILT_IN, records};
use crate::state::BucketState;
use common::doors::SeededRandom;
use common::{AccessKeyId, BucketName, OwnerId, Random};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data/control/control.redb");
    (directory, path)
}

fn owner(id: &str) -> Command {
    Command::PutOwner { owner: Owner { id: OwnerId(id.into()), display_name: id.into(), email: None } }
}

fn create(bucket: &str) -> Command {
    let name = BucketName::parse(bucket).unwrap();
    let (owner, region) = (OwnerId("owner-0".into()), "us-east-1".into());
    Command::CreateBucket { name, owner, region, created_ms: 3, documents: BTreeMap::new() }
}

/// A command over few names, so that most of them meet something.
fn random_command(random: &dyn Random, state: &State) -> Command {
    let pick = random.u64() % 4;
    let name = BucketName::parse(&format!("bucket-{pick}")).unwrap();
    let owner_id = OwnerId(format!("owner-{}", random.u64() % 3));
    let id = state.buckets.get(&name).map_or(BucketId(random.u64() % 9), |bucket| bucket.id);
    let key = AccessKeyId(format!("key-{pick}"));
    match random.u64() % 19 {
        0 | 1 => {
            let (region, created_ms) = ("here".into(), random.u64());
            let documents =
                [("document-0".to_owned(), vec![1])].into_iter().take((random.u64() % 2) as usize).collect();
            Command::CreateBucket { name, owner: owner_id, region, created_ms, documents }
        }
        2 => Command::BeginDeleteBucket { name },
        3 => {
            let version = state.buckets.get(&name).map_or(0, |bucket| bucket.version);
            Command::FinishDeleteBucket { name, id, version }
        }
        4 => Command::CancelDeleteBucket { name, id },
        5 => {
            let version = state.buckets.get(&name).map_or(0, |bucket| bucket.version);
            let content = || random.u64().is_multiple_of(2).then(|| random.u64().to_le_bytes().to_vec());
            let documents = [("document-0".to_owned(), content()), ("document-1".to_owned(), content())].into();
            Command::SetBucketDocuments { name, id, version, documents }
        }
        6 => owner(&owner_id.0),
        7 => Command::CreateKey {
            key: AccessKey {
                id: key,
                secret: random.u64().to_string(),
                owner: owner_id,
                admin: random.u64().is_multiple_of(2),
                created_ms: 1,
                user: random.u64().is_multiple_of(2).then(|| format!("user-{}", random.u64() % 3)),
                active: true,
            },
        },
        8 => Command::DeleteKey { id: key },
        9 => Command::CreateKmsKey { name: format!("kms-{pick}"), created_ms: 1, sealed: vec![1, 2] },
        10 => Command::RotateKmsKey { name: format!("kms-{pick}"), version: 2, sealed: vec![3] },
        11 => Command::SetKeyActive { id: key, active: random.u64().is_multiple_of(2) },
        17 => Command::SetLimit {
            name: format!("limit-{pick}"),
            document: random.u64().is_multiple_of(3).then(|| random.u64().to_string()),
            expected: None,
        },
        12..=16 => Command::Iam { change: random_change(random, &owner_id), account: owner_id },
        _ => Command::NextTerm { above: Term((random.u64() % 2000) as u32) },
    }
}

fn random_change(random: &dyn Random, account: &OwnerId) -> IamChange {
    let of = |kind: &str| format!("{kind}-{}", random.u64() % 3);
    let (user, group, role, policy) = (of("user"), of("group"), of("role"), of("policy"));
    let yes = random.u64().is_multiple_of(2);
    let holder = [Holder::User(user.clone()), Holder::Group(group.clone()), Holder::Role(role.clone())];
    let holder = holder[(random.u64() % 3) as usize].clone();
    match random.u64() % 16 {
        0 | 1 => IamChange::CreateUser(records::user(account, &user)),
        2 | 3 => IamChange::CreateGroup(records::group(account, &group)),
        4 => IamChange::CreateRole(records::role(account, &role)),
        5 => IamChange::CreatePolicy(records::policy(account, &policy, "{}")),
        6 => IamChange::CreateProvider(records::provider(account, "https://issuer.example/a")),
        7 | 8 => IamChange::SetMember { group, user, member: yes },
        9 => IamChange::UpdateUser { name: user, new_name: Some(of("user")), new_path: Some("/a/".into()) },
        10 => IamChange::DeleteUser(user),
        11 => IamChange::DeleteGroup(group),
        12 => IamChange::DeletePolicy(policy),
        13 => IamChange::SetInlinePolicy { of: holder, name: "p".into(), document: yes.then(|| "{}".into()) },
        14 => IamChange::SetAttached { of: holder, arn: format!("{BUILT_IN}ReadOnlyAccess"), attached: yes },
        _ => IamChange::ChangeTags {
            of: Tagged::Holder(holder),
            set: [("a".into(), "b".into())].into(),
            remove: BTreeSet::new(),
        },
    }
}

/// What a kill at this moment leaves: everything that was written, whatever the process still wanted to do.
fn killed_copy(path: &Path) -> (TempDir, PathBuf) {
    let (directory, copy) = place();
    fs::create_dir_all(copy.parent().unwrap()).unwrap();
    fs::copy(path, &copy).unwrap();
    (directory, copy)
}

/// Of several commands a kill leaves all or none.
#[test]
fn commands_that_are_decided_together_are_durable_together() {
    let (_directory, path) = place();
    let account = OwnerId("owner-0".into());
    let ensured = |name: &str| Command::Iam {
        account: account.clone(),
        change: IamChange::EnsureUser(records::user(&account, name)),
    };
    let arn = || format!("{BUILT_IN}ReadOnlyAccess");
    let has = |name: &str| Command::Iam {
        account: account.clone(),
        change: IamChange::SetAttached { of: Holder::User(name.into()), arn: arn(), attached: true },
    };
    let control = EmbeddedControlPlane::open(&path).unwrap();
    let wrong = Command::All(vec![owner("owner-0"), ensured("u"), has("nobody")]);
    assert!(matches!(control.propose_blocking(&wrong), Err(Error::NoSuchEntity(_))));
    assert_eq!(*control.current(), State::default());
    let good = Command::All(vec![owner("owner-0"), ensured("u"), has("u"), ensured("u")]);
    control.propose_blocking(&good).unwrap();
    let (_kept, copy) = killed_copy(&path);
    let found = EmbeddedControlPlane::open(&copy).unwrap().current();
    assert_eq!(found.iam.user(&account, "u").unwrap().attached.managed, [arn()].into());
    assert_eq!(*found, *control.current());
}

#[test]
fn a_thousand_commands_agree_with_the_model() {
    let (_directory, path) = place();
    let random = SeededRandom::new(7);
    let mut model = State::default();
    let mut store = EmbeddedControlPlane::open(&path).unwrap();
    for step in 0..1000 {
        let command = random_command(&*random, &model);
        match (apply(&model, &command), store.propose_blocking(&command)) {
            (Ok((next, expected)), Ok(applied)) => {
                assert_eq!(applied, expected, "step {step}: {command:?}");
                model = next;
            }
            (expected, applied) => assert_eq!(applied, expected.map(|(_, applied)| applied), "step {step}"),
        }
        assert_eq!(*store.current(), model, "step {step}: {command:?}");
        if step % 100 == 99 {
            let (_kept, copy) = killed_copy(&path);
            assert_eq!(*EmbeddedControlPlane::open(&copy).unwrap().current(), model, "killed after step {step}");
            drop(store);
            store = EmbeddedControlPlane::open(&path).unwrap();
            assert_eq!(*store.current(), model, "reopened after step {step}");
        }
    }
    assert!(model.version > 300, "most of the commands were refused");
    let Iam { accounts, users, groups, policies, roles, providers } = &model.iam;
    let each = [accounts.len(), users.len(), groups.len(), policies.len(), roles.len(), providers.len()];
    assert!(each.iter().all(|&count| count > 0), "{each:?}");
}

#[test]
fn only_one_process_has_the_store() {
    let (_directory, path) = place();
    let first = EmbeddedControlPlane::open(&path).unwrap();
    assert_eq!(EmbeddedControlPlane::open(&path).err(), Some(Error::Locked));
    drop(first);
    assert!(EmbeddedControlPlane::open(&path).is_ok());
}

#[test]
fn only_the_owner_of_the_process_may_read_the_file() {
    let (_directory, path) = place();
    drop(EmbeddedControlPlane::open(&path).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    drop(EmbeddedControlPlane::open(&path).unwrap());
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_newer_format_is_refused() {
    let (_directory, path) = place();
    let store = EmbeddedControlPlane::open(&path).unwrap();
    {
        let writer = store.0.writer.lock().unwrap();
        let transaction = writer.database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("format", 2).unwrap();
        transaction.commit().unwrap();
    }
    drop(store);
    assert_eq!(EmbeddedControlPlane::open(&path).err(), Some(Error::NewerFormat { found: 2, known: 1 }));
}

#[test]
fn a_file_of_something_else_is_refused() {
    let (_directory, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "not a database, and longer than nothing").unwrap();
    assert!(matches!(EmbeddedControlPlane::open(&path), Err(Error::Store(_))));
}

/// A disk whose syncs begin to fail.
#[derive(Debug)]
struct FailingDisk {
    bytes: InMemoryBackend,
    fails: Arc<AtomicBool>,
}

impl StorageBackend for FailingDisk {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is gone"));
        }
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.bytes.write(offset, data)
    }
}

#[test]
fn a_failed_sync_ends_all_writes() {
    let fails = Arc::new(AtomicBool::new(false));
    let disk = FailingDisk { bytes: InMemoryBackend::new(), fails: Arc::clone(&fails) };
    let store = EmbeddedControlPlane::start(Database::builder().create_with_backend(disk).unwrap(), None).unwrap();
    store.propose_blocking(&owner("owner-0")).unwrap();
    store.propose_blocking(&create("one")).unwrap();
    let before = store.current();

    fails.store(true, Ordering::Relaxed);
    assert!(matches!(store.propose_blocking(&create("two")), Err(Error::Store(_))));
    assert_eq!(store.current(), before);

    // A disk that says it is well again is not believed.
    fails.store(false, Ordering::Relaxed);
    assert!(matches!(store.propose_blocking(&create("three")), Err(Error::Store(_))));
    assert_eq!(store.current(), before);
}

#[tokio::test]
async fn watchers_see_every_later_version() {
    let (_directory, path) = place();
    let store = EmbeddedControlPlane::open(&path).unwrap();
    let seen = tokio::spawn({
        let store = store.clone();
        async move { store.watch(1).await }
    });
    store.propose(owner("owner-0")).await.unwrap();
    store.propose(create("one")).await.unwrap();
    let state = seen.await.unwrap().unwrap();
    assert_eq!(state.version, 2);
    assert_eq!(state.buckets.values().next().unwrap().state, BucketState::Active);
    assert_eq!(store.read().await.unwrap(), state);
    assert_eq!(store.watch(0).await.unwrap(), state);
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_are_never_given_twice() {
    let (_directory, path) = place();
    let store = EmbeddedControlPlane::open(&path).unwrap();
    let asked = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.propose(Command::NextTerm { above: Term(5) }).await.unwrap() })
    });
    let mut given = Vec::new();
    for task in asked.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Applied::Term(term) => given.push(term.0),
            other => panic!("not a term: {other:?}"),
        }
    }
    given.sort_unstable();
    assert_eq!(given, (6..26).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_restored_store_has_everything_and_gives_nothing_twice() {
    let (_directory, path) = place();
    let store = EmbeddedControlPlane::open(&path).unwrap();
    store.propose_blocking(&owner("owner-0")).unwrap();
    store.propose_blocking(&create("one")).unwrap();
    store.propose_blocking(&Command::CreateKmsKey { name: "k".into(), created_ms: 1, sealed: vec![1, 2] }).unwrap();
    let account = OwnerId("owner-0".into());
    for change in [
        IamChange::CreateUser(records::user(&account, "u")),
        IamChange::CreateGroup(records::group(&account, "g")),
        IamChange::SetMember { group: "g".into(), user: "u".into(), member: true },
        IamChange::CreateRole(records::role(&account, "r")),
        IamChange::CreatePolicy(records::policy(&account, "p", "{}")),
        IamChange::CreateProvider(records::provider(&account, "https://issuer.example")),
    ] {
        store.propose_blocking(&Command::Iam { account: account.clone(), change }).unwrap();
    }
    let snapshot = store.snapshot().await.unwrap();
    let before = store.current();
    assert!(
        matches!(EmbeddedControlPlane::restore(&path, &snapshot, None), Err(Error::Store(text)) if text.contains("exists"))
    );

    let (_other, copy) = place();
    EmbeddedControlPlane::restore(&copy, &snapshot, None).unwrap();
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let restored = EmbeddedControlPlane::open(&copy).unwrap();
    let after = restored.current();
    assert_eq!((&after.owners, &after.kms, &after.keys), (&before.owners, &before.kms, &before.keys));
    assert_eq!(after.iam, before.iam);
    let (was, is) = (before.buckets.values().next().unwrap(), after.buckets.values().next().unwrap());
    assert_eq!(Bucket { version: 0, ..Bucket::clone(was) }, Bucket { version: 0, ..Bucket::clone(is) });
    assert!(is.version > before.version + 1000 && after.next_bucket.0 > before.next_bucket.0 + 1000);
    restored.propose_blocking(&create("two")).unwrap();

    for bad in [&snapshot[..snapshot.len() - 1], &[], &[9, 9]] {
        let (_third, path) = place();
        assert!(EmbeddedControlPlane::restore(&path, bad, None).is_err());
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn access_keys_are_sealed_by_the_root_key() {
    let (_directory, path) = place();
    let seal = |byte: u8| RowSeal::new(&common::SecretKey::from_slice(&[byte; 32]).unwrap(), SeededRandom::new(5));
    let key = |id: &str| {
        let (id, owner) = (AccessKeyId(id.into()), OwnerId("owner-0".into()));
        let key = AccessKey {
            id,
            secret: "sesame-open".into(),
            owner,
            admin: false,
            created_ms: 1,
            user: None,
            active: true,
        };
        Command::CreateKey { key }
    };
    let rows = |store: &EmbeddedControlPlane| {
        let bytes = store.snapshot_blocking().unwrap();
        bytes.windows(11).filter(|window| *window == b"sesame-open").count()
    };
    // Of before there were seals: they get one.
    let store = EmbeddedControlPlane::open(&path).unwrap();
    store.propose_blocking(&owner("owner-0")).unwrap();
    store.propose_blocking(&key("plain")).unwrap();
    assert_eq!(rows(&store), 1);
    drop(store);
    let store = EmbeddedControlPlane::open_sealed(&path, seal(1)).unwrap();
    store.propose_blocking(&key("sealed")).unwrap();
    assert_eq!(rows(&store), 0);
    let (before, snapshot) = (store.current(), store.snapshot().await.unwrap());
    drop(store);
    for wrong in [EmbeddedControlPlane::open(&path), EmbeddedControlPlane::open_sealed(&path, seal(2))] {
        assert!(matches!(wrong.err(), Some(Error::Store(text)) if text.contains("root key")));
    }
    let store = EmbeddedControlPlane::open_sealed(&path, seal(1)).unwrap();
    assert_eq!(*store.current(), *before);
    store.propose_blocking(&Command::DeleteKey { id: AccessKeyId("plain".into()) }).unwrap();
    drop(store);
    assert_eq!(EmbeddedControlPlane::open_sealed(&path, seal(1)).unwrap().current().keys.len(), 1);

    let (_other, copy) = place();
    assert!(EmbeddedControlPlane::restore(&copy, &snapshot, Some(&seal(2))).is_err());
    EmbeddedControlPlane::restore(&copy, &snapshot, Some(&seal(1))).unwrap();
    assert_eq!(EmbeddedControlPlane::open_sealed(&copy, seal(1)).unwrap().current().keys, before.keys);
}

/// Rows of before there were accounts and users, as that program wrote them.
#[test]
fn an_older_store_is_opened_and_its_owners_become_accounts() {
    let (_directory, path) = place();
    let store = EmbeddedControlPlane::open(&path).unwrap();
    {
        let writer = store.0.writer.lock().unwrap();
        let transaction = writer.database.begin_write().unwrap();
        let owner = b"\x01\x03ann\x03Ann\x00";
        transaction.open_table(OWNERS).unwrap().insert("ann", &owner[..]).unwrap();
        let key = b"\x01\x02WK\x01s\x03ann\x01\x02";
        transaction.open_table(KEYS).unwrap().insert("WK", &key[..]).unwrap();
        transaction.commit().unwrap();
    }
    drop(store);
    let opened = EmbeddedControlPlane::open(&path).unwrap().current();
    let account = &opened.iam.accounts[&OwnerId("ann".into())];
    assert_eq!((account.number.as_str(), account.tenant.as_ref(), account.not_before_ms), ("648421453870", None, 0));
    let key = &opened.keys[&AccessKeyId("WK".into())];
    assert_eq!((key.user.as_ref(), key.active, key.admin), (None, true, true));

    // It is kept: another owner whose id is this number does not take it.
    let store = EmbeddedControlPlane::open(&path).unwrap();
    assert_eq!(store.current(), opened);
    store.propose_blocking(&owner("648421453870")).unwrap();
    drop(store);
    let opened = EmbeddedControlPlane::open(&path).unwrap().current();
    let numbers = opened.iam.accounts.values().map(|account| account.number.as_str()).collect::<Vec<_>>();
    assert_eq!(numbers, ["648421453871", "648421453870"]);
}
