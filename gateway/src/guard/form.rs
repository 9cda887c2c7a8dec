//! `multipart/form-data` (RFC 7578) of a browser's upload, read step by step: bytes in, events out, no I/O. What stands
//! before the file is bounded, the file is handed on as it comes, and nothing is ever kept but the fields.
//!
//! ```text
//! --boundary CRLF headers CRLF CRLF value CRLF --boundary ... CRLF --boundary--
//! ```

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

/// The field that holds the file. S3 ignores what comes behind it.
const FILE: &str = "file";

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("the content type names no boundary")]
    Boundary,
    #[error("a boundary is followed by something else than a line end")]
    Delimiter,
    #[error("the headers of a field are malformed")]
    Headers,
    #[error("a field is not UTF-8")]
    Text,
    #[error("the fields around the file are too large")]
    TooLarge,
    #[error("there is more than one file")]
    SecondFile,
    #[error("the form ends in its middle")]
    Short,
}

/// What a form says next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Field {
        name: String,
        value: String,
    },
    /// The file's bytes follow.
    FileBegins {
        filename: String,
    },
    FileBytes(Bytes),
    FileEnds,
    /// The last boundary.
    End,
}

pub struct FormParser {
    /// `CRLF --boundary`.
    delimiter: Vec<u8>,
    finder: Finder<'static>,
    buffer: BytesMut,
    state: State,
    seen_file: bool,
    /// Bytes that may still come outside of the file.
    allowance_bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Preamble,
    /// Behind a boundary.
    Delimiter,
    Headers,
    Value {
        name: String,
    },
    File,
    Ended,
}

impl FormParser {
    /// For a `Content-Type`. `allowance_bytes`: most bytes of everything but the file.
    pub fn new(content_type: &str, allowance_bytes: usize) -> Result<Self, FormError> {
        let boundary = boundary(content_type).ok_or(FormError::Boundary)?;
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        let finder = Finder::new(&delimiter).into_owned();
        // The first boundary has no line end before it when there is no preamble.
        let buffer = BytesMut::from(b"\r\n".as_slice());
        Ok(Self { delimiter, finder, buffer, state: State::Preamble, seen_file: false, allowance_bytes })
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        if self.state != State::Ended {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next event of what was fed; none before there is more.
    pub fn next_event(&mut self) -> Result<Option<Event>, FormError> {
        loop {
            match &self.state {
                State::Ended => return Ok(None),
                State::Preamble => match self.finder.find(&self.buffer) {
                    None => return self.wait(),
                    Some(at) => {
                        self.take(at + self.delimiter.len())?;
                        self.state = State::Delimiter;
                    }
                },
                State::Delimiter => {
                    if self.buffer.starts_with(b"--") {
                        self.state = State::Ended;
                        self.buffer.clear();
                        return Ok(Some(Event::End));
                    }
                    let padding = self.buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
                    match &self.buffer[padding..] {
                        // The headers' own line end stays, so that a field without headers ends like any other.
                        [b'\r', b'\n', ..] => {
                            self.take(padding)?;
                            self.state = State::Headers;
                        }
                        [] | [b'\r'] => return self.wait(),
                        [b'-'] if padding == 0 => return self.wait(),
                        _ => return Err(FormError::Delimiter),
                    }
                }
                State::Headers => {
                    let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") else { return self.wait() };
                    let headers = self.take(at + 4)?;
                    let Disposition { name, filename } = disposition(&headers)?;
                    if !name.eq_ignore_ascii_case(FILE) {
                        self.state = State::Value { name };
                        continue;
                    }
                    if std::mem::replace(&mut self.seen_file, true) {
                        return Err(FormError::SecondFile);
                    }
                    self.state = State::File;
                    return Ok(Some(Event::FileBegins { filename }));
                }
                State::Value { name } => {
                    let Some(at) = self.finder.find(&self.buffer) else { return self.wait() };
                    let name = name.clone();
                    let value = self.take(at)?;
                    self.take(self.delimiter.len())?;
                    self.state = State::Delimiter;
                    let value = String::from_utf8(value.to_vec()).map_err(|_| FormError::Text)?;
                    return Ok(Some(Event::Field { name, value }));
                }
                State::File => {
                    let found = self.finder.find(&self.buffer);
                    if found == Some(0) {
                        self.take(self.delimiter.len())?;
                        self.state = State::Delimiter;
                        return Ok(Some(Event::FileEnds));
                    }
                    // The end of what is here may be the beginning of a boundary.
                    let kept = self.delimiter.len() - 1;
                    let sure = found.unwrap_or_else(|| self.buffer.len().saturating_sub(kept));
                    if sure == 0 {
                        return Ok(None);
                    }
                    return Ok(Some(Event::FileBytes(self.buffer.split_to(sure).freeze())));
                }
            }
        }
    }

    #[cfg(test)]
    fn is_whole(&self) -> bool {
        self.state == State::Ended
    }

    /// Takes bytes that are no file's off the buffer.
    fn take(&mut self, count: usize) -> Result<Bytes, FormError> {
        self.allowance_bytes = self.allowance_bytes.checked_sub(count).ok_or(FormError::TooLarge)?;
        Ok(self.buffer.split_to(count).freeze())
    }

    /// There is no end of this yet, and it must not grow for ever.
    fn wait(&self) -> Result<Option<Event>, FormError> {
        if self.buffer.len() > self.allowance_bytes { Err(FormError::TooLarge) } else { Ok(None) }
    }
}

/// The parameter `boundary`: 1 to 70 characters (RFC 2046 section 5.1.1).
fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters_of(parameters)?.into_iter().find(|(name, _)| name == "boundary")?.1;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let valid = (1..=70).contains(&boundary.len()) && boundary.bytes().all(allowed) && !boundary.ends_with(' ');
    valid.then_some(boundary)
}

struct Disposition {
    name: String,
    filename: String,
}

/// The one `Content-Disposition: form-data; name="..."` among a field's headers, which begin and end with a line end.
fn disposition(headers: &[u8]) -> Result<Disposition, FormError> {
    let text = std::str::from_utf8(headers).map_err(|_| FormError::Text)?;
    let mut found = None;
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(FormError::Headers)?;
        if name.eq_ignore_ascii_case("content-disposition") && found.replace(value).is_some() {
            return Err(FormError::Headers);
        }
    }
    let (kind, parameters) = found.and_then(|value| value.split_once(';')).ok_or(FormError::Headers)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(FormError::Headers);
    }
    let parameters = parameters_of(parameters).ok_or(FormError::Headers)?;
    let value = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let name = value("name").filter(|name| !name.is_empty()).ok_or(FormError::Headers)?;
    Ok(Disposition { name, filename: value("filename").unwrap_or_default() })
}

