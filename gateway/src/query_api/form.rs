//! The parameters of a query API's request, from its query and its form. Each is there once.

use super::Refusal;
use crate::guard::query_pairs;
use crate::limits;
use std::collections::BTreeMap;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Form(BTreeMap<String, String>);

impl Form {
    pub fn parse(query: &str, body: &[u8]) -> Result<Self, Refusal> {
        let malformed = |what: &str| Refusal::malformed(format!("The request is malformed: {what}."));
        let body = std::str::from_utf8(body).map_err(|_| malformed("its form is not ASCII"))?;
        let mut parameters = BTreeMap::new();
        for text in [query, body] {
            for (name, value) in query_pairs(text) {
                // What it could not decode, it has put this in the place of.
                if name.contains(char::REPLACEMENT_CHARACTER) || value.contains(char::REPLACEMENT_CHARACTER) {
                    return Err(malformed("a parameter is not UTF-8"));
                }
                if parameters.len() >= limits::FORM_PARAMETERS_MAX {
                    return Err(malformed("it has too many parameters"));
                }
                if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                    return Err(malformed("a parameter is there twice"));
                }
            }
        }
        Ok(Self(parameters))
    }

    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.optional(name).ok_or_else(|| {
            Refusal::validation(format!(
                "Value null at '{}' failed to satisfy constraint: Member must not be null",
                camel(name)
            ))
        })
    }

    /// Whether the text is true or false, or the default where it is not there.
    pub fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.optional(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refusal::validation(format!("Value at '{}' is neither true nor false", camel(name)))),
        }
    }

    /// A number within bounds.
    pub fn number(&self, name: &str, least: u32, most: u32) -> Result<Option<u32>, Refusal> {
        let Some(text) = self.optional(name) else { return Ok(None) };
        let number = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.and_then(|text| text.parse().ok()).filter(|number| (least..=most).contains(number));
        let refusal = || {
            Refusal::validation(format!(
                "Value at '{}' failed to satisfy constraint: Member must have value between {least} and {most}",
                camel(name)
            ))
        };
        number.map(Some).ok_or_else(refusal)
    }

    /// `NAME.member.1`, `NAME.member.2`: in their order.
    pub fn list(&self, name: &str) -> Result<Vec<&str>, Refusal> {
        let places = self.places(name)?;
        places.iter().map(|place| self.required(&format!("{name}.member.{place}"))).collect()
    }

    /// Lists of `NAME.member.N.KEY`, with those of these keys that are there.
    pub fn entries(&self, name: &str, keys: &[&str]) -> Result<Vec<Vec<Option<&str>>>, Refusal> {
        let places = self.places(name)?;
        let entry =
            |place: &u32| keys.iter().map(|key| self.optional(&format!("{name}.member.{place}.{key}"))).collect();
        Ok(places.iter().map(entry).collect())
    }

    /// Tags as `NAME.member.N.Key` and `Value`: no key twice.
    pub fn tags(&self, name: &str) -> Result<BTreeMap<String, String>, Refusal> {
        let mut tags = BTreeMap::new();
        for entry in self.entries(name, &["Key", "Value"])? {
            let [Some(key), Some(value)] = entry[..] else {
                return Err(Refusal::validation(
                    "Value at 'tags' failed to satisfy constraint: a tag has a Key and a Value",
                ));
            };
            if tags.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(Refusal::invalid_input(
                    "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
                ));
            }
        }
        Ok(tags)
    }

    /// The parameters that none of these names is, nor a list of.
    pub fn unknown<'f>(&'f self, names: &[&str]) -> Option<&'f str> {
        let is_known = |parameter: &str| {
            let list = parameter.split_once(".member.").map_or(parameter, |(list, _)| list);
            ["Action", "Version"].contains(&parameter) || names.contains(&list)
        };
        self.0.keys().map(String::as_str).find(|parameter| !is_known(parameter))
    }

    /// The numbers that a list's members have: from 1 on, without a gap.
    fn places(&self, name: &str) -> Result<Vec<u32>, Refusal> {
        let prefix = format!("{name}.member.");
        let mut places: Vec<u32> = Vec::new();
        for parameter in self.0.keys().filter_map(|parameter| parameter.strip_prefix(&prefix)) {
            let place = parameter.split('.').next().unwrap_or("");
            let place = Some(place).filter(|place| !place.starts_with(['+', '0'])).and_then(|place| place.parse().ok());
            places.push(place.ok_or_else(|| Refusal::malformed(format!("{prefix}N has a number from 1 on.")))?);
        }
        places.sort_unstable();
        places.dedup();
        if places.iter().zip(1..).any(|(place, expected)| *place != expected) {
            return Err(Refusal::malformed(format!("The numbers of {prefix}N have a gap.")));
        }
        Ok(places)
    }
}

