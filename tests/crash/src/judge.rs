//! Whether an answer is one of those that the history allows.

use crate::s3::Response;
use crate::value::Value;

/// What a key holds, or nothing.
pub type State = Option<Value>;

#[derive(Debug, PartialEq)]
pub enum Judgement {
    Is(State),
    /// Not there although every possible state has it there.
    Lost,
    Wrong(String),
}

pub fn judge(answer: &Response, possible: &[State]) -> Judgement {
    match answer.status {
        404 if possible.contains(&None) => Judgement::Is(None),
        404 => Judgement::Lost,
        200 => {
            let sequence = answer.header("x-amz-meta-sequence").unwrap_or_default();
            let fits = |value: &&Value| {
                value.bytes == answer.body.len() as u64
                    && value.sequence.to_string() == sequence
                    && value.body() == answer.body
            };
            match possible.iter().flatten().find(fits) {
                Some(value) => Judgement::Is(Some(value.clone())),
                None => Judgement::Wrong(format!("{} bytes of sequence {sequence:?}", answer.body.len())),
            }
        }
        status => Judgement::Wrong(format!("GET answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(sequence: u64) -> Value {
        Value { origin: "k".to_owned(), sequence, bytes: 100 }
    }

    fn found(value: &Value) -> Response {
        Response::for_test(200, &[("x-amz-meta-sequence", &value.sequence.to_string())], value.body())
    }

    #[test]
    fn only_a_possible_state_is_right() {
        let possible = [Some(value(1)), Some(value(2))];
        assert_eq!(judge(&found(&value(2)), &possible), Judgement::Is(Some(value(2))));
        assert!(matches!(judge(&found(&value(3)), &possible), Judgement::Wrong(_)));
        assert_eq!(judge(&Response::for_test(404, &[], Vec::new()), &possible), Judgement::Lost);
        assert_eq!(judge(&Response::for_test(404, &[], Vec::new()), &[None]), Judgement::Is(None));
        assert!(matches!(judge(&Response::for_test(500, &[], Vec::new()), &possible), Judgement::Wrong(_)));
    }

    #[test]
    fn one_flipped_bit_is_wrong() {
        let mut body = value(1).body();
        body[99] ^= 1;
        let answer = Response::for_test(200, &[("x-amz-meta-sequence", "1")], body);
        assert!(matches!(judge(&answer, &[Some(value(1))]), Judgement::Wrong(_)));
        assert!(matches!(judge(&found(&value(1)), &[None]), Judgement::Wrong(_)), "a deleted key came back");
    }
}
