//! Patterns with `*` and `?`, for actions, ARNs and values.

/// One place of a pattern: a byte that must stand there, or a wildcard.
pub(super) type Symbol = u16;
/// `?`: one character.
pub(super) const ONE: Symbol = 256;
/// `*`: any characters, or none.
pub(super) const MANY: Symbol = 257;

/// A compiled pattern. The frequent forms are compared without a walk.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pattern {
    Everything,
    Exact(Box<str>),
    /// What begins so.
    Prefix(Box<str>),
    Symbols(Box<[Symbol]>),
}

impl Pattern {
    /// Every `*` and `?` is a wildcard.
    pub fn of(text: &str) -> Self {
        Self::compile(symbols(text))
    }

    pub fn compile(symbols: Vec<Symbol>) -> Self {
        let literal = |symbols: &[Symbol]| {
            let bytes: Option<Vec<u8>> = symbols.iter().map(|&symbol| u8::try_from(symbol).ok()).collect();
            bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(String::into_boxed_str)
        };
        if symbols == [MANY] {
            return Self::Everything;
        }
        if let Some(exact) = literal(&symbols) {
            return Self::Exact(exact);
        }
        match symbols.split_last() {
            Some((&MANY, rest)) if literal(rest).is_some() => {
                Self::Prefix(literal(rest).expect("the guard has seen that it is literal"))
            }
            _ => Self::Symbols(symbols.into()),
        }
    }

    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Exact(exact) => **exact == *text,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Symbols(symbols) => glob(symbols, text),
        }
    }

    /// For names of ASCII letters, such as those of actions: a pattern with wildcards must be in lower case.
    pub fn matches_any_case(&self, text: &str) -> bool {
        match self {
            Self::Everything => true,
            // Who asks spells it as the pattern does, as a rule.
            Self::Exact(exact) => **exact == *text || (exact.len() == text.len() && exact.eq_ignore_ascii_case(text)),
            Self::Prefix(prefix) => {
                text.as_bytes().get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
            }
            Self::Symbols(symbols) => glob(symbols, &text.to_ascii_lowercase()),
        }
    }
}

pub(super) fn symbols(text: &str) -> Vec<Symbol> {
    text.bytes().map(symbol).collect()
}

fn symbol(byte: u8) -> Symbol {
    match byte {
        b'*' => MANY,
        b'?' => ONE,
        byte => Symbol::from(byte),
    }
}

/// Whether the whole text fits. At a mismatch only the last `*` takes one character more, so that the time is at most the
/// product of both lengths.
pub(super) fn glob(pattern: &[Symbol], text: &str) -> bool {
    let text = text.as_bytes();
    let (mut at, mut read) = (0, 0);
    // After the last star: the place in the pattern, and how far its text reaches.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(&MANY) => {
                at += 1;
                star = Some((at, read));
            }
            Some(&ONE) => {
                at += 1;
                read = next_character(text, read);
            }
            Some(&byte) if byte == Symbol::from(text[read]) => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((after, reached)) = star else { return false };
                let reached = next_character(text, reached);
                star = Some((after, reached));
                (at, read) = (after, reached);
            }
        }
    }
    pattern[at.min(pattern.len())..].iter().all(|&symbol| symbol == MANY)
}

fn next_character(text: &[u8], mut at: usize) -> usize {
    at += 1;
    while text.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {
        at += 1;
    }
    at
}

/// `arn:partition:service:region:account:resource`, the last with colons of its own.
pub(super) const ARN_PARTS: usize = 6;

/// A pattern of ARNs, in which no wildcard reaches over one of the first five colons.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ArnPattern {
    Everything,
    /// Wildcards in its last part at most: it can be compared as a whole.
    Whole(Pattern),
    Parts(Box<[Pattern; ARN_PARTS]>),
}

impl ArnPattern {
    /// `None`: it has not all of its parts.
    pub fn compile(symbols: Vec<Symbol>) -> Option<Self> {
        if symbols == [MANY] {
            return Some(Self::Everything);
        }
        let parts = split(&symbols)?;
        if parts[..ARN_PARTS - 1].iter().all(|part| part.iter().all(|&symbol| symbol < ONE)) {
            return Some(Self::Whole(Pattern::compile(symbols)));
        }
        Some(Self::Parts(Box::new(parts.map(|part| Pattern::compile(part.to_vec())))))
    }

    pub fn matches(&self, arn: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Whole(pattern) => pattern.matches(arn),
            Self::Parts(patterns) => {
                let mut parts = arn.splitn(ARN_PARTS, ':');
                let fits = patterns.iter().all(|pattern| parts.next().is_some_and(|part| pattern.matches(part)));
                fits && parts.next().is_none()
            }
        }
    }
}

fn split(symbols: &[Symbol]) -> Option<[&[Symbol]; ARN_PARTS]> {
    let mut parts = symbols.splitn(ARN_PARTS, |&symbol| symbol == Symbol::from(b':'));
    let mut found = [&symbols[..0]; ARN_PARTS];
    for part in &mut found {
        *part = parts.next()?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_characters() {
        let fits = |pattern: &str, text: &str| Pattern::of(pattern).matches(text);
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a", "A", false),
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*c", "abc", true),
            ("a*c", "abcbc", true),
            ("a*c*", "ab", false),
            ("?", "", false),
            ("?", "é", true),
            ("??", "é", false),
            ("*?", "é", true),
            ("a?c", "abc", true),
            ("a**c", "ac", true),
            ("*a*b*c*", "xxaxxbxxc", true),
            ("*a*b*c*", "xxcxxbxxa", false),
            ("[a]\\d.", "[a]\\d.", true),
            ("a.c", "abc", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        // A time that grew with every star would not end.
        assert!(!fits(&"*a".repeat(400), &"a".repeat(399)));
        assert!(!fits(&["*a".repeat(400), "b".to_owned()].concat(), &"a".repeat(1024)));
    }

    #[test]
    fn names_of_actions_know_no_case() {
        for (pattern, text, expected) in [
            ("s3:getobject", "s3:GetObject", true),
            ("s3:get*", "S3:GETObject", true),
            ("s3:*tagging", "s3:GetObjectTagging", true),
            ("s3:get*", "s3:G", false),
            ("s3:getobject", "s3:GetObjectAcl", false),
        ] {
            assert_eq!(Pattern::of(pattern).matches_any_case(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn wildcards_of_an_arn_stay_in_their_part() {
        let fits = |pattern: &str, text: &str| {
            ArnPattern::compile(symbols(pattern)).expect("six parts or a star").matches(text)
        };
        for (pattern, text, expected) in [
            ("*", "arn:aws:s3:::b", true),
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b/a:b/c", true),
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b", false),
            ("arn:aws:s3::*:b", "arn:aws:s3:::b", true),
            ("arn:*:*:*:*:*", "arn:aws:iam::1:user/x", true),
            ("arn:aws:*:::b", "arn:aws:s3:::b", true),
            ("arn:aws:*:::b", "arn:aws:s3:x::b", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        assert_eq!(ArnPattern::compile(symbols("arn:aws:s3:*:b")), None);
    }
}
