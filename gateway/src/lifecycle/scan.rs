//! Goes over the versions and uploads of every bucket that has lifecycle rules, again and again, and does what they say.
//!
//! It reads the index alone, page by page, and takes no more than a budget of entries and of changes a second. Where it is
//! is written down now and then, so that a restart of a large store does not begin at the first bucket each time. Whatever it
//! decides is decided once more by the disk's committer: it is done to the record that was looked at, or to none.

use super::evaluate::{Action, Days, Facts, aborts, evaluate};
use super::rules::{self, Rule};
use crate::Parts;
use crate::concurrency::{Concurrency, Permit};
use crate::documents;
use crate::error::Result;
use crate::listener::{Stage, leaves};
use cluster::BucketState;
use common::{BucketId, Clock, ObjectKey, UploadId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use storage::{
    AfterVersion, DeleteRequest, ListUploadsRequest, ListVersionsRequest, ListedVersion, Precondition, Target, Update,
    UpdateRequest, UploadEntry, UploadInfo, UploadsPage, VersionEntry, VersionsPage,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const JOB: &str = "lifecycle";
const PAGE_ENTRIES: usize = 1000;
/// From the end of one pass to the beginning of the next.
const PASS_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// After each page, and after each change: 10,000 entries and 500 changes a second at most.
const PAGE_PAUSE: Duration = Duration::from_millis(100);
const CHANGE_PAUSE: Duration = Duration::from_millis(2);
/// Pages between two writings down of the place.
const PAGES_UNSAVED_MAX: u32 = 16;

/// How quickly to go.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub days: Days,
    pub pass_interval: Duration,
    pub page_pause: Duration,
    pub change_pause: Duration,
}

impl Pace {
    /// With days of so many seconds in tests, several passes a day and no pauses.
    pub fn of(day_seconds: Option<u64>) -> Self {
        match day_seconds {
            None => Self {
                days: Days::Real,
                pass_interval: PASS_INTERVAL,
                page_pause: PAGE_PAUSE,
                change_pause: CHANGE_PAUSE,
            },
            Some(seconds) => {
                let day_ms = seconds.max(1) * 1000;
                let pass_interval = Duration::from_millis((day_ms / 10).clamp(100, 5000));
                let (page_pause, change_pause) = (Duration::ZERO, Duration::ZERO);
                Self { days: Days::Short { day_ms }, pass_interval, page_pause, change_pause }
            }
        }
    }
}

/// What the scanner does with a bucket's objects. The target does it; tests have one of their own.
#[async_trait::async_trait]
pub trait Objects: Send + Sync {
    async fn versions(&self, request: ListVersionsRequest) -> Result<VersionsPage>;
    async fn uploads(&self, request: ListUploadsRequest) -> Result<UploadsPage>;
    async fn expire(&self, bucket: BucketId, version: &ListedVersion) -> Result<()>;
    async fn end(&self, bucket: BucketId, version: &ListedVersion) -> Result<()>;
    async fn transition(&self, bucket: BucketId, version: &ListedVersion, class: &str) -> Result<()>;
    async fn abort(&self, bucket: BucketId, key: &str, upload: UploadId) -> Result<()>;
}

/// Where a pass is: everything before is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    bucket: u64,
    /// The last key that is done with.
    key: Option<String>,
}

/// Starts the scanner.
pub fn start(
    parts: &Parts,
    day_seconds: Option<u64>,
    concurrency: Option<Arc<Concurrency>>,
    mut stage: watch::Receiver<Stage>,
) -> JoinHandle<()> {
    let (parts, pace) = (parts.clone(), Pace::of(day_seconds));
    tokio::spawn(async move {
        tokio::select! {
            () = leaves(&mut stage, Stage::Serving) => {}
            () = passes(&parts, pace, concurrency) => {}
        }
    })
}

async fn passes(parts: &Parts, pace: Pace, concurrency: Option<Arc<Concurrency>>) {
    let mut from = saved(parts).await;
    loop {
        if let Err(error) = pass(parts, pace, concurrency.as_ref(), from.take()).await {
            tracing::warn!(%error, "a pass of the lifecycle rules broke off; the next one begins anew");
        }
        save(parts, None).await;
        tokio::time::sleep(pace.pass_interval).await;
    }
}

