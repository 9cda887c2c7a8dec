//! Versions, tags and locks under the power cuts: every version that was acknowledged is there with its bytes, its tags and
//! its hold, every one whose end was acknowledged is gone, and the newest that is there is the current one.

use super::report;
use crate::Tally;
use common::{BucketId, BucketName, Random, VersionId};
use std::collections::BTreeMap;
use storage::disk::twin::TwinDisk;
use storage::{
    AfterVersion, BucketState, BucketView, DeleteRequest, Error, ListVersionsRequest, Lock, Precondition, PutRequest,
    Target, Update, UpdateRequest, VersionEntry, Versioning,
};
use weir_model::content;

pub const BUCKET: BucketId = BucketId(2);
pub const KEYS_PER_TASK: usize = 1;
/// More than these at once are ended, so that a look at all of them costs little.
const VERSIONS_MAX: usize = 6;

/// Something that was asked for, and when.
#[derive(Debug, Clone, Copy)]
struct Asked {
    began: usize,
    /// `None` if the answer never came.
    acknowledged: Option<usize>,
}

impl Asked {
    fn is_certain(self, moment: usize) -> bool {
        self.acknowledged.is_some_and(|at| at <= moment)
    }

    fn is_possible(self, moment: usize) -> bool {
        self.began <= moment
    }
}

/// What a version says beside its bytes.
type Beside = (Vec<(String, String)>, bool);

#[derive(Debug, Clone)]
struct Version {
    /// Known once it was acknowledged, or seen.
    id: Option<VersionId>,
    /// Seed and size; `None` is a delete marker.
    bytes: Option<(u64, usize)>,
    made: Asked,
    /// Tags and hold, in order.
    beside: Vec<(Beside, Asked)>,
    ended: Option<Asked>,
}

#[derive(Debug, Clone)]
pub struct Key {
    name: String,
    versions: Vec<Version>,
}

impl Key {
    pub fn new(task: usize, number: usize) -> Self {
        Self { name: format!("task-{task}/versioned-{number}"), versions: Vec::new() }
    }

    pub fn acknowledged(&self) -> usize {
        let steps = |version: &Version| {
            let asked = [Some(version.made), version.ended].into_iter().flatten();
            asked
                .chain(version.beside.iter().skip(1).map(|(_, asked)| *asked))
                .filter(|it| it.acknowledged.is_some())
                .count()
        };
        self.versions.iter().map(steps).sum()
    }

    /// Whether something must be there after a cut.
    pub fn expects_something(&self, moment: usize) -> bool {
        self.versions.iter().any(|version| must_be(version, moment))
    }

    pub async fn step(&mut self, target: &Target, disk: &TwinDisk, random: &dyn Random) -> storage::Result<()> {
        let seed = random.u64();
        let there: Vec<usize> = self
            .versions
            .iter()
            .enumerate()
            .filter(|(_, it)| it.ended.is_none() && it.id.is_some())
            .map(|(at, _)| at)
            .collect();
        let some = there.get((seed >> 8) as usize % there.len().max(1)).copied();
        let asked = Asked { began: disk.moment(), acknowledged: None };
        let choice = if there.len() > VERSIONS_MAX { 5 } else { seed % 10 };
        match (choice, some) {
            (0..4, _) | (_, None) => {
                let size =
                    if seed.is_multiple_of(3) { 2049 + (seed % 20_000) as usize } else { (seed % 2048) as usize };
                let held = seed.is_multiple_of(7);
                let beside = ((Vec::new(), held), asked);
                self.versions.push(Version {
                    id: None,
                    bytes: Some((seed, size)),
                    made: asked,
                    beside: vec![beside],
                    ended: None,
                });
                let id = put(target, &self.name, seed, size, held).await?;
                let version = self.versions.last_mut().expect("pushed above");
                version.id = Some(id);
                version.made.acknowledged = Some(disk.moment());
            }
            (4, _) => {
                self.versions.push(Version { id: None, bytes: None, made: asked, beside: Vec::new(), ended: None });
                let outcome = delete(target, &self.name, None).await?;
                let version = self.versions.last_mut().expect("pushed above");
                version.id = outcome.version;
                version.made.acknowledged = Some(disk.moment());
            }
            (5 | 6, Some(at)) => {
                let held = self.versions[at].beside.last().is_some_and(|((_, held), _)| *held);
                let id = self.versions[at].id;
                if held {
                    match delete(target, &self.name, id).await {
                        Err(Error::Locked(_)) => return Ok(()),
                        Err(error) => return Err(error),
                        Ok(_) => panic!("{}: a version under a legal hold was ended", self.name),
                    }
                }
                self.versions[at].ended = Some(asked);
                delete(target, &self.name, id).await?;
                self.versions[at].ended = Some(Asked { acknowledged: Some(disk.moment()), ..asked });
            }
            (choice, Some(at)) => {
                let version = &mut self.versions[at];
                let Some(((tags, held), _)) = version.beside.last().cloned() else { return Ok(()) };
                let (update, next) = if choice < 9 {
                    let tags = vec![("seed".to_owned(), seed.to_string())];
                    (Update::Tags(tags.clone()), (tags, held))
                } else {
                    (Update::LegalHold(!held), (tags, !held))
                };
                version.beside.push((next, asked));
                let key = weir_model::key(&self.name);
                let (epoch, precondition) = (target.epoch(), Precondition::default());
                let request =
                    UpdateRequest { epoch, bucket: BUCKET, key, version: version.id, update, precondition, seen: None };
                target.update(request).await?;
                version.beside.last_mut().expect("pushed above").1.acknowledged = Some(disk.moment());
            }
        }
        Ok(())
    }

