//! The real server under mixed load, ended with SIGKILL at a random moment, started again, and asked for everything.
//!
//! Each worker owns its keys, so that at most one request per key is in flight. A key's model is the set of states that
//! it may be in: one after an acknowledged request, more after a request without an answer. Such a key is left alone
//! until the process is gone, because the server may still be at it.

use crate::judge::{Judgement, State, judge};
use crate::s3::{Client, Response};
use crate::server::{self, Server};
use crate::value::{Value, pick_size};
use crate::{Finished, Tally};
use anyhow::{Context, Result, ensure};
use common::Random;
use common::doors::SeededRandom;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const BUCKET: &str = "crash";
const WORKERS: u64 = 6;
const KEYS_PER_WORKER: u64 = 40;
/// A round of load lasts between the two.
const LOAD_MS: std::ops::Range<u64> = 300..2_500;
/// Far below what a slow disk gives.
const ACKNOWLEDGED_PER_ROUND_MIN: u64 = 40;
/// A part of a multipart upload, the smallest that S3 allows.
const PART_BYTES: u64 = 5 * 1024 * 1024;
/// Weight and length of a PUT: nothing, small, one block, the longest inline payload, a file, a long file.
const SIZES: [(u64, u64); 6] =
    [(10, 0), (25, 100), (25, 4 * 1024), (15, 64 * 1024), (14, 200 * 1024), (6, 3 * 1024 * 1024)];
/// Keys of every kind that the disk treats apart: plain paths, and those that no path can be.
const KEY_SHAPES: [&str; 5] = ["plain", "deep/er/path", "odd//slash", "ünï/¢ode", "ends/"];

/// The states that a key may be in; never empty.
#[derive(Debug, Clone)]
struct Model {
    possible: Vec<State>,
}

impl Model {
    fn is_certain(&self) -> bool {
        self.possible.len() == 1
    }

    fn acknowledge(&mut self, state: State) {
        self.possible = vec![state];
    }

    fn maybe(&mut self, state: State) {
        if !self.possible.contains(&state) {
            self.possible.push(state);
        }
    }
}

pub fn run(seed: u64, rounds: u32) -> Result<Finished> {
    let binary = server::binary()?;
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let outcome = rounds_on(&binary, &data, seed, rounds);
    let failed = outcome.as_ref().map_or(true, |finished| finished.tally.lost + finished.tally.wrong > 0);
    if failed {
        println!("{}", server::log_tail(&data));
        // The evidence outlives the run.
        println!("kill: data and log are kept in {}", directory.keep().display());
    }
    outcome
}

fn rounds_on(binary: &Path, data: &Path, seed: u64, rounds: u32) -> Result<Finished> {
    let random = SeededRandom::new(seed);
    let mut workers: Vec<_> = (0..WORKERS).map(|number| Worker::new(number, random.u64())).collect();
    let mut tally = Tally::default();

    let mut server = Server::spawn(binary, data)?;
    let created = client(&mut server)?.put(BUCKET, "", &[], &[])?;
    ensure!(created.is_success(), "creating the bucket answered {}", created.status);
    for round in 1..=rounds {
        let load = Duration::from_millis(LOAD_MS.start + random.u64() % (LOAD_MS.end - LOAD_MS.start));
        let acknowledged = load_and_kill(&mut workers, server, load, &mut tally)?;
        server = restart(binary, data, random.as_ref())?;
        let before = (tally.lost, tally.wrong);
        verify(&mut workers, &mut client(&mut server)?, &mut tally)?;
        println!(
            "kill {round}/{rounds}: {acknowledged} acknowledged in {} ms, lost {}, wrong {}",
            load.as_millis(),
            tally.lost - before.0,
            tally.wrong - before.1
        );
    }
    Ok(Finished { tally, acknowledged_min: u64::from(rounds) * ACKNOWLEDGED_PER_ROUND_MIN })
}

