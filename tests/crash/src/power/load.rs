//! Mixed load on a real server, and the check of everything afterwards.
//!
//! Each worker owns its keys, uploads and a bucket, so that at most one request for each is in flight. A key whose request
//! had no answer is left alone until the server has started again and says what became of it.

use super::history::{History, Position, Upload, Verdict};
use crate::judge::{Judgement, State, judge};
use crate::s3::{Client, Request, Response};
use crate::value::{Value, pick_size};
use anyhow::{Context, Result, bail};
use common::Random;
use common::doors::SeededRandom;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub const BUCKET: &str = "crash";
const KEYS_PER_WORKER: u64 = 30;
const UPLOADS_PER_WORKER: usize = 2;
/// The smallest part that S3 allows before the last, and a last one.
const PART_BYTES: u64 = 5 * 1024 * 1024;
const LAST_PART_BYTES: u64 = 300 * 1024;
/// Weight and length of a PUT: nothing, small, one block, the longest inline payload, a file, a long file.
const SIZES: [(u64, u64); 6] =
    [(8, 0), (25, 100), (25, 4 * 1024), (20, 64 * 1024), (18, 200 * 1024), (2, 3 * 1024 * 1024)];
const KEY_SHAPES: [&str; 4] = ["plain", "deep/er/path", "odd//slash", "ünï/¢ode"];

/// Where the disk's log stands now.
pub type Now<'a> = &'a (dyn Fn() -> Position + Sync);

/// What a check found.
#[derive(Debug, Default)]
pub struct Findings {
    pub lost: Vec<String>,
    pub wrong: Vec<String>,
}

/// Statuses by their number; 0 for requests without an answer.
pub type Answers = BTreeMap<u16, u64>;

struct Open {
    upload: Upload,
    value: Value,
    etags: BTreeMap<u32, String>,
    /// A request about it had no answer.
    is_stuck: bool,
}

pub struct Worker {
    random: Arc<SeededRandom>,
    sequence: u64,
    keys: BTreeMap<String, History>,
    bucket: (String, History),
    has_bucket: bool,
    open: Vec<Open>,
    ended: Vec<Upload>,
    pub acknowledged: u64,
    pub answers: Answers,
    /// What the last request without an answer ended with.
    pub unanswered: Option<String>,
    /// Reads whose answer no history gives, found during the load.
    pub findings: Findings,
}

