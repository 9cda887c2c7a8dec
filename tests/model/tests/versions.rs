//! Random histories of versions, delete markers, locks, tags and copies on Weir and on a list in memory: whatever a client
//! can see is the same, over restarts, kills, lost indexes and compactions. `WEIR_HISTORIES` sets how many (100 otherwise),
//! `WEIR_SEED` where to begin; a failure names its seed.

use common::doors::{SeededRandom, SimulatedClock};
use common::{BucketId, BucketName, ETag, Random, Stamp, VersionId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::disk::Disk;
use storage::disk::twin::TwinDisk;
use storage::{
    Acl, After, AfterVersion, Attributes, BucketState, BucketView, CopyRequest, DeleteRequest, Error, ListEntry,
    ListRequest, ListVersionsRequest, Lock, Match, Mode, Precondition, PutRequest, Retention, Target, Update,
    UpdateRequest, VersionEntry, Versioning,
};
use weir_model::{OPTIONS, Terms, complete, content, create_upload, doors, put_part};

/// The first can lock its versions, the second one's versioning changes, the third never has any.
const BUCKETS: [BucketId; 3] = [BucketId(1), BucketId(2), BucketId(3)];
const KEYS: [&str; 6] = ["a", "a/b", "b/x", "b/y", "ü", "z z"];
/// What the clock advances by at once: far more than all of a history's looks at it.
const AGE_MS: u64 = 1_000_000_000;
const BEGINNING_MS: u64 = 1_700_000_000_000;

/// A day of these rules is an age of the clock.
const RULES: &str = "<LifecycleConfiguration>\
    <Rule><ID>current</ID><Filter><Prefix>a</Prefix></Filter><Status>Enabled</Status>\
    <Expiration><Days>2</Days></Expiration></Rule>\
    <Rule><ID>older</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>\
    <NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>\
    <NewerNoncurrentVersions>1</NewerNoncurrentVersions></NoncurrentVersionExpiration>\
    <Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration></Rule>\
    <Rule><ID>colder</ID><Filter><Tag><Key>kind</Key><Value>3</Value></Tag></Filter><Status>Enabled</Status>\
    <Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>";

type Place = (BucketId, &'static str);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    pieces: Vec<(u64, usize)>,
    etag: ETag,
    is_multipart: bool,
    attributes: Attributes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    id: VersionId,
    /// `None` is a delete marker.
    content: Option<Content>,
    /// In which age it came.
    age: u64,
}

struct History {
    random: Arc<SeededRandom>,
    disk: TwinDisk,
    doors: storage::store::Doors,
    clock: Arc<SimulatedClock>,
    target: Arc<Target>,
    /// Of each key, the newest last.
    reference: BTreeMap<Place, Vec<Version>>,
    versioning: Versioning,
    views: u64,
    ages: u64,
    /// Ids of versions that were once there.
    gone: Vec<(Place, VersionId)>,
}

async fn open(disk: &TwinDisk, doors: &storage::store::Doors) -> Arc<Target> {
    let (disk, doors): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), doors.clone());
    let opened = tokio::task::spawn_blocking(move || Target::open_disk(disk, OPTIONS, &doors)).await;
    opened.expect("opening never panics").expect("it opens")
}

impl History {
    fn below(&self, bound: u64) -> u64 {
        self.random.u64() % bound
    }

    fn place(&self) -> Place {
        (BUCKETS[self.below(3) as usize], KEYS[self.below(KEYS.len() as u64) as usize])
    }

    fn versioning_of(&self, bucket: BucketId) -> Versioning {
        match bucket.0 {
            1 => Versioning::Enabled,
            2 => self.versioning,
            _ => Versioning::Off,
        }
    }

    async fn tell_buckets(&mut self) {
        self.views += 1;
        for id in BUCKETS {
            let name = BucketName::parse(&format!("bucket-{}", id.0)).expect("a good name");
            let (versioning, lock) = (self.versioning_of(id), id.0 == 1);
            let state = BucketState::Active;
            let view = BucketView { id, name, version: self.views, state, versioning, lock };
            self.target.apply_bucket(view).await.expect("a bucket");
        }
    }

