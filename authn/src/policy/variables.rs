//! Policy variables: `${aws:username}`, `${key, 'default'}`, and `${*}`, `${?}`, `${$}` for the characters themselves.
//!
//! Source: "IAM policy elements: Variables and tags", AWS IAM User Guide.

use super::Context;
use super::wildcard::{ArnPattern, MANY, ONE, Pattern, Symbol};

/// What a text may hold besides characters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Syntax {
    pub variables: bool,
    pub wildcards: bool,
    /// The text is to be compared with texts in lower case.
    pub lower_case: bool,
}

/// A text whose variables are not filled in yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template(Box<[Piece]>);

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Symbols(Box<[Symbol]>),
    /// The key is in lower case.
    Variable {
        key: Box<str>,
        default: Option<Box<str>>,
    },
}

/// A text of a policy, compiled to a form that needs no variables if it has none.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filled<P> {
    Fixed(P),
    Open(Template),
}

/// The value that a variable stands for: keys with several values stand for none.
pub(super) fn value<'c>(context: &'c Context, key: &str) -> Option<&'c str> {
    match context.fact(key).map(|fact| &*fact.values) {
        Some([value]) => Some(value),
        _ => None,
    }
}

impl Template {
    pub fn parse(text: &str, syntax: Syntax) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut symbols: Vec<Symbol> = Vec::new();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            if let Some(inner) = rest.strip_prefix("${").filter(|_| syntax.variables) {
                let (inner, after) = inner.split_once('}').ok_or("a variable has no closing brace")?;
                rest = after;
                match inner {
                    "*" | "?" | "$" => symbols.extend(inner.bytes().map(Symbol::from)),
                    _ => {
                        pieces.push(Piece::Symbols(std::mem::take(&mut symbols).into()));
                        pieces.push(variable(inner)?);
                    }
                }
                continue;
            }
            match next {
                '*' if syntax.wildcards => symbols.push(MANY),
                '?' if syntax.wildcards => symbols.push(ONE),
                _ if syntax.lower_case => {
                    symbols.extend(next.to_lowercase().to_string().bytes().map(Symbol::from));
                }
                _ => symbols.extend(rest.as_bytes()[..next.len_utf8()].iter().map(|&byte| Symbol::from(byte))),
            }
            rest = &rest[next.len_utf8()..];
        }
        pieces.push(Piece::Symbols(symbols.into()));
        Ok(Self(pieces.into()))
    }

    /// Its symbols, if it has no variable.
    fn fixed(&self) -> Option<Vec<Symbol>> {
        match &*self.0 {
            [Piece::Symbols(symbols)] => Some(symbols.to_vec()),
            _ => None,
        }
    }

    /// Keys of variables, and whether they have a default.
    fn variables(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Variable { key, default } => Some((&**key, default.is_some())),
            Piece::Symbols(_) => None,
        })
    }

    /// The pattern with its values, in which no character is a wildcard. `None`: one of them is missing.
    pub fn fill(&self, context: &Context, lower_case: bool) -> Option<Vec<Symbol>> {
        let mut filled = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Symbols(symbols) => filled.extend_from_slice(symbols),
                Piece::Variable { key, default } => {
                    let value = value(context, key).or(default.as_deref())?;
                    if lower_case {
                        filled.extend(value.to_lowercase().bytes().map(Symbol::from));
                    } else {
                        filled.extend(value.bytes().map(Symbol::from));
                    }
                }
            }
        }
        Some(filled)
    }
}

fn variable(inner: &str) -> Result<Piece, String> {
    let (key, default) = match inner.split_once(',') {
        None => (inner, None),
        Some((key, default)) => {
            let default = default.trim().strip_prefix('\'').and_then(|default| default.strip_suffix('\''));
            let default = default.ok_or_else(|| format!("the default of the variable ${{{inner}}} has no quotes"))?;
            (key, Some(default.into()))
        }
    };
    let key = key.trim();
    let (prefix, name) = key.split_once(':').unwrap_or_default();
    let sound = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if prefix.is_empty() || name.is_empty() || key.contains(['$', '{', '*', '?']) || !key.bytes().all(sound) {
        return Err(format!("${{{inner}}} is no variable"));
    }
    Ok(Piece::Variable { key: key.to_ascii_lowercase().into(), default })
}

