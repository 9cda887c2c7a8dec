//! Plays the kept seeds through a fuzz target without its instrumented build: a short round for every change. The tests of
//! the crates that own the targets include this file.

use common::Random;
use common::doors::SeededRandom;

const CHANGED_COPIES: u64 = 200;

/// Each seed as it is, and copies of it with a few bytes changed, cut, doubled or from another seed.
#[expect(clippy::disallowed_methods, reason = "seeds are files of the repository, read by tests only")]
pub fn play(target: &str, run: impl Fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let listed = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = listed.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} holds no seed", folder.display());
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect();
    let random = SeededRandom::new(1);
    for seed in &seeds {
        run(seed);
        for _ in 0..CHANGED_COPIES {
            run(&changed(seed, &seeds, &*random));
        }
    }
}

fn changed(seed: &[u8], seeds: &[Vec<u8>], random: &dyn Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let below = |limit: usize| usize::try_from(random.u64() % (limit.max(1) as u64)).expect("below a usize");
    for _ in 0..=below(4) {
        let at = below(bytes.len());
        let end = (at + below(20)).min(bytes.len());
        match below(5) {
            0 if !bytes.is_empty() => bytes[at] = random.u64().to_le_bytes()[0],
            1 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = &seeds[below(seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at.min(other.len())..]);
            }
        }
    }
    bytes
}
