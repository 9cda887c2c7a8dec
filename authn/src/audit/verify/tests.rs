use super::*;
use crate::audit::record::tests::decision;
use crate::audit::{Reason, resume, time};
use common::doors::SeededRandom;
use common::{Random, SecretKey, SigningKey};

fn key(byte: u8) -> SigningKey {
    SigningKey::of_seed(&SecretKey::from_slice(&[byte; 32]).expect("32 bytes"))
}

/// A log as a server writes it.
struct Log {
    chain: Chain,
    head: Head,
    text: Vec<u8>,
}

impl Log {
    fn new() -> Self {
        let mut log = Self { chain: Chain::EMPTY, head: Head(Chain::EMPTY), text: Vec::new() };
        log.checkpoint(Reason::Start, None);
        log
    }

    fn checkpoint(&mut self, reason: Reason, lost_to: Option<u64>) {
        let (time, public) = (time(1), key(1).public().to_string());
        let checkpoint = Checkpoint {
            kind: "checkpoint",
            time,
            reason,
            sink: "file",
            oldest: 1,
            cut_bytes: None,
            lost_to,
            key: public,
        };
        let mut object = Vec::new();
        checkpoint.write(&mut object);
        self.chain.append_signed(&object, &key(1), &mut self.text);
        self.head = Head(self.chain);
    }

    fn decisions(&mut self, count: usize) {
        for number in 0..count {
            let mut object = Vec::new();
            decision(&format!("key {number} \u{fc}")).write(&mut object);
            self.chain.append(&object, &mut self.text);
        }
    }

    /// 50 decisions with checkpoints between them, and a checkpoint at the end.
    fn long() -> Self {
        let mut log = Self::new();
        log.decisions(20);
        log.checkpoint(Reason::Time, None);
        log.decisions(30);
        log.checkpoint(Reason::End, None);
        log
    }

    fn lines(&self) -> Vec<Vec<u8>> {
        self.text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    fn verify(&self) -> Result<Summary, Fault> {
        verify(&self.text, Some(self.head))
    }
}

fn verify(text: &[u8], head: Option<Head>) -> Result<Summary, Fault> {
    verify_files(&[text], Ends::Whole(head))
}

fn verify_files(files: &[&[u8]], ends: Ends) -> Result<Summary, Fault> {
    let keys = [key(1).public()];
    let mut verifier = Verifier::new(&keys, ends);
    for file in files {
        verifier.begin_file()?;
        for line in file.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => verifier.line(line)?,
                None => verifier.torn(line)?,
            }
        }
    }
    verifier.finish()
}

#[test]
fn a_log_as_it_was_written_is_whole() {
    let log = Log::long();
    let summary = Summary { first: 1, last: 53, records: 50, checkpoints: 3, dropped: 0, unsigned: 0, torn_bytes: 0 };
    assert_eq!(log.verify(), Ok(summary.clone()));
    assert_eq!(verify(&log.text, None), Ok(summary));
    assert_eq!(verify(b"", None), Err(Fault::Empty));
}

#[test]
fn each_kind_of_tampering_has_its_fault() {
    let log = Log::long();
    let altered = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines = log.lines();
        change(&mut lines);
        verify(&lines.concat(), Some(log.head)).expect_err("it was altered")
    };
    let replace = |line: &[u8], from: &str, to: &str| {
        String::from_utf8(line.to_vec()).expect("text").replace(from, to).into_bytes()
    };
    // Changed: the next line tells.
    assert_eq!(altered(&|lines| lines[10] = replace(&lines[10], "\"allow\"", "\"deny\"")), Fault::Broken);
    assert_eq!(altered(&|lines| lines[21] = replace(&lines[21], "time\"", "End\"")), Fault::Signature);
    // Removed, one and several.
    assert_eq!(altered(&|lines| drop(lines.remove(10))), Fault::Sequence { expected: 11, found: 12 });
    assert_eq!(altered(&|lines| drop(lines.drain(10..13))), Fault::Sequence { expected: 11, found: 14 });
    assert_eq!(altered(&|lines| drop(lines.remove(0))), Fault::Unsigned);
    // Put in: a line of its own, and one that is there already.
    assert_eq!(altered(&|lines| lines.insert(7, b"{}\n".to_vec())), Fault::NotARecord);
    assert_eq!(altered(&|lines| lines.insert(7, lines[6].clone())), Fault::Sequence { expected: 8, found: 7 });
    // Swapped.
    assert_eq!(altered(&|lines| lines.swap(10, 11)), Fault::Sequence { expected: 11, found: 12 });
    // Cut off at the end: between checkpoints, and to the one before.
    assert_eq!(altered(&|lines| lines.truncate(52)), Fault::Cut { last: 52, head: 53 });
    assert_eq!(altered(&|lines| lines.truncate(22)), Fault::Cut { last: 22, head: 53 });
    // Not even an empty line.
    assert_eq!(altered(&|lines| lines[9].push(b'\n')), Fault::NotARecord);
}