impl Filled<Pattern> {
    pub fn parse(text: &str, syntax: Syntax) -> Result<Self, String> {
        let template = Template::parse(text, syntax)?;
        Ok(template.fixed().map_or(Self::Open(template), |symbols| Self::Fixed(Pattern::compile(symbols))))
    }

    pub fn matches(&self, text: &str, context: &Context, lower_case: bool) -> bool {
        match self {
            Self::Fixed(pattern) => pattern.matches(text),
            Self::Open(template) => {
                template.fill(context, lower_case).is_some_and(|symbols| super::wildcard::glob(&symbols, text))
            }
        }
    }
}

impl Filled<ArnPattern> {
    pub fn parse(text: &str, syntax: Syntax) -> Result<Self, String> {
        let template = Template::parse(text, syntax)?;
        match template.fixed() {
            None => Ok(Self::Open(template)),
            Some(symbols) => ArnPattern::compile(symbols)
                .map(Self::Fixed)
                .ok_or_else(|| format!("{text:?} has not the six parts of an ARN")),
        }
    }

    pub fn matches(&self, arn: &str, context: &Context) -> bool {
        match self {
            Self::Fixed(pattern) => pattern.matches(arn),
            Self::Open(template) => {
                let pattern = template.fill(context, false).and_then(ArnPattern::compile);
                pattern.is_some_and(|pattern| pattern.matches(arn))
            }
        }
    }
}

impl<P> Filled<P> {
    fn variables(&self) -> impl Iterator<Item = (&str, bool)> {
        let open = match self {
            Self::Fixed(_) => None,
            Self::Open(template) => Some(template.variables()),
        };
        open.into_iter().flatten()
    }

    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// The keys of its variables.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.variables().map(|(key, _)| key)
    }

    /// Those that must have a value.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.variables().filter(|(_, has_default)| !has_default).map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Syntax = Syntax { variables: true, wildcards: true, lower_case: false };

    #[test]
    fn variables_are_filled_in_and_their_values_are_no_wildcards() {
        let mut context = Context::default();
        context.trust("aws:username", vec!["a*b".to_owned()]);
        context.trust("aws:PrincipalTag/team", vec!["red".to_owned()]);
        context.trust("aws:TagKeys", vec!["x".to_owned(), "y".to_owned()]);
        let fits = |pattern: &str, text: &str| {
            Filled::<Pattern>::parse(pattern, BOTH).map(|filled| filled.matches(text, &context, false))
        };
        for (pattern, text, expected) in [
            ("home/${aws:username}/*", "home/a*b/x", true),
            ("home/${aws:username}/*", "home/axb/x", false),
            ("${AWS:UserName}", "a*b", true),
            ("${aws:PrincipalTag/team}", "red", true),
            ("${aws:PrincipalTag/none}", "", false),
            ("${aws:PrincipalTag/none, 'blue*'}", "blue*", true),
            ("${aws:PrincipalTag/none, 'blue*'}", "blues", false),
            ("${aws:PrincipalTag/team, 'blue'}", "red", true),
            ("${aws:TagKeys}", "x", false),
            ("${*}${?}${$}", "*?$", true),
            ("${*}", "x", false),
            ("$x{y}", "$x{y}", true),
        ] {
            assert_eq!(fits(pattern, text), Ok(expected), "{pattern} {text}");
        }
        for bad in ["${aws:username", "${}", "${x}", "${aws:}", "${aws:a${b}}", "${aws:x, y}", "${aws:x*}"] {
            assert!(fits(bad, "").is_err(), "{bad}");
        }
        let older = Syntax { variables: false, ..BOTH };
        let literal = Filled::<Pattern>::parse("${aws:username}", older).expect("a text");
        assert!(literal.matches("${aws:username}", &context, false));
    }
}