    async fn keep_versions(&mut self, versioning: Versioning) {
        self.versioning = versioning;
        self.tell_buckets().await;
    }

    fn versions(&self, place: Place) -> &[Version] {
        self.reference.get(&place).map_or(&[], Vec::as_slice)
    }

    fn current(&self, place: Place) -> Option<&Content> {
        self.versions(place).last()?.content.as_ref()
    }

    /// A version that is there, was there, or never was.
    fn some_version(&self, place: Place) -> VersionId {
        let there = self.versions(place);
        match self.below(8) {
            0 => VersionId::Null,
            1 => VersionId::Id(Stamp(self.random.u64()), self.random.u64()),
            2 if !self.gone.is_empty() => self.gone[self.below(self.gone.len() as u64) as usize].1,
            _ if there.is_empty() => VersionId::Null,
            _ => there[self.below(there.len() as u64) as usize].id,
        }
    }

    fn is_active(&self, retention: Option<Retention>) -> Option<Mode> {
        retention.filter(|it| it.until_ms > BEGINNING_MS + self.ages * AGE_MS + AGE_MS / 2).map(|it| it.mode)
    }

    fn is_held(&self, lock: Lock, bypass: bool) -> bool {
        let by_time = match self.is_active(lock.retention) {
            Some(Mode::Compliance) => true,
            Some(Mode::Governance) => !bypass,
            None => false,
        };
        lock.legal_hold || by_time
    }

    fn some_retention(&self) -> Option<Retention> {
        let mode = if self.below(3) == 0 { Mode::Compliance } else { Mode::Governance };
        let until_ms = BEGINNING_MS + (self.ages + self.below(4)) * AGE_MS + AGE_MS * 3 / 4;
        (self.below(4) > 0).then_some(Retention { mode, until_ms })
    }

    fn some_acl(&self) -> Option<Acl> {
        let owner = (self.below(2) == 0).then(|| format!("owner-{}", self.below(3)));
        (self.below(3) > 0).then(|| Acl { owner, list: vec![1; self.below(200) as usize] })
    }

    async fn stamp_of(&self, (bucket, key): Place, version: Option<VersionId>) -> Stamp {
        let found = self.target.head(bucket, &weir_model::key(key), version).await;
        found.map_or(Stamp::ZERO, |info| info.stamp)
    }

    fn attributes(&self, bucket: BucketId) -> Attributes {
        let mut attributes = weir_model::attributes(self.random.u64());
        if self.below(3) == 0 {
            attributes.tags = vec![("kind".into(), self.below(9).to_string())];
        }
        if self.below(4) == 0 {
            attributes.headers.push(("x-amz-storage-class".into(), "GLACIER".into()));
        }
        if self.below(4) == 0 {
            attributes.acl = self.some_acl();
        }
        if bucket.0 == 1 && self.below(3) == 0 {
            attributes.lock = Lock { retention: self.some_retention(), legal_hold: self.below(4) == 0 };
        }
        attributes
    }

    /// Puts a version where the bucket's versioning wants it.
    fn add(&mut self, place: Place, id: VersionId, content: Option<Content>) {
        let expected_null = self.versioning_of(place.0) != Versioning::Enabled;
        assert_eq!(id == VersionId::Null, expected_null, "{place:?}");
        let versions = self.reference.entry(place).or_default();
        versions.retain(|version| version.id != id);
        versions.push(Version { id, content, age: self.ages });
    }