/// As AWS names a parameter in its refusals: `UserName` is `userName`.
pub fn camel(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(body: &str) -> Result<Form, &'static str> {
        Form::parse("", body.as_bytes()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn parameters_are_read_once() {
        let read = Form::parse("Version=1", b"Action=Get+User&Path=%2Fa%2F&Note=a%2Bb").expect("sound");
        assert_eq!(read.optional("Action"), Some("Get User"));
        assert_eq!(
            (read.optional("Path"), read.optional("Note"), read.optional("Version")),
            (Some("/a/"), Some("a+b"), Some("1"))
        );
        assert_eq!(read.required("UserName").expect_err("absent").code, "ValidationError");
        for bad in ["a=1&a=2", "a=%FF", "a=%EF%BF%BD"] {
            assert_eq!(form(bad), Err("MalformedQueryString"), "{bad}");
        }
        assert_eq!(Form::parse("a=1", b"a=1").map_err(|refusal| refusal.code), Err("MalformedQueryString"));
        assert_eq!(Form::parse("", &[0xff]).map_err(|refusal| refusal.code), Err("MalformedQueryString"));
        let many = (0..=limits::FORM_PARAMETERS_MAX).map(|n| format!("p{n}=")).collect::<Vec<_>>().join("&");
        assert_eq!(form(&many), Err("MalformedQueryString"));
    }

    #[test]
    fn lists_have_their_order_and_no_gap() {
        let read = form("L.member.2=b&L.member.10=j&L.member.1=a").expect("a form");
        assert_eq!(read.list("L").expect_err("a gap").code, "MalformedQueryString");
        let ten = (1..=10).map(|n| format!("L.member.{n}={n}")).collect::<Vec<_>>().join("&");
        let read = form(&ten).expect("a form");
        assert_eq!(read.list("L").expect("a list"), ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
        assert_eq!(read.list("M").expect("no list"), Vec::<&str>::new());
        for bad in ["L.member.0=a", "L.member.x=a", "L.member.=a", "L.member.01=a", "L.member.99999999999=a"] {
            assert!(form(bad).expect("a form").list("L").is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_numbers_and_flags() {
        let read =
            form("Tags.member.1.Key=a&Tags.member.1.Value=&Tags.member.2.Key=b&Tags.member.2.Value=c&N=5&T=true&X=x");
        let read = read.expect("a form");
        assert_eq!(read.tags("Tags").expect("tags"), [("a".into(), "".into()), ("b".into(), "c".into())].into());
        assert_eq!((read.number("N", 1, 5).expect("fits"), read.number("M", 1, 5).expect("absent")), (Some(5), None));
        assert!(read.number("N", 6, 9).is_err() && read.number("X", 0, 9).is_err());
        assert!(read.flag("T").expect("true") && !read.flag("F").expect("absent") && read.flag("X").is_err());
        assert_eq!(read.unknown(&["Tags", "N", "T"]), Some("X"));
        assert_eq!(read.unknown(&["Tags", "N", "T", "X"]), None);
        let twice = form("Tags.member.1.Key=a&Tags.member.1.Value=&Tags.member.2.Key=a&Tags.member.2.Value=");
        assert_eq!(twice.expect("a form").tags("Tags").expect_err("twice").code, "InvalidInput");
        assert!(form("Tags.member.1.Key=a").expect("a form").tags("Tags").is_err());
    }
}