    /// Takes what a restart shows as a promise: what was on its way has happened, or never will.
    pub async fn observe(&mut self, target: &Target, disk: &TwinDisk) -> storage::Result<()> {
        let began = disk.moment();
        let found = look(target, &self.name).await?;
        let now = |asked: Asked| Asked { acknowledged: Some(asked.acknowledged.unwrap_or(disk.moment())), ..asked };
        let known: Vec<VersionId> = self.versions.iter().filter_map(|version| version.id).collect();
        let mut new =
            found.iter().filter(|(id, _)| !known.contains(id)).map(|(id, seen)| (*id, seen)).collect::<Vec<_>>();
        for version in &mut self.versions {
            if version.id.is_none() {
                // One task asks for one thing at a time, so at most one is unknown, and it is recognised by its bytes.
                let at = new.iter().position(|(_, seen)| seen.is(version));
                version.id = at.map(|at| new.remove(at).0);
                version.made =
                    Asked { began: if version.id.is_some() { version.made.began } else { usize::MAX }, ..version.made };
            }
            let Some(id) = version.id else { continue };
            version.made = now(version.made);
            match found.get(&id) {
                None => version.ended = version.ended.map(now),
                Some(seen) => {
                    version.ended = None;
                    if version.beside.last().is_some_and(|(_, asked)| asked.acknowledged.is_none()) {
                        version.beside.push((seen.beside.clone(), Asked { began, acknowledged: Some(disk.moment()) }));
                    }
                }
            }
        }
        self.versions.retain(|version| version.id.is_some());
        Ok(())
    }

    /// What a cut left of the key, against what was acknowledged.
    pub async fn check(&self, target: &Target, moment: usize, is_red_expected: bool) -> Tally {
        let mut tally = Tally::default();
        let mut wrong = |text: String| {
            if !is_red_expected {
                report(&text);
            }
            tally.wrong += 1;
        };
        let mut found = match look(target, &self.name).await {
            Ok(found) => found,
            Err(error) => {
                wrong(format!("{} at {moment}: {error}", self.name));
                return tally;
            }
        };
        let mut lost = 0;
        for version in &self.versions {
            let seen = version.id.and_then(|id| found.remove(&id));
            match seen {
                Some(seen) => {
                    let is_over = version.ended.is_some_and(|ended| ended.is_certain(moment));
                    if is_over
                        || !version.made.is_possible(moment)
                        || !seen.is(version)
                        || !seen.is_beside(version, moment)
                    {
                        wrong(format!("{} at {moment}: it has {seen:?} of {version:?}", self.name));
                    }
                }
                None if must_be(version, moment) => lost += 1,
                None => {}
            }
        }
        // What nobody was told of may be there if it was on its way.
        for (id, seen) in found {
            let is_known =
                |version: &&Version| version.id.is_none() && version.made.is_possible(moment) && seen.is(version);
            if !self.versions.iter().any(|version| is_known(&version)) {
                wrong(format!("{} at {moment}: version {id} with {seen:?} comes from nowhere", self.name));
            }
        }
        tally.lost += lost;
        tally
    }
}

