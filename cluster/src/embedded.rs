//! The control plane of one node: one redb file, one durable transaction per command.
//!
//! The whole state is in memory, read from the file at start; the file is read never again. A command is decided on the
//! state in memory (`apply.rs`), its row and the counters are committed with an fsync, and only then the new state is
//! published. One mutex around these three steps makes the order of commands total.
//!
//! When a commit fails, its outcome is unknown until the next start: the state in memory stays as it was, and the store
//! refuses every later write. Going on could acknowledge a command that was decided on a state that the file does not
//! have, and an fsync that failed once must not be believed the second time.
//!
//! | table     | key                | value                                                                |
//! |-----------|--------------------|----------------------------------------------------------------------|
//! | `meta`    | a counter's name   | u64: `format`, `version`, `epoch`, `next_bucket`, `last_term`        |
//! | `buckets` | the bucket's name  | `Bucket` as in `row.rs`                                              |
//! | `owners`  | the owner's id     | `Owner` as in `row.rs`                                               |
//! | `kms`     | a named key's name | `KmsKey` as in `row.rs`, sealed                                      |
//! | `limits`  | a limit's name     | `Limit` as in `row.rs`                                               |
//! | `keys`    | the access key's id | `AccessKey` as in `row.rs`, secret included, sealed as in `seal.rs`   |
//! | `accounts` | the owner's id    | `Account`: owners of a store that has none get theirs when it is opened |
//! | `users`, `groups`, `policies`, `roles`, `providers` | the account's owner id, a newline, the name | what `iam.rs` calls so |
//!
//! A transaction writes every row by which the new state differs from the one before.

use crate::ControlPlane;
use crate::apply::accounts_of_owners;
use crate::apply::apply;
use crate::command::{Applied, Command};
use crate::error::{Error, Result};
use crate::iam::{Account, Group, Iam, ManagedPolicy, Named, OidcProvider, Role, User};
use crate::row::{self, Record};
use crate::seal::RowSeal;
use crate::snapshot::Snapshot;
use crate::state::{AccessKey, Bucket, KmsKey, Limit, Owner, State};
use common::{AccessKeyId, BucketId, Epoch, OwnerId, Term};
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The format of the file as a whole. A file with a greater number is refused.
pub(crate) const FORMAT: u32 = 1;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const BUCKETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("buckets");
const OWNERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("owners");
const KMS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("kms");
const LIMITS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("limits");
const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("keys");
const ACCOUNTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("accounts");
const USERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("users");
const GROUPS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("groups");
const POLICIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("policies");
const ROLES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("roles");
const PROVIDERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("providers");

/// A control plane in one file. Cheap to clone; the file is closed with the last clone.
#[derive(Clone)]
pub struct EmbeddedControlPlane(Arc<Inner>);

struct Inner {
    writer: Mutex<Writer>,
    published: watch::Sender<Arc<State>>,
}

struct Writer {
    database: Database,
    seal: Option<RowSeal>,
    /// Set by the first failed write, never cleared: see the head of this file.
    failed: Option<String>,
}