/// One pass over all buckets, from a place on.
async fn pass(parts: &Parts, pace: Pace, concurrency: Option<&Arc<Concurrency>>, from: Option<Place>) -> Result<()> {
    let state = parts.control.current();
    let mut buckets: Vec<_> = state.buckets.values().filter(|bucket| bucket.state == BucketState::Active).collect();
    buckets.retain(|bucket| bucket.documents.contains_key(documents::LIFECYCLE));
    buckets.sort_by_key(|bucket| bucket.id);
    for bucket in buckets {
        let key = match &from {
            Some(place) if bucket.id.0 < place.bucket => continue,
            Some(place) if bucket.id.0 == place.bucket => place.key.clone(),
            _ => None,
        };
        let rules = rules::parse(bucket.documents.get(documents::LIFECYCLE).map_or(&[], Vec::as_slice));
        let objects = OfTarget { target: Arc::clone(&parts.target), concurrency: concurrency.cloned() };
        let mut scan =
            Scan { objects: &objects, clock: &*parts.clock, bucket: bucket.id, rules: &rules, pace, changes: 0 };
        let mut unsaved = 0;
        let mut walk = Walk::after(key);
        while let Some(page) = scan.versions(&mut walk).await? {
            unsaved += 1;
            if unsaved >= PAGES_UNSAVED_MAX {
                unsaved = 0;
                save(parts, Some(Place { bucket: bucket.id.0, key: page })).await;
            }
        }
        scan.uploads().await?;
        if scan.changes > 0 {
            tracing::info!(bucket = %bucket.name, changes = scan.changes, "lifecycle rules changed objects");
        }
    }
    Ok(())
}

/// One pass over one bucket by the rules of this document, with days of so many milliseconds. Gives how many changes it made.
pub async fn once(
    target: &Arc<Target>,
    clock: &dyn Clock,
    bucket: BucketId,
    document: &[u8],
    day_ms: u64,
) -> Result<u64> {
    let rules = rules::parse(document);
    let objects = OfTarget { target: Arc::clone(target), concurrency: None };
    let pace = Pace { days: Days::Short { day_ms }, ..Pace::of(Some(1)) };
    let mut scan = Scan { objects: &objects, clock, bucket, rules: &rules, pace, changes: 0 };
    let mut walk = Walk::after(None);
    while scan.versions(&mut walk).await?.is_some() {}
    scan.uploads().await?;
    Ok(scan.changes)
}

async fn saved(parts: &Parts) -> Option<Place> {
    let target = Arc::clone(&parts.target);
    let bytes = tokio::task::spawn_blocking(move || target.recall(JOB)).await.ok()?;
    serde_json::from_slice(&bytes?).ok()
}

async fn save(parts: &Parts, place: Option<Place>) {
    let target = Arc::clone(&parts.target);
    let saved = tokio::task::spawn_blocking(move || match place {
        Some(place) => target.remember(JOB, &serde_json::to_vec(&place).unwrap_or_default()),
        None => target.forget(JOB),
    });
    if let Ok(Err(error)) = saved.await {
        tracing::warn!(%error, "the place of the lifecycle scanner was not written down");
    }
}

/// A walk over the versions of a bucket. One entry stays back until the next one says whether its key goes on.
pub struct Walk {
    after: AfterVersion,
    is_over: bool,
    back: Option<ListedVersion>,
    /// Of the key that the walk is in: its name, its noncurrent versions so far, and all versions so far.
    key: String,
    noncurrent: u32,
    versions: u64,
    /// The last key that is wholly behind.
    done: Option<String>,
}

impl Walk {
    pub fn after(key: Option<String>) -> Self {
        let after = key.clone().map_or(AfterVersion::Beginning, AfterVersion::Key);
        Self { after, is_over: false, back: None, key: String::new(), noncurrent: 0, versions: 0, done: key }
    }

    /// Takes the next entry and gives the one before it with what is known of it.
    fn step(&mut self, next: Option<ListedVersion>) -> Option<(ListedVersion, u32, bool)> {
        let goes_on = next.as_ref().is_some_and(|next| self.back.as_ref().is_some_and(|back| back.key == next.key));
        let before = std::mem::replace(&mut self.back, next)?;
        if before.key != self.key {
            self.key.clone_from(&before.key);
            (self.noncurrent, self.versions) = (0, 0);
        }
        let newer_noncurrent = self.noncurrent;
        let is_alone = self.versions == 0 && !goes_on;
        self.versions += 1;
        if !before.is_latest {
            self.noncurrent = self.noncurrent.saturating_add(1);
        }
        if !goes_on {
            self.done = Some(before.key.clone());
        }
        Some((before, newer_noncurrent, is_alone))
    }
}