fn client(server: &mut Server) -> Result<Client> {
    Ok(Client::new(server.address()?, server::ACCESS_KEY, server::SECRET_KEY))
}

fn load_and_kill(workers: &mut [Worker], mut server: Server, load: Duration, tally: &mut Tally) -> Result<u64> {
    let killed = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for _ in workers.iter() {
        clients.push(client(&mut server)?);
    }
    let before = tally.acknowledged;
    std::thread::scope(|scope| -> Result<()> {
        let mut running = Vec::new();
        for (worker, client) in workers.iter_mut().zip(clients) {
            let killed = killed.clone();
            running.push(scope.spawn(move || worker.load(client, &killed)));
        }
        std::thread::sleep(load);
        let death = server.kill();
        // Set after the process is gone: an error before that moment is the server's own.
        killed.store(true, Ordering::SeqCst);
        for worker in running {
            *tally += worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
        }
        death
    })?;
    Ok(tally.acknowledged - before)
}

/// Starts the server again; now and then it is killed during its recovery first.
fn restart(binary: &Path, data: &Path, random: &SeededRandom) -> Result<Server> {
    while random.u64().is_multiple_of(4) {
        let server = Server::spawn(binary, data)?;
        std::thread::sleep(Duration::from_millis(random.u64() % 300));
        server.kill()?;
    }
    let mut server = Server::spawn(binary, data)?;
    server.address().context("the server does not come back")?;
    Ok(server)
}

fn verify(workers: &mut [Worker], client: &mut Client, tally: &mut Tally) -> Result<()> {
    let mut live = BTreeMap::new();
    for (key, model) in workers.iter_mut().flat_map(|worker| worker.keys.iter_mut()) {
        let answer = client.get(BUCKET, key).with_context(|| format!("GET {key} after the restart"))?;
        match judge(&answer, &model.possible) {
            Judgement::Is(state) => {
                if let Some(value) = &state {
                    live.insert(key.clone(), value.bytes);
                }
                model.acknowledge(state);
            }
            Judgement::Lost => {
                println!("lost: {key}: answered 404, may be {:?}", model.possible);
                tally.lost += 1;
                model.acknowledge(None);
            }
            Judgement::Wrong(what) => {
                println!("wrong: {key}: {what}, may be {:?}", model.possible);
                tally.wrong += 1;
                if answer.status == 200 {
                    live.insert(key.clone(), answer.body.len() as u64);
                }
                // What it is, nobody knows: the key is not used again.
                model.maybe(None);
                model.maybe(Some(Value { origin: "unknown".to_owned(), sequence: 0, bytes: 0 }));
            }
        }
    }
    let listed = client.list(BUCKET, 37)?;
    let count = listed.len();
    let listed: BTreeMap<_, _> = listed.into_iter().collect();
    if count != listed.len() {
        println!("wrong: the listing names {} keys twice", count - listed.len());
        tally.wrong += 1;
    }
    for key in live.keys().filter(|key| !listed.contains_key(*key)) {
        println!("lost: {key} can be read and is not listed");
        tally.lost += 1;
    }
    for (key, bytes) in &listed {
        if live.get(key) != Some(bytes) {
            println!("wrong: {key} is listed with {bytes} bytes, reads as {:?}", live.get(key));
            tally.wrong += 1;
        }
    }
    Ok(())
}

struct Worker {
    number: u64,
    random: Arc<SeededRandom>,
    sequence: u64,
    keys: BTreeMap<String, Model>,
}

impl Worker {
    fn new(number: u64, seed: u64) -> Self {
        let key = |index: u64| format!("w{number}/{}/{index}", KEY_SHAPES[(index % KEY_SHAPES.len() as u64) as usize]);
        let keys = (0..KEYS_PER_WORKER).map(key).map(|key| match key.split_once("ends/") {
            Some((before, index)) => format!("{before}ends-{index}/"),
            None => key,
        });
        let absent = Model { possible: vec![None] };
        let keys = keys.map(|key| (key, absent.clone())).collect();
        Self { number, random: SeededRandom::new(seed), sequence: 0, keys }
    }