impl EmbeddedControlPlane {
    /// Opens the store at `path`, or makes it, and its directory too, for the owner of this process only. Blocking.
    ///
    /// `Locked` when another process has it, `NewerFormat` when a newer program wrote it. Without a seal the access keys are
    /// kept as they are, and those that are sealed cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, None)
    }

    /// The same with sealed access keys. Those that are not yet get it now.
    pub fn open_sealed(path: &Path, seal: RowSeal) -> Result<Self> {
        let store = Self::open_with(path, Some(seal.clone()))?;
        store.seal(seal)?;
        Ok(store)
    }

    fn open_with(path: &Path, seal: Option<RowSeal>) -> Result<Self> {
        let file = open_file(path).map_err(|error| Error::Store(format!("{}: {error}", path.display())))?;
        let backend = FileBackend::new(file).map_err(from_database)?;
        Self::start(Database::builder().create_with_backend(backend).map_err(from_database)?, seal)
    }

    /// Seals the access keys that are not yet, and every later one.
    pub fn seal(&self, seal: RowSeal) -> Result<()> {
        let Ok(mut writer) = self.0.writer.lock() else {
            return Err(Error::Store("a write broke off; restart to read what is durable".to_owned()));
        };
        let transaction = writer.database.begin_write().map_err(store)?;
        let mut sealed = 0;
        {
            let mut table = transaction.open_table(KEYS).map_err(store)?;
            for (id, key) in self.current().keys.iter() {
                let is_plain = table.get(id.0.as_str()).map_err(store)?.is_some_and(|row| !RowSeal::is_on(row.value()));
                if is_plain {
                    let row = seal.close(&id.0, &row::encode(key.as_ref())?);
                    table.insert(id.0.as_str(), row.as_slice()).map_err(store)?;
                    sealed += 1;
                }
            }
        }
        if sealed > 0 {
            transaction.commit().map_err(store)?;
        }
        writer.seal = Some(seal);
        Ok(())
    }

    /// Makes a store at `path`, where there must be none, out of a snapshot. Ids and versions begin behind what may have been
    /// given out since; a term is given above the greatest that the disks know. Blocking.
    pub fn restore(path: &Path, snapshot: &[u8], seal: Option<&RowSeal>) -> Result<()> {
        let snapshot = Snapshot::decode(snapshot)?;
        let named = |error: io::Error| Error::Store(format!("{}: {error}", path.display()));
        if path.try_exists().map_err(named)? {
            return Err(Error::Store(format!("{} exists: move it away first", path.display())));
        }
        // Under another name until it is whole: a start in between finds no store, and not half of one.
        let temporary = path.with_extension("restored");
        remove_if_there(&temporary).map_err(named)?;
        {
            let backend = FileBackend::new(open_file(&temporary).map_err(named)?).map_err(from_database)?;
            let database = Database::builder().create_with_backend(backend).map_err(from_database)?;
            snapshot.write(&database)?;
            load(&database, seal)?;
        }
        put_in_place(&temporary, path).map_err(named)
    }

    fn snapshot_blocking(&self) -> Result<Vec<u8>> {
        let Ok(writer) = self.0.writer.lock() else {
            return Err(Error::Store("a write broke off; restart to read what is durable".to_owned()));
        };
        Snapshot::of(&writer.database)?.encode()
    }

    fn start(database: Database, seal: Option<RowSeal>) -> Result<Self> {
        let state = match load(&database, seal.as_ref())? {
            Some(found) => {
                let state = accounts_of_owners(&found);
                if state != found {
                    write(&database, seal.as_ref(), &found, &state)?;
                }
                state
            }
            None => {
                let state = State::default();
                write(&database, None, &state, &state)?;
                state
            }
        };
        let published = watch::Sender::new(Arc::new(state));
        let writer = Mutex::new(Writer { database, seal, failed: None });
        Ok(Self(Arc::new(Inner { writer, published })))
    }

    /// `ControlPlane::propose` without a runtime: waits for the disk on the calling thread.
    pub fn propose_blocking(&self, command: &Command) -> Result<Applied> {
        let Ok(mut writer) = self.0.writer.lock() else {
            return Err(Error::Store("a write broke off; restart to read what is durable".to_owned()));
        };
        if let Some(failed) = &writer.failed {
            return Err(Error::Store(format!("no writes after a failed one, until a restart ({failed})")));
        }

        let state = self.current();
        let (next, applied) = apply(&state, command)?;
        if next.version == state.version {
            return Ok(applied);
        }
        if let Err(error) = write(&writer.database, writer.seal.as_ref(), &state, &next) {
            tracing::error!(%error, "control store failed: it takes no more writes until a restart");
            writer.failed = Some(error.to_string());
            return Err(error);
        }
        // Under the lock, so that nobody decides on the state before this one.
        self.0.published.send_replace(Arc::new(next));
        Ok(applied)
    }
}