pub struct Scan<'s> {
    pub objects: &'s dyn Objects,
    pub clock: &'s dyn Clock,
    pub bucket: BucketId,
    pub rules: &'s [Rule],
    pub pace: Pace,
    pub changes: u64,
}

impl Scan<'_> {
    /// The next page of versions. Gives the last key that is done with, in `Some` as long as there are more pages.
    pub async fn versions(&mut self, walk: &mut Walk) -> Result<Option<Option<String>>> {
        if walk.is_over {
            return Ok(None);
        }
        let request = ListVersionsRequest {
            bucket: self.bucket,
            prefix: common_prefix(self.rules),
            delimiter: None,
            after: walk.after.clone(),
            limit: PAGE_ENTRIES,
        };
        let page = self.objects.versions(request).await?;
        let mut due = Vec::new();
        let entries = page.entries.into_iter().filter_map(|entry| match entry {
            VersionEntry::Version(version) => Some(*version),
            VersionEntry::Prefix(_) => None,
        });
        for version in entries {
            walk.after = AfterVersion::Version(version.key.clone(), version.version);
            self.take(walk.step(Some(version)), &mut due);
        }
        if !page.more {
            walk.is_over = true;
            self.take(walk.step(None), &mut due);
        }
        // The entry on which the next page goes on stayed back, so it is still there.
        for (version, action) in due {
            self.act(&version, action).await;
        }
        tokio::time::sleep(self.pace.page_pause).await;
        Ok(Some(walk.done.clone()))
    }

    fn take(&self, stepped: Option<(ListedVersion, u32, bool)>, due: &mut Vec<(ListedVersion, Action)>) {
        let Some((version, newer_noncurrent, is_alone)) = stepped else { return };
        let facts = Facts { version: &version, newer_noncurrent, is_alone };
        let action = evaluate(self.rules, &facts, self.clock.now_ms(), self.pace.days);
        if action != Action::Keep {
            due.push((version, action));
        }
    }

    async fn act(&mut self, version: &ListedVersion, action: Action) {
        let done = match &action {
            Action::Keep => return,
            Action::Expire => self.objects.expire(self.bucket, version).await,
            Action::End => self.objects.end(self.bucket, version).await,
            Action::Transition(class) => self.objects.transition(self.bucket, version, class).await,
        };
        match done {
            Ok(()) => self.changes += 1,
            // It changed since, or is locked, or the disk has no room: the next pass looks again.
            Err(error) => tracing::debug!(%error, key = version.key, ?action, "a lifecycle rule did nothing"),
        }
        tokio::time::sleep(self.pace.change_pause).await;
    }

    pub async fn uploads(&mut self) -> Result<()> {
        if self.rules.iter().all(|rule| rule.abort_uploads_days.is_none()) {
            return Ok(());
        }
        let mut after: Option<(String, Option<UploadId>)> = None;
        loop {
            let request = ListUploadsRequest {
                bucket: self.bucket,
                prefix: common_prefix(self.rules),
                delimiter: None,
                after: after.clone(),
                after_prefix: None,
                limit: PAGE_ENTRIES,
            };
            let page = self.objects.uploads(request).await?;
            let now_ms = self.clock.now_ms();
            for entry in page.entries {
                let UploadEntry::Upload(UploadInfo { upload, key, created_ms, .. }) = entry else { continue };
                after = Some((key.clone(), Some(upload)));
                if aborts(self.rules, &key, created_ms, now_ms, self.pace.days) {
                    match self.objects.abort(self.bucket, &key, upload).await {
                        Ok(()) => self.changes += 1,
                        Err(error) => tracing::debug!(%error, key, "an old upload was not aborted"),
                    }
                    tokio::time::sleep(self.pace.change_pause).await;
                }
            }
            tokio::time::sleep(self.pace.page_pause).await;
            if !page.more {
                return Ok(());
            }
        }
    }
}