impl Worker {
    pub fn new(number: u64, seed: u64) -> Self {
        let shape = |index: u64| KEY_SHAPES[(index % KEY_SHAPES.len() as u64) as usize];
        let keys =
            (0..KEYS_PER_WORKER).map(|index| (format!("w{number}/{}/{index}", shape(index)), History::default()));
        Self {
            random: SeededRandom::new(seed),
            sequence: 0,
            keys: keys.collect(),
            bucket: (format!("crash-of-{number}"), History::default()),
            has_bucket: true,
            open: Vec::new(),
            ended: Vec::new(),
            acknowledged: 0,
            answers: Answers::new(),
            unanswered: None,
            findings: Findings::default(),
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = (&String, &History)> {
        self.keys.iter()
    }

    /// The control store has no reserve: on a full disk it refuses, and that is another story.
    pub fn leave_buckets_alone(&mut self) {
        self.has_bucket = false;
    }

    /// Works until it is told to stop, with a pause of up to so long after each step.
    pub fn load(&mut self, mut client: Client, now: Now<'_>, stop: &AtomicBool, pause_ms_max: u64) {
        while !stop.load(Ordering::SeqCst) {
            // Errors are in the history and in the answers' count.
            let done = self.step(&mut client, now);
            let pause = if done.is_err() { 20 } else { self.random.u64() % (pause_ms_max + 1) };
            std::thread::sleep(Duration::from_millis(pause));
        }
    }

    fn step(&mut self, client: &mut Client, now: Now<'_>) -> Result<()> {
        match self.random.u64() % 100 {
            0..45 => self.put(client, now),
            45..60 => self.delete(client, now),
            60..67 => self.copy(client, now),
            67..80 => self.multipart(client, now),
            80..82 if self.has_bucket => self.toggle_bucket(client, now),
            _ => self.read(client),
        }
    }

    fn pick_certain(&self) -> Option<String> {
        let certain: Vec<_> = self.keys.iter().filter(|(_, key)| key.certain().is_some()).map(|(key, _)| key).collect();
        let index = self.random.u64().checked_rem(certain.len() as u64)?;
        Some(certain[index as usize].clone())
    }

    fn new_value(&mut self, key: &str, bytes: u64) -> Value {
        self.sequence += 1;
        Value { origin: key.to_owned(), sequence: self.sequence, bytes }
    }

    fn put(&mut self, client: &mut Client, now: Now<'_>) -> Result<()> {
        let Some(key) = self.pick_certain() else { return Ok(()) };
        let bytes = pick_size(&SIZES, self.random.u64());
        let value = self.new_value(&key, bytes);
        let (sequence, body) = (value.sequence.to_string(), value.body());
        let began = now();
        let answer = client.put(BUCKET, &key, &[("x-amz-meta-sequence", &sequence)], &body);
        self.settle(&key, Some(value), answer, began, now())
    }

    fn delete(&mut self, client: &mut Client, now: Now<'_>) -> Result<()> {
        let Some(key) = self.pick_certain() else { return Ok(()) };
        let began = now();
        let answer = client.delete(BUCKET, &key);
        self.settle(&key, None, answer, began, now())
    }

    /// Copies another of this worker's keys over this one.
    fn copy(&mut self, client: &mut Client, now: Now<'_>) -> Result<()> {
        let (Some(key), Some(source)) = (self.pick_certain(), self.pick_certain()) else { return Ok(()) };
        let Some(value) = self.keys[&source].certain().cloned().flatten().filter(|_| source != key) else {
            return Ok(());
        };
        let header = format!("/{BUCKET}/{}", crate::kill::percent(&source));
        let began = now();
        let answer = client.put(BUCKET, &key, &[("x-amz-copy-source", &header)], &[]);
        self.settle(&key, Some(value), answer, began, now())
    }

    /// The next step of one of its uploads.
    fn multipart(&mut self, client: &mut Client, now: Now<'_>) -> Result<()> {
        let usable: Vec<_> = (0..self.open.len()).filter(|&at| !self.open[at].is_stuck).collect();
        if usable.len() < UPLOADS_PER_WORKER {
            return self.create_upload(client, now);
        }
        let at = usable[(self.random.u64() % usable.len() as u64) as usize];
        let open = &self.open[at];
        let parts = 1 + u32::from(open.value.bytes > PART_BYTES);
        let missing = (1..=parts).find(|number| !open.etags.contains_key(number));
        match (missing, self.random.u64() % 10) {
            (_, 0) => self.abort(client, at, now),
            (Some(number), _) => self.put_part(client, at, number, now),
            // Now and then a part is sent again.
            (None, 1..4) => self.put_part(client, at, parts, now),
            (None, _) => self.complete(client, at, now),
        }
    }

    fn create_upload(&mut self, client: &mut Client, now: Now<'_>) -> Result<()> {
        let Some(key) = self.pick_certain() else { return Ok(()) };
        let last = if self.random.u64().is_multiple_of(2) { LAST_PART_BYTES } else { 0 };
        let value = self.new_value(&key, PART_BYTES + last);
        let sequence = value.sequence.to_string();
        let answer = client.create_upload(BUCKET, &key, &[("x-amz-meta-sequence", &sequence)]);
        let answer = self.count(answer)?;
        let id = answer.element("UploadId").with_context(|| format!("no upload id, status {}", answer.status))?;
        self.acknowledged += 1;
        let upload = Upload::new(&key, id, now());
        self.open.push(Open { upload, value, etags: BTreeMap::new(), is_stuck: false });
        Ok(())
    }

    fn put_part(&mut self, client: &mut Client, at: usize, number: u32, now: Now<'_>) -> Result<()> {
        let open = &self.open[at];
        let body = open.value.body();
        let part = body.chunks(PART_BYTES as usize).nth(number as usize - 1).context("a part of the body")?;
        let began = now();
        let answer = client.put_part(BUCKET, &open.upload.key, &open.upload.id, number, part);
        let answer = self.count(answer);
        let open = &mut self.open[at];
        let etag = answer.as_ref().ok().filter(|answer| answer.is_success()).and_then(|answer| answer.header("etag"));
        open.upload.put_part(number, part.len() as u64, began, etag.map(|_| now()));
        match etag {
            Some(etag) => {
                open.etags.insert(number, etag.to_owned());
                self.acknowledged += 1;
                Ok(())
            }
            None => {
                open.is_stuck = true;
                bail!("a part was not acknowledged")
            }
        }
    }

    fn abort(&mut self, client: &mut Client, at: usize, now: Now<'_>) -> Result<()> {
        let mut open = self.open.swap_remove(at);
        let began = now();
        let answer = client.abort_upload(BUCKET, &open.upload.key, &open.upload.id);
        let answer = self.count(answer);
        let is_done = answer.as_ref().is_ok_and(Response::is_success);
        open.upload.end(began, is_done.then(now));
        self.ended.push(open.upload);
        self.acknowledged += u64::from(is_done);
        answer.map(|_| ())
    }

    fn complete(&mut self, client: &mut Client, at: usize, now: Now<'_>) -> Result<()> {
        let key = self.open[at].upload.key.clone();
        if self.keys[&key].certain().is_none() {
            return Ok(());
        }
        let mut open = self.open.swap_remove(at);
        let etags: Vec<_> = open.etags.into_values().collect();
        let began = now();
        let answer = client.complete_upload(BUCKET, &key, &open.upload.id, &etags);
        let is_done = answer.as_ref().is_ok_and(Response::is_success);
        let acknowledged = now();
        open.upload.end(began, is_done.then_some(acknowledged));
        self.ended.push(open.upload);
        self.settle(&key, Some(open.value), answer, began, acknowledged)
    }

    /// Makes its own bucket, or deletes it.
    fn toggle_bucket(&mut self, client: &mut Client, now: Now<'_>) -> Result<()> {
        let (name, history) = &self.bucket;
        let Some(state) = history.certain() else { return Ok(()) };
        let next = if state.is_none() { bucket_state(name) } else { None };
        let method = if next.is_some() { "PUT" } else { "DELETE" };
        let began = now();
        let answer = client.send(&Request { method, bucket: name, key: "", query: &[], headers: &[], body: &[] });
        let answer = self.count(answer);
        match answer {
            Ok(answer) if answer.is_success() => {
                self.acknowledged += 1;
                self.bucket.1.acknowledge(next, began, now());
                Ok(())
            }
            Ok(answer) if answer.status < 500 => bail!("{method} of the bucket answered {}", answer.status),
            answer => {
                self.bucket.1.maybe(next, began);
                answer.map(|_| ())
            }
        }
    }

    /// What was acknowledged is there at once, not only after a restart.
    fn read(&mut self, client: &mut Client) -> Result<()> {
        let Some(key) = self.pick_certain() else { return Ok(()) };
        let answer = client.get(BUCKET, &key);
        let answer = self.count(answer)?;
        let possible: Vec<_> = self.keys[&key].certain().cloned().into_iter().collect();
        match judge(&answer, &possible) {
            Judgement::Lost => self.findings.lost.push(format!("{key} during the load: 404, is {possible:?}")),
            // An error of the server is none of the content: whether one may come, the round knows.
            Judgement::Wrong(what) if answer.status < 500 => {
                self.findings.wrong.push(format!("{key} during the load: {what}, is {possible:?}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, answer: Result<Response>) -> Result<Response> {
        if let Err(error) = &answer {
            self.unanswered = Some(format!("{error:#}"));
        }
        *self.answers.entry(answer.as_ref().map_or(0, |answer| answer.status)).or_default() += 1;
        answer
    }

    /// Enters the outcome of a mutation into the history.
    fn settle(
        &mut self,
        key: &str,
        state: State,
        answer: Result<Response>,
        began: Position,
        acknowledged: Position,
    ) -> Result<()> {
        let answer = self.count(answer);
        let history = self.keys.get_mut(key).context("a key of this worker")?;
        match answer {
            Ok(answer) if answer.is_success() => {
                self.acknowledged += 1;
                history.acknowledge(state, began, acknowledged);
                Ok(())
            }
            // A refusal says that nothing was done; so do a full disk and one that is too slow.
            Ok(answer) if answer.status < 500 || [503, 507].contains(&answer.status) => {
                bail!("answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body))
            }
            Ok(answer) => {
                history.maybe(state, began);
                bail!("answered {}", answer.status)
            }
            Err(error) => {
                history.maybe(state, began);
                Err(error)
            }
        }
    }

    /// After a start: what became of requests that had no answer. It is durable, because the server serves it.
    pub fn observe(&mut self, client: &mut Client, now: Now<'_>) -> Result<()> {
        let uncertain: Vec<_> =
            self.keys.iter().filter(|(_, key)| key.certain().is_none()).map(|(key, _)| key.clone()).collect();
        for key in uncertain {
            let began = now();
            let answer = client.get(BUCKET, &key)?;
            let allowed = self.keys[&key].allowed(Position::MAX);
            match judge(&answer, &allowed) {
                Judgement::Is(state) => {
                    let history = self.keys.get_mut(&key).context("a key of this worker")?;
                    history.acknowledge(state, began, now());
                }
                Judgement::Lost => self.findings.lost.push(format!("{key} after a restart: 404, may be {allowed:?}")),
                Judgement::Wrong(what) => {
                    self.findings.wrong.push(format!("{key} after a restart: {what}, may be {allowed:?}"));
                }
            }
        }
        if self.bucket.1.certain().is_none() {
            let began = now();
            let is_there = client.head(&self.bucket.0, "")?.is_success();
            let state = if is_there { bucket_state(&self.bucket.0) } else { None };
            self.bucket.1.acknowledge(state, began, now());
        }
        Ok(())
    }
}

/// A bucket has no content: any value stands for it.
pub fn bucket_state(name: &str) -> State {
    Some(Value { origin: name.to_owned(), sequence: 0, bytes: 0 })
}

/// Asks for every key, upload and bucket, in full, and compares with what a cut at this position allows.
pub fn verify(client: &mut Client, workers: &[Worker], main_bucket: &History, cut: Position) -> Result<Findings> {
    let mut findings = Findings::default();
    let buckets = workers.iter().map(|worker| (worker.bucket.0.as_str(), &worker.bucket.1));
    for (name, history) in buckets.chain([(BUCKET, main_bucket)]) {
        let status = client.head(name, "")?.status;
        let allowed = history.allowed(cut);
        match status {
            200 if allowed.iter().any(Option::is_some) => {}
            404 if allowed.contains(&None) => {}
            404 => findings.lost.push(format!("bucket {name} is gone")),
            status => findings.wrong.push(format!("bucket {name} answered {status}, may be {allowed:?}")),
        }
    }
    let mut live = BTreeMap::new();
    for (key, history) in workers.iter().flat_map(|worker| &worker.keys) {
        let answer = client.get(BUCKET, key).with_context(|| format!("GET {key}"))?;
        let allowed = history.allowed(cut);
        match judge(&answer, &allowed) {
            Judgement::Is(Some(value)) => {
                live.insert(key.clone(), value.bytes);
            }
            Judgement::Is(None) => {}
            Judgement::Lost => findings.lost.push(format!("{key}: answered 404, may be {allowed:?}")),
            Judgement::Wrong(what) => {
                findings.wrong.push(format!("{key}: {what}, may be {allowed:?}"));
                if answer.status == 200 {
                    live.insert(key.clone(), answer.body.len() as u64);
                }
            }
        }
    }
    let listed = if client.head(BUCKET, "")?.is_success() { client.list(BUCKET, 100)? } else { Vec::new() };
    let count = listed.len();
    let listed: BTreeMap<_, _> = listed.into_iter().collect();
    if count != listed.len() {
        findings.wrong.push("the listing names a key twice".to_owned());
    }
    for key in live.keys().filter(|key| !listed.contains_key(*key)) {
        findings.lost.push(format!("{key} can be read and is not listed"));
    }
    for (key, bytes) in listed.iter().filter(|(key, bytes)| live.get(*key) != Some(bytes)) {
        findings.wrong.push(format!("{key} is listed with {bytes} bytes, reads as {:?}", live.get(key)));
    }
    let uploads = workers.iter().flat_map(|worker| worker.open.iter().map(|open| &open.upload).chain(&worker.ended));
    for upload in uploads {
        let parts = client.list_parts(BUCKET, &upload.key, &upload.id)?;
        match upload.judge(parts.as_deref(), cut) {
            Verdict::Right => {}
            Verdict::Lost(what) => findings.lost.push(format!("upload {} of {}: {what}", upload.id, upload.key)),
            Verdict::Wrong(what) => findings.wrong.push(format!("upload {} of {}: {what}", upload.id, upload.key)),
        }
    }
    Ok(findings)
}