#[async_trait::async_trait]
impl ControlPlane for EmbeddedControlPlane {
    async fn propose(&self, command: Command) -> Result<Applied> {
        let store = self.clone();
        // Dropping this future does not stop the task: a command that was begun is finished.
        let task = tokio::task::spawn_blocking(move || store.propose_blocking(&command));
        task.await.unwrap_or_else(|error| Err(Error::Store(format!("a write broke off: {error}"))))
    }

    async fn read(&self) -> Result<Arc<State>> {
        // What was acknowledged was published before, so what is published is linearizable.
        Ok(self.current())
    }

    fn current(&self) -> Arc<State> {
        Arc::clone(&self.0.published.borrow())
    }

    async fn snapshot(&self) -> Result<Vec<u8>> {
        let store = self.clone();
        let task = tokio::task::spawn_blocking(move || store.snapshot_blocking());
        task.await.unwrap_or_else(|error| Err(Error::Store(format!("a snapshot broke off: {error}"))))
    }

    async fn watch(&self, version: u64) -> Result<Arc<State>> {
        let mut states = self.0.published.subscribe();
        let state = states.wait_for(|state| state.version > version).await;
        state.map(|state| Arc::clone(&state)).map_err(|_| Error::Store("the control store was closed".to_owned()))
    }
}

/// Makes the counters of `next` durable, and every row by which it differs from `before`: absent there, removed here.
fn write(database: &Database, seal: Option<&RowSeal>, before: &State, next: &State) -> Result<()> {
    let mut transaction = database.begin_write().map_err(store)?;
    transaction.set_durability(Durability::Immediate).map_err(store)?;
    transaction.set_quick_repair(true);
    {
        let mut meta = transaction.open_table(META).map_err(store)?;
        for (name, value) in counters(next) {
            meta.insert(name, value).map_err(store)?;
        }
    }
    put_changes(&transaction, BUCKETS, (&before.buckets, &next.buckets), |name| name.as_str().to_owned())?;
    put_changes(&transaction, OWNERS, (&before.owners, &next.owners), |id| id.0.clone())?;
    put_changes(&transaction, KMS, (&before.kms, &next.kms), String::clone)?;
    put_changes(&transaction, LIMITS, (&before.limits, &next.limits), String::clone)?;
    for (id, key) in changes(&before.keys, &next.keys) {
        put_key(&transaction, seal, id, key)?;
    }
    let (before, next) = (&before.iam, &next.iam);
    put_changes(&transaction, ACCOUNTS, (&before.accounts, &next.accounts), |id| id.0.clone())?;
    put_changes(&transaction, USERS, (&before.users, &next.users), row_of)?;
    put_changes(&transaction, GROUPS, (&before.groups, &next.groups), row_of)?;
    put_changes(&transaction, POLICIES, (&before.policies, &next.policies), row_of)?;
    put_changes(&transaction, ROLES, (&before.roles, &next.roles), row_of)?;
    put_changes(&transaction, PROVIDERS, (&before.providers, &next.providers), row_of)?;
    transaction.commit().map_err(store)
}

/// The key of a row of what is named in an account. Neither part has a newline.
fn row_of((account, name): &Named) -> String {
    format!("{}\n{name}", account.0)
}

/// The records of one table, as they are in the state.
type Rows<K, T> = Arc<BTreeMap<K, Arc<T>>>;

/// What is another record in `next`, or is not there any more. Records are compared by their address, so that this is quick.
fn changes<'s, K: Ord, T>(before: &'s Rows<K, T>, next: &'s Rows<K, T>) -> Vec<(&'s K, Option<&'s Arc<T>>)> {
    if Arc::ptr_eq(before, next) {
        return Vec::new();
    }
    let is_as_before = |id: &K, record: &Arc<T>| before.get(id).is_some_and(|known| Arc::ptr_eq(known, record));
    let put = next.iter().filter(|(id, record)| !is_as_before(id, record)).map(|(id, record)| (id, Some(record)));
    let gone = before.keys().filter(|id| !next.contains_key(id)).map(|id| (id, None));
    put.chain(gone).collect()
}

