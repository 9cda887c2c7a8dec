//! The bytes of one row of the control store: a version byte, then the record in postcard.
//!
//! | offset | length | content                                   |
//! |--------|--------|-------------------------------------------|
//! | 0      | 1      | version of the row's layout, now 1        |
//! | 1      | rest   | postcard of `Bucket`, `Owner`, `AccessKey` |
//!
//! Postcard names no fields: a change of one of these types is a new version here, with the old type kept to read it.

use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) const VERSION: u8 = 1;

pub(crate) fn encode(record: &impl Serialize) -> Result<Vec<u8>> {
    let body =
        postcard::to_allocvec(record).map_err(|error| Error::Store(format!("a row cannot be written: {error}")))?;
    Ok([&[VERSION], body.as_slice()].concat())
}

pub(crate) fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T> {
    match row.split_first() {
        Some((&VERSION, body)) => {
            let (record, rest) = postcard::take_from_bytes(body).map_err(|error| damaged(&error.to_string()))?;
            if rest.is_empty() { Ok(record) } else { Err(damaged("bytes follow its end")) }
        }
        Some((&found, _)) if found > VERSION => {
            Err(Error::NewerFormat { found: u32::from(found), known: u32::from(VERSION) })
        }
        Some((&found, _)) => Err(damaged(&format!("its version is {found}"))),
        None => Err(damaged("it is empty")),
    }
}

fn damaged(why: &str) -> Error {
    Error::Store(format!("a row is damaged: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{AccessKey, Bucket, BucketState, Owner};
    use common::{AccessKeyId, BucketId, BucketName, OwnerId};

    fn bucket() -> Bucket {
        Bucket {
            id: BucketId(300),
            name: BucketName::parse("photos").unwrap(),
            owner: OwnerId("ann".into()),
            created_ms: 5,
            version: 9,
            state: BucketState::Deleting,
            region: "r".into(),
            documents: [("cors".to_owned(), vec![1, 2])].into(),
        }
    }

    #[test]
    fn rows_have_these_bytes() {
        let expected = b"\x01\xac\x02\x06photos\x03ann\x05\x09\x01\x01r\x01\x04cors\x02\x01\x02";
        assert_eq!(encode(&bucket()).unwrap(), expected);
        assert_eq!(decode::<Bucket>(expected).unwrap(), bucket());

        let owner = Owner { id: OwnerId("ann".into()), display_name: "Ann".into(), email: Some("a@b".into()) };
        assert_eq!(encode(&owner).unwrap(), b"\x01\x03ann\x03Ann\x01\x03a@b");

        let (id, owner) = (AccessKeyId("WK".into()), OwnerId("ann".into()));
        let key = AccessKey { id, secret: "s".into(), owner, admin: true, created_ms: 2 };
        assert_eq!(encode(&key).unwrap(), b"\x01\x02WK\x01s\x03ann\x01\x02");
    }

    #[test]
    fn strange_rows_are_refused() {
        let good = encode(&bucket()).unwrap();
        let longer = [good.as_slice(), &[0]].concat();
        for bad in [&[][..], &[0, 1], &good[..good.len() - 1], &longer] {
            assert!(matches!(decode::<Bucket>(bad), Err(Error::Store(_))), "{bad:?}");
        }
        let newer = [&[2], &good[1..]].concat();
        assert_eq!(decode::<Bucket>(&newer), Err(Error::NewerFormat { found: 2, known: 1 }));
    }
}