    async fn put(&mut self, place: Place) {
        let size = if self.below(2) == 0 { self.below(2049) } else { 2049 + self.below(30_000) } as usize;
        let (seed, attributes) = (self.random.u64(), self.attributes(place.0));
        let current = self.current(place).map(|content| content.etag);
        let (precondition, fits) = match self.below(6) {
            0 => (Precondition { if_none_match: Some(Match::Any), ..Precondition::default() }, current.is_none()),
            1 => {
                let etag = current.unwrap_or(ETag::of_md5([9; 16]));
                let if_match = Some(Match::ETags(vec![etag]));
                (Precondition { if_match, ..Precondition::default() }, current.is_some())
            }
            _ => (Precondition::default(), true),
        };
        let request = PutRequest {
            epoch: self.target.epoch(),
            bucket: place.0,
            key: weir_model::key(place.1),
            attributes: attributes.clone(),
            precondition,
            length: Some(size as u64),
            algorithms: Vec::new(),
        };
        let mut writer = self.target.put(request).await.expect("a writer");
        writer.write(content(seed, size)).await.expect("written");
        match writer.finish().await.expect("a body").commit().await {
            Ok(outcome) => {
                assert!(fits, "a condition that does not hold let a put through");
                let pieces = vec![(seed, size)];
                let content = Content { pieces, etag: outcome.etag, is_multipart: false, attributes };
                self.add(place, outcome.version, Some(content));
            }
            Err(Error::PreconditionFailed(_) | Error::NoSuchKey) => assert!(!fits),
            Err(error) => panic!("put: {error}"),
        }
    }

    async fn multipart(&mut self, place: Place) {
        let seed = self.random.u64();
        let upload = create_upload(&self.target, place.0, place.1, seed).await.expect("an upload");
        let mut parts = Vec::new();
        let mut pieces = Vec::new();
        for part in 1..=1 + self.below(3) as u16 {
            let piece = (self.random.u64(), 5000 + self.below(9000) as usize);
            let etag = put_part(&self.target, place.0, place.1, upload, part, piece).await.expect("a part");
            parts.push((part, etag));
            pieces.push(piece);
        }
        let outcome = complete(&self.target, place.0, place.1, upload, &parts).await.expect("completed");
        let attributes = weir_model::attributes(seed);
        let content = Content { pieces, etag: outcome.etag, is_multipart: true, attributes };
        self.add(place, outcome.version, Some(content));
    }

    async fn copy(&mut self, to: Place) {
        let from = self.place();
        let version = (self.below(2) == 0).then(|| self.some_version(from));
        let attributes = (self.below(3) == 0).then(|| self.attributes(to.0));
        let request = CopyRequest {
            epoch: self.target.epoch(),
            source_bucket: from.0,
            source_key: weir_model::key(from.1),
            source_version: version,
            source_stamp: None,
            bucket: to.0,
            key: weir_model::key(to.1),
            attributes: attributes.clone(),
            precondition: Precondition::default(),
        };
        let source = match version {
            None => self.current(from).cloned(),
            Some(id) => {
                let found = self.versions(from).iter().find(|version| version.id == id);
                found.and_then(|version| version.content.clone())
            }
        };
        match (self.target.copy(request).await, source) {
            (Ok(outcome), Some(mut content)) => {
                content.attributes = match attributes {
                    Some(attributes) => attributes,
                    None => Attributes { lock: Lock::default(), acl: None, ..content.attributes },
                };
                assert_eq!(outcome.etag, content.etag);
                self.add(to, outcome.version, Some(content));
            }
            (Err(Error::NoSuchKey | Error::NoSuchVersion | Error::IsDeleteMarker { .. }), None) => {}
            (outcome, content) => panic!("copy gave {outcome:?} where the reference has {content:?}"),
        }
    }

    async fn delete(&mut self, place: Place) {
        let version = (self.below(2) == 0).then(|| self.some_version(place));
        let bypass = self.below(2) == 0;
        let outcome = self.delete_version(place, version, bypass).await;
        let Some(id) = version else {
            let outcome = outcome.expect("a delete never fails");
            match self.versioning_of(place.0) {
                Versioning::Off => {
                    self.reference.remove(&place);
                    assert_eq!((outcome.version, outcome.is_marker), (None, false));
                }
                _ => {
                    assert!(outcome.is_marker);
                    self.add(place, outcome.version.expect("a marker has a version"), None);
                }
            }
            return;
        };
        let found = self.versions(place).iter().find(|version| version.id == id).cloned();
        let lock = found.as_ref().and_then(|version| version.content.as_ref()).map(|content| content.attributes.lock);
        if self.is_held(lock.unwrap_or_default(), bypass) {
            assert!(matches!(outcome, Err(Error::Locked(_))), "{place:?} {id} is locked: {outcome:?}");
            return;
        }
        let outcome = outcome.expect("it is not locked");
        assert_eq!(outcome.stamp.is_some(), found.is_some());
        assert_eq!(outcome.is_marker, found.as_ref().is_some_and(|version| version.content.is_none()));
        if found.is_some() {
            self.gone.push((place, id));
            let versions = self.reference.get_mut(&place).expect("it was found");
            versions.retain(|version| version.id != id);
            if versions.is_empty() {
                self.reference.remove(&place);
            }
        }
    }