fn put_changes<K: Ord, T: Record>(
    transaction: &redb::WriteTransaction,
    table: TableDefinition<'_, &str, &[u8]>,
    (before, next): (&Rows<K, T>, &Rows<K, T>),
    row: impl Fn(&K) -> String,
) -> Result<()> {
    for (id, record) in changes(before, next) {
        put_row(transaction, table, &row(id), record)?;
    }
    Ok(())
}

fn counters(state: &State) -> [(&'static str, u64); 5] {
    [
        ("format", u64::from(FORMAT)),
        ("version", state.version),
        ("epoch", state.epoch.0),
        ("next_bucket", state.next_bucket.0),
        ("last_term", u64::from(state.last_term.0)),
    ]
}

fn put_row<T: Record>(
    transaction: &redb::WriteTransaction,
    table: TableDefinition<'_, &str, &[u8]>,
    key: &str,
    record: Option<&Arc<T>>,
) -> Result<()> {
    let mut table = transaction.open_table(table).map_err(store)?;
    match record {
        Some(record) => table.insert(key, row::encode(record.as_ref())?.as_slice()).map_err(store)?,
        None => table.remove(key).map_err(store)?,
    };
    Ok(())
}

fn put_key(
    transaction: &redb::WriteTransaction,
    seal: Option<&RowSeal>,
    id: &AccessKeyId,
    key: Option<&Arc<AccessKey>>,
) -> Result<()> {
    let (Some(seal), Some(key)) = (seal, key) else { return put_row(transaction, KEYS, &id.0, key) };
    let row = seal.close(&id.0, &row::encode(key.as_ref())?);
    transaction.open_table(KEYS).map_err(store)?.insert(id.0.as_str(), row.as_slice()).map_err(store)?;
    Ok(())
}

/// The state that the file holds; `None` for a file that was never written.
fn load(database: &Database, seal: Option<&RowSeal>) -> Result<Option<State>> {
    let transaction = database.begin_read().map_err(store)?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(store(error)),
    };
    let counter = |name: &str| match meta.get(name).map_err(store)? {
        Some(value) => Ok(value.value()),
        None => Err(Error::Store(format!("it is damaged: the counter {name} is missing"))),
    };
    let small = |name: &str| {
        let value = counter(name)?;
        u32::try_from(value).map_err(|_| Error::Store(format!("it is damaged: the counter {name} is {value}")))
    };

    // First of all: nothing else of a newer format can be understood.
    let found = small("format")?;
    if found > FORMAT {
        return Err(Error::NewerFormat { found, known: FORMAT });
    }
    let state = State {
        version: counter("version")?,
        epoch: Epoch(counter("epoch")?),
        next_bucket: BucketId(counter("next_bucket")?),
        last_term: Term(small("last_term")?),
        buckets: Arc::new(load_rows(&transaction, BUCKETS, |bucket: &Bucket| {
            (bucket.name.clone(), bucket.name.as_str().to_owned())
        })?),
        owners: Arc::new(load_rows(&transaction, OWNERS, |owner: &Owner| (owner.id.clone(), owner.id.0.clone()))?),
        iam: load_iam(&transaction)?,
        kms: Arc::new(load_rows(&transaction, KMS, |key: &KmsKey| (key.name.clone(), key.name.clone()))?),
        limits: Arc::new(load_rows(&transaction, LIMITS, |limit: &Limit| (limit.name.clone(), limit.name.clone()))?),
        keys: Arc::new(load_opened(
            &transaction,
            KEYS,
            |key: &AccessKey| (key.id.clone(), key.id.0.clone()),
            |id, row| open_row(seal, id, row),
        )?),
    };
    // An id given a second time would show a new bucket the objects of a deleted one.
    if let Some(bucket) = state.buckets.values().find(|bucket| bucket.id >= state.next_bucket) {
        return Err(Error::Store(format!("it is damaged: bucket {} has an id from the future", bucket.name)));
    }
    Ok(Some(state))
}