    /// Works until the server is gone.
    fn load(&mut self, mut client: Client, killed: &AtomicBool) -> Tally {
        let mut tally = Tally::default();
        while !killed.load(Ordering::SeqCst) {
            let Some(key) = self.pick_certain() else { break };
            let outcome = self.step(&mut client, &key, &mut tally);
            if let Err(error) = outcome
                && !killed.load(Ordering::SeqCst)
            {
                // Most likely the kill itself, a moment before the flag; the model holds both outcomes either way.
                std::thread::sleep(Duration::from_millis(20));
                if !killed.load(Ordering::SeqCst) {
                    println!("worker {}: {key}: {error:#}", self.number);
                }
            }
        }
        tally
    }

    fn pick_certain(&self) -> Option<String> {
        let certain: Vec<_> = self.keys.iter().filter(|(_, model)| model.is_certain()).map(|(key, _)| key).collect();
        let index = self.random.u64().checked_rem(certain.len() as u64)?;
        Some(certain[index as usize].clone())
    }

    /// One request, or the few of a multipart upload. On an error the model already holds what may have happened.
    fn step(&mut self, client: &mut Client, key: &str, tally: &mut Tally) -> Result<()> {
        match self.random.u64() % 100 {
            0..54 => self.put(client, key, tally),
            54..58 => self.multipart(client, key, tally),
            58..74 => self.delete(client, key, tally),
            74..80 => self.copy(client, key, tally),
            _ => self.read(client, key, tally),
        }
    }

    fn put(&mut self, client: &mut Client, key: &str, tally: &mut Tally) -> Result<()> {
        let bytes = pick_size(&SIZES, self.random.u64());
        let value = self.new_value(key, bytes);
        let sequence = value.sequence.to_string();
        let answer = client.put(BUCKET, key, &[("x-amz-meta-sequence", &sequence)], &value.body());
        self.settle(key, Some(value), answer, tally)
    }

    fn multipart(&mut self, client: &mut Client, key: &str, tally: &mut Tally) -> Result<()> {
        let value = self.new_value(key, 2 * PART_BYTES);
        let body = value.body();
        let sequence = value.sequence.to_string();
        // Nothing of it is visible before the Complete, so a failure on the way leaves the model as it is.
        let created = client.create_upload(BUCKET, key, &[("x-amz-meta-sequence", &sequence)])?;
        let upload = created.element("UploadId").with_context(|| format!("no upload id, status {}", created.status))?;
        let mut etags = Vec::new();
        for (index, part) in body.chunks(PART_BYTES as usize).enumerate() {
            let answer = client.put_part(BUCKET, key, &upload, index as u32 + 1, part)?;
            etags.push(answer.header("etag").with_context(|| format!("part answered {}", answer.status))?.to_owned());
        }
        if self.random.u64().is_multiple_of(5) {
            let answer = client.abort_upload(BUCKET, key, &upload)?;
            ensure!(answer.is_success(), "abort answered {}", answer.status);
            return Ok(());
        }
        let answer = client.complete_upload(BUCKET, key, &upload, &etags);
        self.settle(key, Some(value), answer, tally)
    }

    fn delete(&mut self, client: &mut Client, key: &str, tally: &mut Tally) -> Result<()> {
        let answer = client.delete(BUCKET, key);
        self.settle(key, None, answer, tally)
    }

    /// Copies another of this worker's keys over this one.
    fn copy(&mut self, client: &mut Client, key: &str, tally: &mut Tally) -> Result<()> {
        let Some(source) = self.pick_certain().filter(|source| source != key) else { return Ok(()) };
        let Some(value) = self.keys[&source].possible[0].clone() else { return Ok(()) };
        let header = format!("/{BUCKET}/{}", percent(&source));
        let answer = client.put(BUCKET, key, &[("x-amz-copy-source", &header)], &[]).and_then(|answer| {
            ensure!(!answer.is_success() || answer.element("ETag").is_some(), "copy answered 200 without a result");
            Ok(answer)
        });
        self.settle(key, Some(value), answer, tally)
    }