    async fn delete_version(
        &self,
        place: Place,
        version: Option<VersionId>,
        bypass_governance: bool,
    ) -> storage::Result<storage::DeleteOutcome> {
        let (epoch, key, precondition) = (self.target.epoch(), weir_model::key(place.1), Precondition::default());
        let request =
            DeleteRequest { epoch, bucket: place.0, key, version, seen: None, precondition, bypass_governance };
        self.target.delete(request).await
    }

    async fn update(&mut self, place: Place) {
        let version = (self.below(2) == 0).then(|| self.some_version(place));
        let bypass_governance = self.below(2) == 0;
        let update = match self.below(6) {
            5 => Update::Acl(self.some_acl()),
            0 => Update::Tags((0..self.below(3)).map(|at| (format!("k{at}"), self.below(9).to_string())).collect()),
            1 => Update::Retention { retention: self.some_retention(), bypass_governance },
            2 => Update::LegalHold(self.below(3) == 0),
            3 => Update::Class((self.below(2) == 0).then(|| "STANDARD_IA".to_owned())),
            _ => Update::Metadata { headers: Vec::new(), user: vec![("seed".into(), self.below(99).to_string())] },
        };
        let request = UpdateRequest {
            epoch: self.target.epoch(),
            bucket: place.0,
            key: weir_model::key(place.1),
            version,
            update: update.clone(),
            precondition: Precondition::default(),
            // Nobody else changes it in between.
            seen: if self.below(2) == 0 { Some(self.stamp_of(place, version).await) } else { None },
        };
        let outcome = self.target.update(request).await;
        let found = match version {
            None => self.versions(place).last(),
            Some(id) => self.versions(place).iter().find(|version| version.id == id),
        };
        let Some(Version { id, content: Some(content), .. }) = found.cloned() else {
            let fits = matches!(
                (&outcome, found.is_some(), version),
                (Err(Error::IsDeleteMarker { .. }), true, _)
                    | (Err(Error::NoSuchKey), false, None)
                    | (Err(Error::NoSuchVersion), false, Some(_))
            );
            assert!(fits, "an update gave {outcome:?}, the reference has {found:?}");
            return;
        };
        let mut attributes = content.attributes;
        let now = attributes.lock;
        let refused = match &update {
            Update::LegalHold(_) | Update::Retention { .. } if place.0.0 != 1 => "no lock",
            Update::Metadata { .. } if self.is_held(now, false) => "locked",
            Update::Retention { retention, bypass_governance } => {
                let active = self.is_active(now.retention);
                let longer = retention.is_some_and(|next| {
                    now.retention.is_some_and(|now| next.mode == now.mode && next.until_ms >= now.until_ms)
                });
                let allowed = active.is_none() || longer || (active == Some(Mode::Governance) && *bypass_governance);
                if allowed { "" } else { "locked" }
            }
            _ => "",
        };
        match (&outcome, refused) {
            (Err(Error::NoObjectLock), "no lock") | (Err(Error::Locked(_)), "locked") => return,
            (Ok(done), "") => assert_eq!((done.version, done.etag), (id, content.etag)),
            (outcome, refused) => panic!("{update:?} gave {outcome:?}, expected {refused:?}"),
        }
        let refreshes = matches!(update, Update::Metadata { .. });
        match update {
            Update::Tags(tags) => attributes.tags = tags,
            Update::Retention { retention, .. } => attributes.lock.retention = retention,
            Update::LegalHold(hold) => attributes.lock.legal_hold = hold,
            Update::Class(class) => {
                attributes.headers.retain(|(name, _)| name != "x-amz-storage-class");
                attributes.headers.extend(class.map(|class| ("x-amz-storage-class".to_owned(), class)));
            }
            Update::Metadata { headers, user } => (attributes.headers, attributes.user) = (headers, user),
            Update::Acl(acl) => attributes.acl = acl,
        }
        let versions = self.reference.get_mut(&place).expect("it was found");
        let version = versions.iter_mut().find(|version| version.id == id).expect("it was found");
        if refreshes {
            version.age = self.ages;
        }
        version.content.as_mut().expect("it has content").attributes = attributes;
    }

