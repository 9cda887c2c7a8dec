//! What moto says to a case: Python on the other end of two pipes.

use super::Says;
use super::cases::{Case, rewrite};
use super::causes::Cause;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Moto {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Moto {
    pub fn start(python: &std::ffi::OsStr) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/policy/moto_says.py");
        let started = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = started.expect("the Python of WEIR_MOTO_PYTHON starts");
        let questions = process.stdin.take().expect("a pipe was asked for");
        let answers = BufReader::new(process.stdout.take().expect("a pipe was asked for"));
        Self { process, questions, answers }
    }

    pub fn ask(&mut self, case: &Case) -> Says {
        let context: serde_json::Map<String, Value> =
            case.context.iter().map(|(key, values)| ((*key).to_owned(), json!(values[0]))).collect();
        let question = json!({
            "policy": case.policy,
            "action": case.action,
            "resource": case.resource,
            "principal": if case.of_bucket { Some(case.principal.arn()) } else { None },
            "context": context,
        });
        writeln!(self.questions, "{question}").expect("moto reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("moto answers");
        let answer: String = serde_json::from_str(&line).expect("a string");
        match &*answer {
            "Allow" => Says::Allow,
            "Deny" => Says::Deny,
            "Nothing" => Says::Nothing,
            _ => Says::Failed(answer),
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It ends with its standard input, or now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub const CAUSES: &[Cause] = &[
    (
        "moto evaluates no operator but StringEquals, and denies what does not meet it. \"Condition operators\"; \"Condition\": a \
         statement whose condition is not met is about nothing",
        |case| in_statements(case, |statement| drop(statement.remove("Condition"))),
    ),
    ("moto knows no NotResource: the statement allows everything. \"NotResource\"", |case| {
        rewrite(case, |text| text.replace("NotResource", "Resource"))
    }),
    ("moto wants the letters of an action as they are. \"Action\": not case sensitive", |case| {
        rewrite(case, |text| text.replace("s3:getobject", "s3:GetObject").replace("S3:GetObject", "s3:GetObject"))
    }),
    ("moto knows no variables. \"Variables and tags\"", |case| {
        let filled = |text: &str| {
            let mut parts = text.split("${");
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| text + "value" + part.split_once('}').map_or("", |(_, rest)| rest))
        };
        rewrite(case, filled)
    }),
    (
        "moto takes ?, . and other characters for those of regular expressions. \"Resource\": any single character",
        |case| rewrite(case, |text| text.replace('?', "*").replace("a.x", "a/x")),
    ),
    (
        "moto denies whom a statement does not name, and knows neither \"*\" alone nor NotPrincipal. \"Principal\"",
        |case| {
            if !case.of_bucket {
                return case.clone();
            }
            in_statements(case, |statement| {
                statement.remove("NotPrincipal");
                statement.insert("Principal".to_owned(), json!({"AWS": "*"}));
            })
        },
    ),
];

fn in_statements(case: &Case, change: impl Fn(&mut serde_json::Map<String, Value>)) -> Case {
    let mut case = case.clone();
    let statements: Vec<&mut Value> = match &mut case.policy["Statement"] {
        Value::Array(list) => list.iter_mut().collect(),
        one => vec![one],
    };
    statements.into_iter().for_each(|statement| change(statement.as_object_mut().expect("a statement")));
    case
}
