//! A place in the feed, as clients see it: opaque to them, sixteen hexadecimal digits to us.

use crate::error::{Error, Result};
use common::Stamp;

pub fn write(stamp: Stamp) -> String {
    format!("{:016x}", stamp.0)
}

pub fn parse(text: &str) -> Result<Stamp> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let number = Some(text).filter(|text| text.len() == 16 && text.bytes().all(is_digit));
    let number = number.and_then(|text| u64::from_str_radix(text, 16).ok());
    number.map(Stamp).ok_or_else(|| Error::InvalidArgument("The cursor is not one of this server's".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_their_text() {
        assert_eq!(parse(&write(Stamp(0xabc_0000_0001))).expect("a cursor"), Stamp(0xabc_0000_0001));
        for bad in ["", "0", "00000000000000AB", "+000000000000001", "0000000000000000 "] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