    async fn step(&mut self) {
        let place = self.place();
        match self.below(100) {
            0..28 => self.put(place).await,
            28..33 => self.multipart(place).await,
            33..42 => self.copy(place).await,
            42..62 => self.delete(place).await,
            62..74 => self.update(place).await,
            74..78 => {
                let enabled = self.below(2) == 0;
                self.keep_versions(if enabled { Versioning::Enabled } else { Versioning::Suspended }).await;
            }
            78..80 => {
                self.ages += 1;
                self.clock.advance_ms(AGE_MS);
            }
            80..82 => self.lifecycle(place.0).await,
            82..84 => self.check_place(place).await,
            84..88 => self.check_listing(place.0).await,
            88..91 => self.restart(false).await,
            91..93 => self.restart(true).await,
            93..96 => {
                self.disk.unlink("quarantine/index.redb").ok();
                self.disk = self.disk.kill();
                self.target = open(&self.disk, &self.doors).await;
                self.tell_buckets().await;
                assert!(!self.disk.exists("quarantine/index.redb").expect("a look"), "a kill never breaks the index");
            }
            _ => self.compact().await,
        }
    }

    /// A pass of the lifecycle scanner, and the same by the words of the rules.
    async fn lifecycle(&mut self, bucket: BucketId) {
        let pass = gateway::lifecycle::scan::once(&self.target, &*self.clock, bucket, RULES.as_bytes(), AGE_MS);
        let changes = pass.await.expect("a pass");
        let mut expected = 0;
        for key in KEYS {
            let place = (bucket, key);
            let versions = self.versions(place).to_vec();
            let Some((latest, older)) = versions.split_last() else { continue };
            match &latest.content {
                None if older.is_empty() => {
                    self.reference.remove(&place);
                    self.gone.push((place, latest.id));
                    expected += 1;
                }
                None => {}
                Some(_) if key.starts_with('a') && latest.age + 2 <= self.ages => {
                    expected += 1;
                    self.expired(place).await;
                }
                Some(content) => {
                    let attributes = &content.attributes;
                    let class = attributes.headers.iter().find(|(name, _)| name == "x-amz-storage-class");
                    let is_tagged = attributes.tags.contains(&("kind".to_owned(), "3".to_owned()));
                    let is_cold = class.is_some_and(|(_, class)| class == "GLACIER");
                    if is_tagged && latest.age < self.ages && !is_cold {
                        expected += 1;
                        let versions = self.reference.get_mut(&place).expect("it is there");
                        let headers = &mut versions
                            .last_mut()
                            .and_then(|it| it.content.as_mut())
                            .expect("content")
                            .attributes
                            .headers;
                        headers.retain(|(name, _)| name != "x-amz-storage-class");
                        headers.push(("x-amz-storage-class".to_owned(), "GLACIER".to_owned()));
                    }
                }
            }
            // Where versioning is suspended, the marker of an expiration took the place of the null version.
            let newest = self.versions(place).last().map(|version| version.id);
            // All but the newest of the older ones, from an age after their successor came.
            for (at, version) in older.iter().enumerate().rev().skip(1) {
                let lock = version.content.as_ref().map_or(Lock::default(), |content| content.attributes.lock);
                let is_due = versions[at + 1].age < self.ages && newest != Some(version.id);
                if is_due && !self.is_held(lock, false) {
                    expected += 1;
                    self.gone.push((place, version.id));
                    self.reference.get_mut(&place).expect("it is there").retain(|it| it.id != version.id);
                }
            }
        }
        assert_eq!(changes, expected, "changes by the rules");
    }