fn must_be(version: &Version, moment: usize) -> bool {
    version.made.is_certain(moment) && !version.ended.is_some_and(|ended| ended.is_possible(moment))
}

/// A version as the target shows it.
#[derive(Debug, Clone)]
struct Seen {
    bytes: Option<Vec<u8>>,
    beside: Beside,
}

impl Seen {
    fn is(&self, version: &Version) -> bool {
        match (&self.bytes, version.bytes) {
            (None, None) => true,
            (Some(bytes), Some((seed, size))) => bytes.len() == size && *bytes == content(seed, size),
            _ => false,
        }
    }

    fn is_beside(&self, version: &Version, moment: usize) -> bool {
        if self.bytes.is_none() {
            return true;
        }
        let certain = version.beside.iter().rposition(|(_, asked)| asked.is_certain(moment)).unwrap_or(0);
        let possible = version.beside[certain..].iter().filter(|(_, asked)| asked.is_possible(moment));
        possible.chain(version.beside.get(certain)).any(|(beside, _)| *beside == self.beside)
    }
}

/// Every version of a key. The first of the listing must be what a plain read gives.
async fn look(target: &Target, name: &str) -> storage::Result<BTreeMap<VersionId, Seen>> {
    let key = weir_model::key(name);
    let after = AfterVersion::Beginning;
    let request =
        ListVersionsRequest { bucket: BUCKET, prefix: name.to_owned(), delimiter: None, after, limit: 100_000 };
    let mut found = BTreeMap::new();
    let mut newest = None;
    for entry in target.list_versions(request).await?.entries {
        let VersionEntry::Version(listed) = entry else { continue };
        newest.get_or_insert((listed.version, listed.is_latest));
        let mut seen = Seen { bytes: None, beside: (listed.tags.clone(), listed.lock.legal_hold) };
        if !listed.is_marker {
            let (info, bytes) = weir_model::read_version(target, BUCKET, name, Some(listed.version)).await?;
            if (info.attributes.tags, info.attributes.lock.legal_hold) != seen.beside {
                return Err(Error::Damaged(format!("{name}: listing and record disagree")));
            }
            seen.bytes = Some(bytes);
        }
        found.insert(listed.version, seen);
    }
    let current = match target.head(BUCKET, &key, None).await {
        Ok(info) => Some((info.version, true)),
        Err(Error::IsDeleteMarker { version, .. }) => Some((version, true)),
        Err(Error::NoSuchKey) => None,
        Err(error) => return Err(error),
    };
    if current != newest {
        return Err(Error::Damaged(format!("{name}: current is {current:?}, the listing begins with {newest:?}")));
    }
    Ok(found)
}

async fn put(target: &Target, name: &str, seed: u64, size: usize, legal_hold: bool) -> storage::Result<VersionId> {
    let mut attributes = weir_model::attributes(seed);
    attributes.lock = Lock { retention: None, legal_hold };
    let request = PutRequest {
        epoch: target.epoch(),
        bucket: BUCKET,
        key: weir_model::key(name),
        attributes,
        precondition: Precondition::default(),
        length: Some(size as u64),
        algorithms: Vec::new(),
    };
    let mut writer = target.put(request).await?;
    writer.write(content(seed, size)).await?;
    Ok(writer.finish().await?.commit().await?.version)
}

async fn delete(target: &Target, name: &str, version: Option<VersionId>) -> storage::Result<storage::DeleteOutcome> {
    let (epoch, key, precondition) = (target.epoch(), weir_model::key(name), Precondition::default());
    target
        .delete(DeleteRequest {
            epoch,
            bucket: BUCKET,
            key,
            version,
            seen: None,
            precondition,
            bypass_governance: false,
        })
        .await
}

/// Lets the disk know that this bucket keeps its versions.
pub async fn tell(target: &Target) -> storage::Result<()> {
    let name = BucketName::parse("bucket-2").expect("a good name");
    let (state, versioning) = (BucketState::Active, Versioning::Enabled);
    target.apply_bucket(BucketView { id: BUCKET, name, version: 2, state, versioning, lock: true }).await
}
