//! JSON as it was written: a map keeps its order, and a key that comes twice is an error, where others take the last one.

use crate::limits::POLICY_DEPTH_MAX;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

#[derive(Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl Json {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut source = serde_json::Deserializer::from_str(text);
        let parsed = Depth(0).deserialize(&mut source).and_then(|json| source.end().map(|()| json));
        parsed.map_err(|error| format!("not the JSON of a policy: {error}"))
    }

    /// What it is, for a sentence.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

struct Depth(usize);

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Depth {
    fn deeper<E: de::Error>(&self) -> Result<usize, E> {
        if self.0 < POLICY_DEPTH_MAX { Ok(self.0 + 1) } else { Err(E::custom("it is nested too deep")) }
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let depth = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Depth(depth))? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let depth = self.deeper()?;
        let mut map: Vec<(String, Json)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(de::Error::custom(format_args!("the key {key:?} comes twice")));
            }
            map.push((key, entries.next_value_seed(Depth(depth))?));
        }
        Ok(Json::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_twice_or_too_deep_is_refused() {
        let of = |text: &str| Json::parse(text).map_err(|error| error.replace("not the JSON of a policy: ", ""));
        let map = |key: &str, value| Json::Map(vec![(key.to_owned(), value)]);
        assert_eq!(of(r#"{"a":[1,-2,true,null,"x"]}"#), {
            let items = [Json::Number("1".into()), Json::Number("-2".into()), Json::Bool(true), Json::Null];
            Ok(map("a", Json::List(items.into_iter().chain([Json::Text("x".into())]).collect())))
        });
        assert_eq!(of(r#"{"a":1,"b":2,"a":1}"#), Err("the key \"a\" comes twice at line 1 column 16".to_owned()));
        // The same key, written with an escape.
        assert!(of(r#"{"a":1,"\u0061":1}"#).is_err());
        assert!(of(&"[".repeat(POLICY_DEPTH_MAX)).expect_err("not closed").contains("EOF"));
        let deep = ["[".repeat(POLICY_DEPTH_MAX + 1), "]".repeat(POLICY_DEPTH_MAX + 1)].concat();
        assert!(of(&deep).expect_err("too deep").contains("nested too deep"));
        for bad in ["", "{", "{} {}", "{'a':1}", "{\"a\":01}", "nul", "\u{feff}{}"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