    /// The current version expired: where versions are kept, by a delete marker whose id the target knows.
    async fn expired(&mut self, place: Place) {
        if self.versioning_of(place.0) == Versioning::Off {
            self.reference.remove(&place);
            return;
        }
        match self.target.head(place.0, &weir_model::key(place.1), None).await {
            Err(Error::IsDeleteMarker { version, .. }) => self.add(place, version, None),
            found => panic!("{place:?} should have expired: {found:?}"),
        }
    }

    async fn restart(&mut self, lose_index: bool) {
        self.target.shutdown().await.expect("a clean stop");
        if lose_index {
            self.disk.unlink("index/index.redb").expect("there was an index");
        }
        self.target = open(&self.disk, &self.doors).await;
        self.tell_buckets().await;
    }

    async fn compact(&mut self) {
        let disk = Arc::clone(&self.target.disks()[0]);
        let compacting = tokio::task::spawn_blocking(move || {
            disk.rotate()?;
            disk.checkpoint()?;
            while disk.compact()? {}
            Ok::<_, Error>(())
        });
        compacting.await.expect("it never panics").expect("compaction");
    }

    async fn read(&self, place: Place, version: Option<VersionId>) -> storage::Result<(VersionId, Content, Vec<u8>)> {
        let (info, bytes) = weir_model::read_version(&self.target, place.0, place.1, version).await?;
        let content = Content {
            pieces: Vec::new(),
            etag: info.etag,
            is_multipart: info.etag.parts > 0,
            attributes: info.attributes,
        };
        Ok((info.version, content, bytes))
    }

    async fn check_version(&self, place: Place, asked: Option<VersionId>, expected: Option<&Version>) {
        let found = self.read(place, asked).await;
        match (found, expected) {
            (Ok((id, found, bytes)), Some(Version { id: wanted, content: Some(content), .. })) => {
                assert_eq!(id, *wanted, "{place:?}");
                let wanted: Vec<u8> =
                    content.pieces.iter().flat_map(|(seed, size)| weir_model::content(*seed, *size)).collect();
                assert!(bytes == wanted, "{place:?} {id}: other bytes");
                assert_eq!(Content { pieces: content.pieces.clone(), ..found }, *content, "{place:?} {id}");
            }
            (Err(Error::IsDeleteMarker { version, was_named, .. }), Some(Version { id, content: None, .. })) => {
                assert_eq!((version, was_named), (*id, asked.is_some()));
            }
            (Err(Error::NoSuchKey), None) if asked.is_none() => {}
            (Err(Error::NoSuchVersion), None) if asked.is_some() => {}
            (found, expected) => panic!("{place:?} {asked:?}: found {found:?}, expected {expected:?}"),
        }
    }

    async fn check_place(&self, place: Place) {
        self.check_version(place, None, self.versions(place).last()).await;
        for version in self.versions(place) {
            self.check_version(place, Some(version.id), Some(version)).await;
        }
        for (of, id) in self.gone.iter().filter(|(of, _)| *of == place) {
            let there = self.versions(*of).iter().find(|version| version.id == *id);
            self.check_version(*of, Some(*id), there).await;
        }
    }