/// Who rewrites all hashes from a change on still cannot sign.
#[test]
fn a_chain_that_was_made_anew_lacks_signatures() {
    let log = Log::long();
    let forge = |signs: Option<&SigningKey>, upto: usize| {
        let (mut chain, mut forged) = (Chain::EMPTY, Vec::new());
        for (number, line) in log.lines().iter().take(upto).enumerate() {
            let text = std::str::from_utf8(line).expect("text").trim_end();
            let mut members = text.split_once("\",").expect("a hash ends").1.to_owned();
            if number == 5 {
                members = members.replace("\"allow\"", "\"deny\"");
            }
            match signs {
                Some(key) if members.contains("\"checkpoint\"") => {
                    let unsigned = format!("{{{}}}", members.split_once(SIGNATURE).expect("a signature").0);
                    let unsigned =
                        unsigned.replace(&super::tests::key(1).public().to_string(), &key.public().to_string());
                    chain.append_signed(unsigned.as_bytes(), key, &mut forged);
                }
                _ => chain.append(format!("{{{members}").as_bytes(), &mut forged),
            }
        }
        forged
    };
    assert_eq!(verify(&forge(None, 53), Some(log.head)), Err(Fault::Signature));
    assert!(matches!(verify(&forge(Some(&key(2)), 53), Some(log.head)), Err(Fault::Key(_))));
    // Cut before the checkpoint that tells, only the server's memory does.
    assert!(verify(&forge(None, 20), None).is_ok());
    assert_eq!(verify(&forge(None, 20), Some(log.head)), Err(Fault::Cut { last: 20, head: 53 }));
}

/// One byte of a log is changed, 4,000 times.
#[test]
fn no_byte_can_be_changed() {
    let log = Log::long();
    let random = SeededRandom::new(20);
    let last_line = log.text.len() - log.lines()[52].len();
    for round in 0..4000 {
        let mut text = log.text.clone();
        // The places of the last checkpoint too, which nothing comes after.
        let from = if round % 4 == 0 { last_line } else { 0 };
        let at = from + (random.u64() as usize) % (text.len() - from);
        text[at] ^= (1 + random.u64() % 255) as u8;
        assert!(verify(&text, Some(log.head)).is_err(), "byte {at} of {}", text.len());
        // Without the server's memory only the very last byte can be mistaken for a crash.
        if at + 1 < text.len() {
            assert!(verify(&text, None).is_err(), "byte {at} of {}", text.len());
        }
    }
}

#[test]
fn lines_behind_the_last_checkpoint_are_told() {
    let mut log = Log::long();
    log.decisions(3);
    assert_eq!(log.verify().expect("whole").unsigned, 3);
    // Of these the last one can be changed, or taken away: `docs/audit-log.md` says so.
    let mut lines = log.lines();
    lines.truncate(54);
    assert_eq!(verify(&lines.concat(), Some(log.head)).expect("whole").unsigned, 1);
}