/// What all rules' prefixes begin with: nothing else has to be looked at.
fn common_prefix(rules: &[Rule]) -> String {
    let mut prefixes = rules.iter().map(|rule| rule.filter.prefix.as_str());
    let Some(first) = prefixes.next() else { return String::new() };
    let common = prefixes.fold(first, |common, prefix| {
        let same = common.char_indices().zip(prefix.chars()).find(|((_, one), other)| one != other);
        &common[..same.map_or(common.len().min(prefix.len()), |((at, _), _)| at)]
    });
    common.to_owned()
}

struct OfTarget {
    target: Arc<Target>,
    concurrency: Option<Arc<Concurrency>>,
}

impl OfTarget {
    /// Clients go first.
    async fn place(&self) -> Option<Permit> {
        Concurrency::background(self.concurrency.as_ref()).await
    }

    async fn delete(&self, bucket: BucketId, version: &ListedVersion, is_named: bool) -> Result<()> {
        let _place = self.place().await;
        let target = &self.target;
        target
            .expire(DeleteRequest {
                epoch: target.epoch(),
                bucket,
                key: ObjectKey::parse(&version.key)?,
                version: is_named.then_some(version.version),
                // Of the null version another one may have taken the place, by what this page did before.
                seen: Some(version.stamp),
                precondition: Precondition::default(),
                bypass_governance: false,
            })
            .await?;
        Ok(())
    }
}

#[async_trait::async_trait]
impl Objects for OfTarget {
    async fn versions(&self, request: ListVersionsRequest) -> Result<VersionsPage> {
        let _place = self.place().await;
        Ok(self.target.list_versions(request).await?)
    }

    async fn uploads(&self, request: ListUploadsRequest) -> Result<UploadsPage> {
        let _place = self.place().await;
        Ok(self.target.list_uploads(request).await?)
    }

    async fn expire(&self, bucket: BucketId, version: &ListedVersion) -> Result<()> {
        self.delete(bucket, version, false).await
    }

    async fn end(&self, bucket: BucketId, version: &ListedVersion) -> Result<()> {
        self.delete(bucket, version, true).await
    }

    async fn transition(&self, bucket: BucketId, version: &ListedVersion, class: &str) -> Result<()> {
        let _place = self.place().await;
        let target = &self.target;
        target
            .update(UpdateRequest {
                epoch: target.epoch(),
                bucket,
                key: ObjectKey::parse(&version.key)?,
                version: Some(version.version),
                update: Update::Class(Some(class.to_owned())),
                precondition: Precondition::default(),
                seen: Some(version.stamp),
            })
            .await?;
        Ok(())
    }