    async fn check_listing(&self, bucket: BucketId) {
        let prefix = ["", "a", "b/", "nothing"][self.below(4) as usize];
        let delimiter = [None, Some("/")][self.below(2) as usize];
        let limit = 1 + self.below(4) as usize;
        let of_bucket = self.reference.iter().filter(|((of, key), _)| *of == bucket && key.starts_with(prefix));
        let common = |key: &str| {
            let rest = &key[prefix.len()..];
            delimiter.and_then(|delimiter| rest.find(delimiter)).map(|at| key[..=prefix.len() + at].to_owned())
        };
        let (mut current, mut all) = (Vec::new(), Vec::new());
        let mut prefixes = BTreeSet::new();
        let mut live_prefixes = BTreeSet::new();
        for ((_, key), versions) in of_bucket {
            let is_live = versions.last().is_some_and(|version| version.content.is_some());
            if let Some(common) = common(key) {
                if is_live && live_prefixes.insert(common.clone()) {
                    current.push(format!("{common} as a prefix"));
                }
                if prefixes.insert(common.clone()) {
                    all.push(format!("{common} as a prefix"));
                }
                continue;
            }
            current.extend(is_live.then(|| (*key).to_owned()));
            for (at, version) in versions.iter().rev().enumerate() {
                let tags = version.content.as_ref().map_or(0, |content| content.attributes.tags.len());
                let (is_marker, latest) = (version.content.is_none(), at == 0);
                all.push(format!("{key} {} latest {latest} marker {is_marker} tags {tags}", version.id));
            }
        }
        assert_eq!(self.list(bucket, prefix, delimiter, limit).await, current, "{prefix:?} {delimiter:?}");
        assert_eq!(self.list_versions(bucket, prefix, delimiter, limit).await, all, "{prefix:?} {delimiter:?}");
    }

    async fn list(&self, bucket: BucketId, prefix: &str, delimiter: Option<&str>, limit: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut after = After::Beginning;
        loop {
            let (prefix, delimiter) = (prefix.to_owned(), delimiter.map(str::to_owned));
            let request = ListRequest { bucket, prefix, delimiter, after: after.clone(), limit };
            let page = self.target.list(request).await.expect("a page");
            assert!(page.entries.len() <= limit);
            for entry in page.entries {
                match entry {
                    ListEntry::Object(object) => {
                        after = After::Key(object.key.clone());
                        found.push(object.key);
                    }
                    ListEntry::Prefix(common) => {
                        after = After::Prefix(common.clone());
                        found.push(format!("{common} as a prefix"));
                    }
                }
            }
            if !page.more {
                return found;
            }
        }
    }

    async fn list_versions(
        &self,
        bucket: BucketId,
        prefix: &str,
        delimiter: Option<&str>,
        limit: usize,
    ) -> Vec<String> {
        let mut found = Vec::new();
        let mut after = AfterVersion::Beginning;
        loop {
            let (prefix, delimiter) = (prefix.to_owned(), delimiter.map(str::to_owned));
            let request = ListVersionsRequest { bucket, prefix, delimiter, after: after.clone(), limit };
            let page = self.target.list_versions(request).await.expect("a page");
            assert!(page.entries.len() <= limit);
            for entry in page.entries {
                match entry {
                    VersionEntry::Version(version) => {
                        after = AfterVersion::Version(version.key.clone(), version.version);
                        assert_eq!(version.noncurrent_ms.is_none(), version.is_latest, "{version:?}");
                        found.push(format!(
                            "{} {} latest {} marker {} tags {}",
                            version.key,
                            version.version,
                            version.is_latest,
                            version.is_marker,
                            version.tags.len()
                        ));
                    }
                    VersionEntry::Prefix(common) => {
                        after = AfterVersion::Prefix(common.clone());
                        found.push(format!("{common} as a prefix"));
                    }
                }
            }
            if !page.more {
                return found;
            }
        }
    }

    async fn check_all(&self) {
        for bucket in BUCKETS {
            for key in KEYS {
                self.check_place((bucket, key)).await;
            }
            for _ in 0..4 {
                self.check_listing(bucket).await;
            }
        }
    }