/// `name=value; name="value"`, names in lower case. In quotes a backslash stands for itself unless a quote or another one
/// follows: browsers send the paths of Windows that way. `None`: malformed, or a name twice.
fn parameters_of(text: &str) -> Option<Vec<(String, String)>> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let value;
        (value, rest) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if name.is_empty() || parameters.iter().any(|(known, _)| *known == name) {
            return None;
        }
        parameters.push((name, value));
        rest = rest.trim_start();
        rest = match rest.strip_prefix(';') {
            Some(next) => next.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    Some(parameters)
}

fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=xyz";
    const FORM: &str = "--xyz\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na/${filename}\r\n--xyz\r\n\
        content-disposition: form-data; name=\"file\"; filename=\"b\\\"c.txt\"\r\nContent-Type: text/plain\r\n\r\n\
        line\r\n--xy\r\n-\r\n--xyz\r\nContent-Disposition: form-data; name=submit\r\n\r\n\r\n--xyz--\r\nepilogue";

    /// The events with the file's bytes joined.
    fn parse(
        content_type: &str,
        form: &[u8],
        step: usize,
        allowance: usize,
    ) -> Result<(Vec<Event>, Vec<u8>), FormError> {
        let mut parser = FormParser::new(content_type, allowance)?;
        let (mut events, mut file) = (Vec::new(), Vec::new());
        for bytes in form.chunks(step) {
            parser.feed(bytes);
            while let Some(event) = parser.next_event()? {
                match event {
                    Event::FileBytes(bytes) => file.extend_from_slice(&bytes),
                    other => events.push(other),
                }
            }
        }
        if parser.is_whole() { Ok((events, file)) } else { Err(FormError::Short) }
    }

    fn error(form: &str) -> Option<FormError> {
        let errors = [1, 2, 7, 4096].map(|step| parse(TYPE, form.as_bytes(), step, 4096).err());
        assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?} of {form:?}");
        errors[0]
    }

    fn field(name: &str, value: &str) -> Event {
        Event::Field { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn a_form_is_the_same_in_pieces_of_every_size() {
        for step in 1..FORM.len() {
            let (events, file) = parse(TYPE, FORM.as_bytes(), step, 4096).expect("well formed");
            let begin = Event::FileBegins { filename: "b\"c.txt".to_owned() };
            let expected = [field("key", "a/${filename}"), begin, Event::FileEnds, field("submit", ""), Event::End];
            assert_eq!(events, expected, "step {step}");
            assert_eq!(file, b"line\r\n--xy\r\n-", "step {step}");
        }
    }

    #[test]
    fn every_beginning_of_a_form_is_short() {
        let end = FORM.len() - "\r\nepilogue".len();
        for length in 0..end {
            assert_eq!(error(&FORM[..length]), Some(FormError::Short), "{length} bytes");
        }
        assert_eq!(error(&FORM[..end]), None);
    }

    #[test]
    fn empty_files_and_preambles_are_allowed() {
        let form = "preamble\r\n--xyz  \r\nContent-Disposition: form-data; name=\"FILE\"\r\n\r\n\r\n--xyz--";
        for step in 1..form.len() {
            let (events, file) = parse(TYPE, form.as_bytes(), step, 4096).expect("well formed");
            assert_eq!(events, [Event::FileBegins { filename: String::new() }, Event::FileEnds, Event::End]);
            assert!(file.is_empty());
        }
    }

    #[test]
    fn malformed_forms_are_refused() {
        let part = |headers: &str| error(&format!("--xyz\r\n{headers}\r\n\r\nv\r\n--xyz--"));
        assert_eq!(part("Content-Disposition: form-data; name=\"a\""), None);
        assert_eq!(part("Content-Disposition: form-data; name=\"a"), Some(FormError::Headers));
        assert_eq!(part("Content-Disposition: form-data; name=a; name=b"), Some(FormError::Headers));
        assert_eq!(part("Content-Disposition: form-data"), Some(FormError::Headers));
        assert_eq!(part("Content-Disposition: attachment; name=a"), Some(FormError::Headers));
        assert_eq!(part("Content-Type: text/plain"), Some(FormError::Headers));
        assert_eq!(
            part("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b"),
            Some(FormError::Headers)
        );
        assert_eq!(error("--xyzw\r\n\r\n"), Some(FormError::Delimiter));
        let file = "--xyz\r\nContent-Disposition: form-data; name=file\r\n\r\na\r\n";
        assert_eq!(error(&format!("{file}{file}--xyz--")), Some(FormError::SecondFile));
        let text = b"--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\n\xff\r\n--xyz--";
        assert_eq!(parse(TYPE, text, 9, 4096).err(), Some(FormError::Text));
    }

    #[test]
    fn only_the_file_may_be_large() {
        let with = |name: &str, length: usize| {
            let value = "v".repeat(length);
            let form = format!("--xyz\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n--xyz--");
            parse(TYPE, form.as_bytes(), 100, 1000).err()
        };
        assert_eq!(with("file", 100_000), None);
        assert_eq!(with("fields", 900), None);
        assert_eq!(with("fields", 1001), Some(FormError::TooLarge));
        // Without an end, too.
        assert_eq!(parse(TYPE, &[b'p'; 2000], 100, 1000).err(), Some(FormError::TooLarge));
        let headers = format!("--xyz\r\nA: {}", "h".repeat(2000));
        assert_eq!(parse(TYPE, headers.as_bytes(), 100, 1000).err(), Some(FormError::TooLarge));
    }

    #[test]
    fn boundaries_come_from_the_content_type() {
        assert_eq!(boundary("multipart/form-data; boundary=xyz").as_deref(), Some("xyz"));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"").as_deref(), Some("a b"));
        for bad in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=\"a\r\nb\"",
            "multipart/mixed; boundary=a",
        ] {
            assert_eq!(boundary(bad), None, "{bad}");
        }
        assert_eq!(boundary(&format!("multipart/form-data; boundary={}", "b".repeat(71))), None);
    }
}