    async fn abort(&self, bucket: BucketId, key: &str, upload: UploadId) -> Result<()> {
        let _place = self.place().await;
        let target = &self.target;
        Ok(target.abort_upload(target.epoch(), bucket, ObjectKey::parse(key)?, upload).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::rules::{Filter, Noncurrent, When};
    use common::doors::SimulatedClock;
    use common::{ETag, Stamp, VersionId};
    use std::sync::Mutex;
    use storage::Lock;

    /// A bucket of versions, given out two by two, that remembers what was done to it.
    struct Fake {
        versions: Vec<ListedVersion>,
        uploads: Vec<UploadInfo>,
        did: Mutex<Vec<String>>,
    }

    fn did(fake: &Fake, what: &str, key: &str, version: VersionId) -> Result<()> {
        let number = if let VersionId::Id(stamp, _) = version { stamp.0 } else { 0 };
        fake.did.lock().expect("whole").push(format!("{what} {key} {number}"));
        Ok(())
    }

    #[async_trait::async_trait]
    impl Objects for Fake {
        async fn versions(&self, request: ListVersionsRequest) -> Result<VersionsPage> {
            let from = match &request.after {
                AfterVersion::Beginning | AfterVersion::Prefix(_) => 0,
                AfterVersion::Key(key) => self.versions.partition_point(|version| version.key <= *key),
                AfterVersion::Version(key, id) => {
                    1 + self.versions.iter().position(|one| one.key == *key && one.version == *id).expect("still there")
                }
            };
            let rest = self.versions[from..].iter().filter(|version| version.key.starts_with(&request.prefix));
            let entries: Vec<_> =
                rest.clone().take(2).cloned().map(|one| VersionEntry::Version(Box::new(one))).collect();
            Ok(VersionsPage { entries, more: rest.count() > 2 })
        }

        async fn uploads(&self, _: ListUploadsRequest) -> Result<UploadsPage> {
            Ok(UploadsPage { entries: self.uploads.iter().cloned().map(UploadEntry::Upload).collect(), more: false })
        }

        async fn expire(&self, _: BucketId, version: &ListedVersion) -> Result<()> {
            did(self, "expire", &version.key, version.version)
        }

        async fn end(&self, _: BucketId, version: &ListedVersion) -> Result<()> {
            did(self, "end", &version.key, version.version)
        }

        async fn transition(&self, _: BucketId, version: &ListedVersion, class: &str) -> Result<()> {
            did(self, class, &version.key, version.version)
        }

        async fn abort(&self, _: BucketId, key: &str, upload: UploadId) -> Result<()> {
            did(self, "abort", key, VersionId::Id(upload.0, 0))
        }
    }

    fn version(key: &str, number: u64, is_latest: bool, is_marker: bool) -> ListedVersion {
        ListedVersion {
            key: key.to_owned(),
            version: VersionId::Id(Stamp(number), 0),
            stamp: Stamp(number),
            is_latest,
            is_marker,
            size: 1,
            etag: (!is_marker).then(|| ETag::of_md5([0; 16])),
            modified_ms: 0,
            noncurrent_ms: (!is_latest).then_some(0),
            class: None,
            tags: Vec::new(),
            lock: Lock::default(),
            owner: None,
        }
    }

    async fn scanned(versions: Vec<ListedVersion>, rules: &[Rule], from: Option<&str>) -> Vec<String> {
        let upload =
            UploadInfo { upload: UploadId(Stamp(7), 0), key: "up".into(), created_ms: 0, algorithm: None, owner: None };
        let fake = Fake { versions, uploads: vec![upload], did: Mutex::default() };
        let clock = SimulatedClock::starting_at(100_000);
        let pace = Pace::of(Some(1));
        let mut scan = Scan { objects: &fake, clock: &*clock, bucket: BucketId(1), rules, pace, changes: 0 };
        let mut walk = Walk::after(from.map(str::to_owned));
        let mut done = None;
        while let Some(page) = scan.versions(&mut walk).await.expect("a page") {
            assert!(page >= done, "the place goes forward");
            done = page;
        }
        scan.uploads().await.expect("uploads");
        let did = fake.did.lock().expect("whole").clone();
        assert_eq!(scan.changes, did.len() as u64);
        did
    }

    #[tokio::test]
    async fn pages_are_walked_with_what_came_before() {
        let versions = vec![
            version("a", 5, true, false),
            version("a", 4, false, false),
            version("a", 3, false, false),
            version("a", 2, false, false),
            version("b", 9, true, true),
            version("c", 8, true, true),
            version("c", 7, false, false),
        ];
        let newer = Rule { noncurrent_expiration: Some(Noncurrent { days: 1, newer: 1 }), ..Rule::default() };
        assert_eq!(scanned(versions.clone(), &[newer], None).await, ["end a 3", "end a 2"]);
        let markers = Rule { expired_markers: true, ..Rule::default() };
        assert_eq!(scanned(versions.clone(), std::slice::from_ref(&markers), None).await, ["end b 9"]);
        assert_eq!(scanned(versions.clone(), &[markers], Some("b")).await, Vec::<String>::new());
        let filter = Filter { prefix: "a".into(), ..Filter::default() };
        let expires = Rule { expiration: Some(When::Days(1)), abort_uploads_days: Some(1), filter, ..Rule::default() };
        assert_eq!(scanned(versions, &[expires], None).await, ["expire a 5"]);
        let aborts = Rule { abort_uploads_days: Some(1), ..Rule::default() };
        assert_eq!(scanned(Vec::new(), &[aborts], None).await, ["abort up 7"]);
    }

    #[test]
    fn only_what_rules_speak_of_is_listed() {
        let rule = |prefix: &str| Rule {
            filter: Filter { prefix: prefix.to_owned(), ..Filter::default() },
            ..Rule::default()
        };
        assert_eq!(common_prefix(&[rule("logs/a"), rule("logs/b"), rule("logs/")]), "logs/");
        assert_eq!(common_prefix(&[rule("üa"), rule("übc")]), "ü");
        assert_eq!(common_prefix(&[rule("a"), rule("")]), "");
        assert_eq!(common_prefix(&[]), "");
    }
}