    /// Every data file belongs to a version; the view shows current ones and no other.
    async fn check_files(&self) {
        let store = Arc::clone(&self.target.disks()[0]);
        tokio::task::spawn_blocking(move || store.checkpoint()).await.expect("it never panics").expect("a checkpoint");
        let files_of = |content: &Content| {
            let is_large = content.is_multipart || content.pieces[0].1 > OPTIONS.inline_bytes_max as usize;
            if is_large { content.pieces.len() } else { 0 }
        };
        let contents = || self.reference.values().flatten().filter_map(|version| version.content.as_ref());
        let files = self.disk.files();
        let count = |directory: &str| files.iter().filter(|path| path.starts_with(directory)).count();
        assert_eq!(count("objects/"), contents().map(files_of).sum::<usize>(), "data files");
        assert_eq!(count("staging/"), 0, "staged files: {files:?}");
        let shown: usize = self.reference.keys().filter_map(|place| self.current(*place)).map(files_of).sum();
        let current: Vec<_> = self.reference.keys().map(|place| (place, self.current(*place).map(files_of))).collect();
        assert_eq!(count("data/"), shown, "links of the view: {files:#?}, current: {current:?}");
    }

    async fn index_dump(&self) -> Vec<String> {
        let disk = Arc::clone(&self.target.disks()[0]);
        let dumping = tokio::task::spawn_blocking(move || {
            disk.checkpoint()?;
            let store = disk.index.store()?;
            let mut segments: Vec<_> = store.segments()?.into_iter().collect();
            segments.sort_by_key(|(name, _)| *name);
            let rows = store.dump()?.into_iter().map(|row| format!("{row:?}"));
            let slots = store.slots()?.into_iter().filter(|(_, digest)| digest.objects > 0);
            let slots =
                slots.map(|(slot, digest)| format!("{slot} {} {} {}", digest.objects, digest.bytes, digest.xor));
            Ok::<_, Error>(rows.chain(slots).chain(segments.iter().map(|segment| format!("{segment:?}"))).collect())
        });
        dumping.await.expect("it never panics").expect("a dump")
    }
}

async fn begin(seed: u64) -> History {
    let disk = TwinDisk::default();
    let mut doors = doors(seed, &Arc::new(Terms::default()));
    let clock = SimulatedClock::starting_at(BEGINNING_MS);
    doors.clock = clock.clone();
    let target = open(&disk, &doors).await;
    let mut history = History {
        random: SeededRandom::new(seed ^ 0x7e55),
        disk,
        doors,
        clock,
        target,
        reference: BTreeMap::new(),
        versioning: Versioning::Off,
        views: 0,
        ages: 0,
        gone: Vec::new(),
    };
    history.tell_buckets().await;
    history
}

async fn run(seed: u64) {
    let mut history = begin(seed).await;
    for _ in 0..30 + history.below(90) {
        history.step().await;
    }
    history.check_all().await;
    history.check_files().await;
    let counted = history.index_dump().await;
    history.restart(true).await;
    let rebuilt = history.index_dump().await;
    let differs = counted.iter().zip(&rebuilt).find(|(counted, rebuilt)| counted != rebuilt);
    assert_eq!(differs, None, "counted along the way, rebuilt");
    assert_eq!(counted.len(), rebuilt.len());
    history.check_all().await;
    history.target.shutdown().await.expect("a clean stop");
}

/// Found by a history: in one pass an expiration's marker takes the place of a null version that was due to end as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_does_not_end_the_marker_that_it_has_made() {
    let mut history = begin(1).await;
    let place = (BUCKETS[1], "a/b");
    history.keep_versions(Versioning::Suspended).await;
    let marker = history.delete_version(place, None, false).await.expect("a marker").version;
    history.add(place, marker.expect("a marker has a version"), None);
    history.keep_versions(Versioning::Enabled).await;
    history.multipart(place).await;
    history.multipart(place).await;
    history.keep_versions(Versioning::Suspended).await;
    history.ages += 2;
    history.clock.advance_ms(2 * AGE_MS);
    history.lifecycle(place.0).await;
    history.check_all().await;
}

#[test]
fn versions_agree_with_the_reference() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (histories, first): (u64, u64) = (number("WEIR_HISTORIES", 100), number("WEIR_SEED", 1));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    for seed in first..first + histories {
        let outcome = runtime.block_on(async { tokio::spawn(run(seed)).await });
        if let Err(error) = outcome {
            panic!("history {seed} disagrees: run it alone with WEIR_SEED={seed} WEIR_HISTORIES=1 ({error})");
        }
    }
    println!("{histories} histories of versions agree");
}