    /// What was acknowledged is there at once, not only after a restart.
    fn read(&mut self, client: &mut Client, key: &str, tally: &mut Tally) -> Result<()> {
        let possible = &self.keys[key].possible;
        if self.random.u64().is_multiple_of(3) {
            let answer = client.head(BUCKET, key)?;
            let is_right = match &possible[0] {
                Some(value) => {
                    answer.status == 200 && answer.header("content-length") == Some(&value.bytes.to_string())
                }
                None => answer.status == 404,
            };
            if !is_right {
                println!("wrong: HEAD {key} answered {}, is {possible:?}", answer.status);
                tally.wrong += 1;
            }
            return Ok(());
        }
        let answer = client.get(BUCKET, key)?;
        match judge(&answer, possible) {
            Judgement::Is(_) => {}
            Judgement::Lost => {
                println!("lost: {key} before any kill, is {possible:?}");
                tally.lost += 1;
            }
            Judgement::Wrong(what) => {
                println!("wrong: {key}: {what}, is {possible:?}");
                tally.wrong += 1;
            }
        }
        Ok(())
    }

    fn new_value(&mut self, key: &str, bytes: u64) -> Value {
        self.sequence += 1;
        Value { origin: key.to_owned(), sequence: self.sequence, bytes }
    }

    /// Enters the outcome of a mutation into the model.
    fn settle(&mut self, key: &str, state: State, answer: Result<Response>, tally: &mut Tally) -> Result<()> {
        let model = self.keys.get_mut(key).context("a key of this worker")?;
        match answer {
            Ok(answer) if answer.is_success() => {
                tally.acknowledged += 1;
                model.acknowledge(state);
                Ok(())
            }
            // A refusal says that nothing was done.
            Ok(answer) if answer.status < 500 => {
                anyhow::bail!("answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body))
            }
            Ok(answer) => {
                model.maybe(state);
                anyhow::bail!("answered {}", answer.status)
            }
            Err(error) => {
                model.maybe(state);
                Err(error)
            }
        }
    }
}

/// The copy source is encoded in a header, where nothing else encodes it.
pub fn percent(key: &str) -> String {
    key.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(sequence: u64) -> Value {
        Value { origin: "k".to_owned(), sequence, bytes: 100 }
    }

    #[test]
    fn an_unanswered_request_leaves_both_states_and_an_answer_one() {
        let mut worker = Worker::new(0, 1);
        let key = worker.keys.keys().next().unwrap().clone();
        let mut tally = Tally::default();
        assert!(worker.settle(&key, Some(value(1)), Err(anyhow::anyhow!("closed")), &mut tally).is_err());
        assert_eq!(worker.keys[&key].possible, [None, Some(value(1))]);
        let refused = Ok(Response::for_test(403, &[], Vec::new()));
        assert!(worker.settle(&key, Some(value(2)), refused, &mut tally).is_err());
        assert_eq!(worker.keys[&key].possible, [None, Some(value(1))]);
        worker.settle(&key, Some(value(3)), Ok(Response::for_test(200, &[], Vec::new())), &mut tally).unwrap();
        assert_eq!((worker.keys[&key].possible.clone(), tally.acknowledged), (vec![Some(value(3))], 1));
    }

    #[test]
    fn workers_share_no_key_and_have_every_shape() {
        let (one, two) = (Worker::new(0, 1), Worker::new(1, 1));
        assert_eq!(one.keys.len() as u64, KEYS_PER_WORKER);
        assert!(one.keys.keys().all(|key| !two.keys.contains_key(key)));
        for shape in ["//", "/plain/", "ü"] {
            assert!(one.keys.keys().any(|key| key.contains(shape)), "{shape}");
        }
        assert!(one.keys.keys().any(|key| key.ends_with('/')));
    }
}
