//! What the fuzz targets of `fuzz/` call: a text that a client could send as a policy, and a file that could be an audit log. The
//! tests play the kept seeds through them.

use crate::audit::{Ends, Fault, Summary, Verifier};
use crate::limits::BUCKET_POLICY_BYTES_MAX;
use crate::policy::{Asked, Context, Found, Policy, Purpose, Who};
use common::{SecretKey, SigningKey};

/// A policy is bounded, is JSON, says the same when it is read again, and one of a bucket says nothing of another.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut context = Context::default();
    for key in ["aws:username", "s3:prefix", "aws:SourceIp", "aws:CurrentTime", "s3:max-keys", "aws:SecureTransport"] {
        context.trust(key, vec![text.chars().take(40).collect()]);
    }
    for purpose in [Purpose::Identity, Purpose::Bucket("pics"), Purpose::Trust] {
        let Ok(policy) = Policy::parse(text, purpose) else { continue };
        assert_eq!(Policy::parse(text, purpose).as_ref(), Ok(&policy));
        assert!(serde_json::from_str::<serde_json::Value>(text).is_ok_and(|json| json.is_object()));
        let ask =
            |action, resource| policy.evaluate(&Asked { who: Who::Anonymous, action, resource, context: &context });
        let mine = ask("s3:GetObject", "arn:aws:s3:::pics/x");
        assert_eq!(mine, ask("S3:getobject", "arn:aws:s3:::pics/x"));
        match purpose {
            Purpose::Bucket(_) => {
                assert!(text.len() <= BUCKET_POLICY_BYTES_MAX);
                // An escape could spell it otherwise.
                let negated = text.contains("NotResource") || text.contains('\\');
                assert!(negated || ask("s3:GetObject", "arn:aws:s3:::other/x") == Found::Nothing);
            }
            Purpose::Trust => assert_eq!(mine, Found::Nothing),
            Purpose::Identity => {}
        }
        assert!(!policy.is_public() || matches!(purpose, Purpose::Bucket(_) | Purpose::Trust));
    }
}

/// The only log that a key has signed.
const LOG: &[u8] = include_bytes!("../../fuzz/seeds/audit/log.jsonl");

/// A log is verified only as far as it was written: what is signed in it is the beginning of the one that the key has signed.
pub fn audit(data: &[u8]) {
    let keys = [SigningKey::of_seed(&SecretKey::from_slice(&[1; 32]).expect("32 bytes")).public()];
    let mut verifier = Verifier::new(&keys, Ends::Whole(None));
    let verified = move || -> Result<Summary, Fault> {
        verifier.begin_file()?;
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => verifier.line(line)?,
                None => verifier.torn(line)?,
            }
        }
        verifier.finish()
    };
    if let Ok(summary) = verified() {
        let signed = usize::try_from(summary.last - summary.unsigned).expect("lines in memory");
        let lines = LOG.split_inclusive(|byte| *byte == b'\n').take(signed);
        let bytes = lines.map(<[u8]>::len).sum();
        assert_eq!(&data[..bytes], &LOG[..bytes]);
    }
}

#[cfg(test)]
#[path = "../../fuzz/play.rs"]
mod play;

#[cfg(test)]
mod tests {
    #[test]
    fn the_seeds_pass() {
        super::play::play("policy", super::policy);
        super::play::play("audit", super::audit);
    }
}