fn load_iam(transaction: &redb::ReadTransaction) -> Result<Iam> {
    let named = |account: &OwnerId, name: &str| {
        let id = (account.clone(), name.to_owned());
        let row = row_of(&id);
        (id, row)
    };
    Ok(Iam {
        accounts: Arc::new(load_rows(transaction, ACCOUNTS, |account: &Account| {
            (account.owner.clone(), account.owner.0.clone())
        })?),
        users: Arc::new(load_rows(transaction, USERS, |user: &User| named(&user.account, &user.name))?),
        groups: Arc::new(load_rows(transaction, GROUPS, |group: &Group| named(&group.account, &group.name))?),
        policies: Arc::new(load_rows(transaction, POLICIES, |policy: &ManagedPolicy| {
            named(&policy.account, &policy.name)
        })?),
        roles: Arc::new(load_rows(transaction, ROLES, |role: &Role| named(&role.account, &role.name))?),
        providers: Arc::new(load_rows(transaction, PROVIDERS, |provider: &OidcProvider| {
            named(&provider.account, provider.host_and_path())
        })?),
    })
}

/// All rows of a table by their id. `name` gives a record's id and the row's key that it must stand under.
fn load_rows<K: Ord, T: Record>(
    transaction: &redb::ReadTransaction,
    table: TableDefinition<'_, &str, &[u8]>,
    name: impl Fn(&T) -> (K, String),
) -> Result<BTreeMap<K, Arc<T>>> {
    load_opened(transaction, table, name, |_, row| Ok(row.into()))
}

/// A row without its seal, if it has one.
fn open_row<'r>(seal: Option<&RowSeal>, id: &str, row: &'r [u8]) -> Result<Cow<'r, [u8]>> {
    if !RowSeal::is_on(row) {
        return Ok(row.into());
    }
    let Some(seal) = seal else {
        return Err(Error::Store("its access keys are sealed, and the root key is missing: put it back".to_owned()));
    };
    Ok(seal.open(id, row)?.into())
}

/// `load_rows` of rows that have to be opened first.
fn load_opened<K: Ord, T: Record>(
    transaction: &redb::ReadTransaction,
    table: TableDefinition<'_, &str, &[u8]>,
    name: impl Fn(&T) -> (K, String),
    open: impl for<'r> Fn(&str, &'r [u8]) -> Result<Cow<'r, [u8]>>,
) -> Result<BTreeMap<K, Arc<T>>> {
    let table = match transaction.open_table(table) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(error) => return Err(store(error)),
    };
    let mut records = BTreeMap::new();
    for entry in table.iter().map_err(store)? {
        let (key, value) = entry.map_err(store)?;
        let record: T = row::decode(&open(key.value(), value.value())?)?;
        let (id, expected_key) = name(&record);
        if key.value() != expected_key {
            return Err(Error::Store(format!("it is damaged: row {} holds {expected_key}", key.value())));
        }
        records.insert(id, Arc::new(record));
    }
    Ok(records)
}

#[expect(clippy::disallowed_methods, reason = "the control store is a file of its own, apart from every disk")]
fn open_file(path: &Path) -> io::Result<File> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = missing_ancestors(directory);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    // The mode above counts for a new file only, and a copy may have brought a wider one.
    file.set_permissions(Permissions::from_mode(0o600))?;
    // A name is durable when its directory is.
    for directory in std::iter::once(directory).chain(made.iter().filter_map(|path| path.parent())) {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        File::open(directory)?.sync_all()?;
    }
    Ok(file)
}

#[expect(clippy::disallowed_methods, reason = "the control store is a file of its own, apart from every disk")]
fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the control store is a file of its own, apart from every disk")]
fn put_in_place(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    let directory = to.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn missing_ancestors(directory: &Path) -> Vec<&Path> {
    directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect()
}

fn store(error: impl std::fmt::Display) -> Error {
    Error::Store(error.to_string())
}

fn from_database(error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::Locked,
        other => store(other),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay files out by hand")]
mod tests;