#[test]
fn a_torn_line_is_no_tampering() {
    let mut log = Log::long();
    let whole = log.text.len();
    log.decisions(1);
    for end in whole + 1..log.text.len() {
        let summary = verify(&log.text[..end], Some(log.head)).expect("a crash");
        assert_eq!(summary.torn_bytes, (end - whole) as u64);
    }
    let zeros = [&log.text[..whole + 30], &[0; 4096]].concat();
    assert_eq!(verify(&zeros, Some(log.head)).expect("a crash").torn_bytes, 30 + 4096);
    // What no crash leaves.
    for junk in ["x", "{\"seq\":99", "{\"seq\":54,\"prev\":\"00", " "] {
        assert_eq!(verify(&[&log.text[..whole], junk.as_bytes()].concat(), Some(log.head)), Err(Fault::Torn), "{junk}");
    }
    let ends = [&log.text[..log.text.len() - 1], b" "].concat();
    assert_eq!(verify(&ends, Some(log.head)), Err(Fault::Torn));
    let torn = &log.text[..whole + 9];
    assert_eq!(verify_files(&[torn, &log.text], Ends::Partial), Err(Fault::TornInside));
}

#[test]
fn files_are_verified_in_their_order() {
    let mut log = Log::new();
    log.decisions(5);
    log.checkpoint(Reason::Rotation, None);
    let first = std::mem::take(&mut log.text);
    log.checkpoint(Reason::File, None);
    log.decisions(5);
    log.checkpoint(Reason::End, None);
    let ends = Ends::Whole(Some(log.head));
    assert_eq!(verify_files(&[&first, &log.text], ends).map(|summary| summary.records), Ok(10));
    assert_eq!(verify_files(&[&log.text, &first], ends), Err(Fault::Sequence { expected: 15, found: 1 }));
    assert_eq!(verify_files(&[&log.text], ends), Err(Fault::Front { from: 1, to: 7 }));
    assert_eq!(verify_files(&[&log.text], Ends::Partial).map(|summary| summary.first), Ok(8));
    assert_eq!(verify_files(&[&first], ends), Err(Fault::Cut { last: 7, head: 14 }));
    // The beginning of a file that nothing comes before.
    let cut = log.lines()[1..].concat();
    assert_eq!(verify_files(&[&cut], Ends::Partial), Err(Fault::Unsigned));
}

#[test]
fn a_start_goes_on_where_the_log_ends() {
    let mut log = Log::long();
    log.decisions(2);
    let last = |text: &[u8]| text.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().map(<[u8]>::to_vec);
    let resumed = resume(last(&log.text).as_deref(), Some(log.head));
    assert_eq!((resumed.chain, resumed.lost_to, resumed.is_damaged), (log.chain, None, false));
    log.checkpoint(Reason::Start, None);
    log.decisions(1);
    assert!(log.verify().is_ok());

    // The file was taken away; the memory knows where it ended.
    assert_eq!(resume(None, Some(log.head)).chain, log.head.0);
    assert_eq!(resume(None, None).chain, Chain::EMPTY);
    assert!(resume(Some(b"{\"seq\":0}"), Some(log.head)).is_damaged);

    // The end was cut off before the start: the start says so, and it stays said.
    let lines = log.lines();
    let resumed = resume(lines[29].strip_suffix(b"\n"), Some(log.head));
    assert_eq!(resumed.lost_to, Some(log.head.0.seq));
    let mut cut = Log { chain: resumed.chain, head: log.head, text: lines[..30].concat() };
    cut.checkpoint(Reason::Start, resumed.lost_to);
    cut.decisions(3);
    cut.checkpoint(Reason::End, None);
    assert_eq!(cut.verify(), Err(Fault::Lost { last: 30, lost_to: log.head.0.seq }));
}

#[test]
fn gaps_and_sinks_are_told() {
    let mut log = Log::new();
    let mut object = Vec::new();
    Dropped::new(5, 7).write(&mut object);
    log.chain.append(&object, &mut log.text);
    assert_eq!(log.verify().expect("whole").dropped, 7);
    log.chain.append(b"{\"kind\":\"other\"}", &mut log.text);
    assert_eq!(log.verify(), Err(Fault::NotARecord));
}

#[test]
fn heads_have_one_text() {
    let head = Log::long().head;
    assert_eq!(Head::parse(&head.text()), Some(head));
    for bad in ["", "1", "1 00", "x 00"] {
        assert_eq!(Head::parse(bad), None);
    }
}
