//! Where the statements of a policy stand in its text, for whoever shows them there.

/// Line and column, from 1 on, of what follows a brace: as IAM's simulator gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// Begin and end of each statement of a text that is a policy; of another text something, or nothing.
///
/// Source: AWS CLI reference, the examples of `iam simulate-custom-policy`.
pub fn statement_positions(text: &str) -> Vec<(Position, Position)> {
    let mut scan = Scan { spans: Vec::new(), begun: None, depth: 0, statements_at: None, word: String::new() };
    let mut at = Position { line: 1, column: 1 };
    let mut in_string: Option<bool> = None;
    for character in text.chars() {
        at = match character {
            '\n' => Position { line: at.line + 1, column: 1 },
            _ => Position { column: at.column + 1, ..at },
        };
        in_string = match (in_string, character) {
            // The character behind a backslash ends nothing.
            (Some(true), _) => Some(false),
            (Some(false), '\\') => Some(true),
            (Some(false), '"') => None,
            (Some(false), _) => {
                scan.word.push(character);
                Some(false)
            }
            (None, '"') => {
                scan.word.clear();
                Some(false)
            }
            (None, _) => {
                scan.mark(character, at);
                None
            }
        };
    }
    scan.spans
}

struct Scan {
    spans: Vec<(Position, Position)>,
    begun: Option<Position>,
    depth: usize,
    /// How deep a brace begins a statement.
    statements_at: Option<usize>,
    /// The last string.
    word: String,
}

impl Scan {
    fn mark(&mut self, character: char, at: Position) {
        match character {
            ':' if self.depth == 1 => self.statements_at = (self.word == "Statement").then_some(1),
            '[' => {
                if self.depth == 1 && self.statements_at.is_some() {
                    self.statements_at = Some(2);
                }
                self.depth += 1;
            }
            '{' => {
                if self.statements_at == Some(self.depth) {
                    self.begun = Some(at);
                }
                self.depth += 1;
            }
            ']' => self.depth = self.depth.saturating_sub(1),
            '}' => {
                self.depth = self.depth.saturating_sub(1);
                if self.statements_at == Some(self.depth)
                    && let Some(begun) = self.begun.take()
                {
                    self.spans.push((begun, at));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(text: &str) -> Vec<[usize; 4]> {
        let numbers = |(from, to): (Position, Position)| [from.line, from.column, to.line, to.column];
        statement_positions(text).into_iter().map(numbers).collect()
    }

    #[test]
    fn statements_stand_where_iam_says() {
        // The example of the reference, with its answer.
        let one = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}}}}"#;
        assert_eq!(spans(one), [[1, 38, 1, 167]]);
        let two = "{\n \"Id\": \"}{\\\"Statement\",\n \"Statement\": [\n  {\"Sid\": \"a\"},\n  {\n   \"Sid\": \"[\"\n  }\n ]\n}";
        assert_eq!(spans(two), [[4, 4, 4, 15], [5, 4, 7, 4]]);
        assert_eq!(spans(r#"{"Condition":{"Statement":{"a":{}}}}"#), [[0; 4]; 0]);
        for strange in ["", "}", "]]}}", "{\"Statement\":{", "{\"Statement\":[}", "\"\\"] {
            assert!(spans(strange).len() < 2, "{strange}");
        }
    }
}
