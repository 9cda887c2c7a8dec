//! What was asked of the store, with the disk's position at which each request began and was acknowledged. From it
//! follows what may be there after a cut at any position.

use crate::judge::State;

/// A position of the block log, in bytes. Without a log it is always 0, and everything counts.
pub type Position = u64;

#[derive(Debug, Clone)]
struct Step {
    state: State,
    began: Position,
    /// `None` if the answer never came, or left the outcome open.
    acknowledged: Option<Position>,
}

/// The states of one key, one request after the other. At first there is nothing.
#[derive(Debug, Clone, Default)]
pub struct History {
    steps: Vec<Step>,
}

impl History {
    /// The one state that it has now, unless a request without an answer leaves more.
    pub fn certain(&self) -> Option<&State> {
        match self.steps.last() {
            None => Some(&None),
            Some(Step { acknowledged: Some(_), state, .. }) => Some(state),
            Some(_) => None,
        }
    }

    pub fn acknowledge(&mut self, state: State, began: Position, acknowledged: Position) {
        self.steps.push(Step { state, began, acknowledged: Some(acknowledged) });
    }

    pub fn maybe(&mut self, state: State, began: Position) {
        self.steps.push(Step { state, began, acknowledged: None });
    }

    /// What may be there after a cut: the last state acknowledged before it, or a later one that was on its way.
    pub fn allowed(&self, cut: Position) -> Vec<State> {
        let durable = self.steps.iter().rposition(|step| step.acknowledged.is_some_and(|at| at <= cut));
        let base = durable.and_then(|at| self.steps[at].state.clone());
        let later = self.steps[durable.map_or(0, |at| at + 1)..].iter().filter(|step| step.began <= cut);
        std::iter::once(base).chain(later.map(|step| step.state.clone())).collect()
    }
}

#[derive(Debug, Clone)]
struct Part {
    number: u32,
    bytes: u64,
    began: Position,
    acknowledged: Option<Position>,
}

/// A multipart upload whose id is known, so its creation was acknowledged.
#[derive(Debug, Clone)]
pub struct Upload {
    pub key: String,
    pub id: String,
    created: Position,
    parts: Vec<Part>,
    /// Completion or abort: when the request began, and when it was acknowledged.
    ended: Option<(Position, Option<Position>)>,
}

impl Upload {
    pub fn new(key: &str, id: String, created: Position) -> Self {
        Self { key: key.to_owned(), id, created, parts: Vec::new(), ended: None }
    }

    pub fn put_part(&mut self, number: u32, bytes: u64, began: Position, acknowledged: Option<Position>) {
        self.parts.push(Part { number, bytes, began, acknowledged });
    }

    pub fn end(&mut self, began: Position, acknowledged: Option<Position>) {
        self.ended = Some((began, acknowledged));
    }

    /// What is wrong with the parts that are listed after a cut; `None` in place of a list: no such upload.
    pub fn judge(&self, listed: Option<&[(u32, u64)]>, cut: Position) -> Verdict {
        let must_be_gone = self.ended.is_some_and(|(_, acknowledged)| acknowledged.is_some_and(|at| at <= cut));
        let may_be_gone = self.created > cut || self.ended.is_some_and(|(began, _)| began <= cut);
        let Some(listed) = listed else {
            return if may_be_gone { Verdict::Right } else { Verdict::Lost("the upload is gone".to_owned()) };
        };
        if must_be_gone {
            return Verdict::Wrong("the upload ended and is there again".to_owned());
        }
        for part in &self.parts {
            let is_durable = part.acknowledged.is_some_and(|at| at <= cut);
            if is_durable && !listed.iter().any(|(number, _)| *number == part.number) {
                return Verdict::Lost(format!("part {} is not listed", part.number));
            }
        }
        for (number, bytes) in listed {
            let known = |part: &Part| part.number == *number && part.bytes == *bytes && part.began <= cut;
            if !self.parts.iter().any(known) {
                return Verdict::Wrong(format!("part {number} of {bytes} bytes is listed and was never sent"));
            }
        }
        Verdict::Right
    }
}

#[derive(Debug, PartialEq)]
pub enum Verdict {
    Right,
    Lost(String),
    Wrong(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn value(sequence: u64) -> State {
        Some(Value { origin: "k".to_owned(), sequence, bytes: 1 })
    }

    #[test]
    fn a_cut_leaves_the_last_acknowledged_state_or_one_on_its_way() {
        let mut history = History::default();
        history.acknowledge(value(1), 10, 20);
        history.acknowledge(value(2), 30, 40);
        history.maybe(None, 50);
        assert_eq!(history.certain(), None);
        assert_eq!(history.allowed(5), [None]);
        assert_eq!(history.allowed(15), [None, value(1)]);
        assert_eq!(history.allowed(20), [value(1)], "acknowledged at the cut: not absent any more");
        assert_eq!(history.allowed(35), [value(1), value(2)]);
        assert_eq!(history.allowed(45), [value(2)], "never the older one");
        assert_eq!(history.allowed(u64::MAX), [value(2), None]);
        // A later look settles it from there on.
        history.acknowledge(value(2), 50, 60);
        assert_eq!(history.certain(), Some(&value(2)));
        assert_eq!(history.allowed(55), [value(2), None, value(2)]);
        assert_eq!(history.allowed(60), [value(2)]);
    }

    #[test]
    fn an_upload_is_there_with_its_parts_until_it_ends() {
        let mut upload = Upload::new("k", "id".to_owned(), 10);
        upload.put_part(1, 100, 15, Some(20));
        upload.put_part(2, 50, 25, None);
        upload.end(40, Some(50));
        assert_eq!(upload.judge(None, 5), Verdict::Right, "not yet acknowledged");
        assert!(matches!(upload.judge(None, 12), Verdict::Lost(_)));
        assert_eq!(upload.judge(Some(&[]), 17), Verdict::Right);
        assert!(matches!(upload.judge(Some(&[]), 20), Verdict::Lost(_)));
        assert_eq!(upload.judge(Some(&[(1, 100), (2, 50)]), 30), Verdict::Right);
        assert!(matches!(upload.judge(Some(&[(1, 99)]), 30), Verdict::Wrong(_)));
        assert_eq!(upload.judge(None, 45), Verdict::Right);
        assert_eq!(upload.judge(None, 50), Verdict::Right);
        assert!(matches!(upload.judge(Some(&[(1, 100)]), 50), Verdict::Wrong(_)));
    }
}
