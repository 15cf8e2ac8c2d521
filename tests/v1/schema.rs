//! A checker of values against the schemas of the document: as much of JSON Schema 2020-12 as the document uses, and a complaint
//! about whatever it uses beside that.

use almanac::api::v1::openapi;
use serde_json::Value;

/// What describes the addresses.
pub struct Document(pub Value);

/// Words of schemas that say nothing about whether a value fits.
const SILENT: [&str; 5] = ["description", "example", "examples", "default", "title"];

impl Document {
    pub fn new() -> Self {
        Document(openapi())
    }

    /// The described address that a path is one of. A described part in braces stands for any one part.
    pub fn path(&self, path: &str) -> Option<&str> {
        let parts: Vec<&str> = path.split('/').collect();
        let is = |template: &str| {
            let theirs: Vec<&str> = template.split('/').collect();
            theirs.len() == parts.len() && theirs.iter().zip(&parts).all(|(t, p)| t.starts_with('{') || t == p)
        };
        self.0["paths"].as_object().unwrap().keys().map(String::as_str).find(|template| is(template))
    }

    /// That an answer is as its address's description says. Refusals of addresses that are not there have a shape too.
    pub fn judge(&self, method: &str, path: &str, status: u16, body: &Value) {
        let operation = self.path(path).and_then(|template| self.0["paths"][template].get(method));
        let Some(operation) = operation else {
            assert!(matches!(status, 404 | 405), "{method} {path} is not described and answers {status}: {body}");
            assert!(body["error"].is_string() && body["message"].is_string(), "{body}");
            return;
        };
        let responses = &operation["responses"];
        let response = responses.get(status.to_string()).unwrap_or(&responses["default"]);
        assert!(response.is_object(), "{method} {path}: {status} is not described: {body}");
        let schema = &response["content"]["application/json"]["schema"];
        let mut wrong = Vec::new();
        self.check(schema, body, "$", &mut wrong);
        assert!(wrong.is_empty(), "{method} {path} {status}: {wrong:#?}\n{body:#}");
    }

    fn find(&self, reference: &str) -> &Value {
        let name = reference.strip_prefix("#/components/schemas/").unwrap_or_else(|| panic!("{reference}"));
        self.0["components"]["schemas"].get(name).unwrap_or_else(|| panic!("{reference} is not described"))
    }

    /// What is wrong with a value. Objects that say which properties they have may have no others.
    pub fn check(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        let mut known = Vec::new();
        self.inspect(schema, value, at, wrong, &mut known);
        if let (Some(map), false) = (value.as_object(), known.is_empty()) {
            for name in map.keys().filter(|name| !known.contains(*name)) {
                wrong.push(format!("{at}.{name} is not described"));
            }
        }
    }

    fn inspect(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>, known: &mut Vec<String>) {
        let Some(words) = schema.as_object() else { return };
        for (word, says) in words {
            match word.as_str() {
                "$ref" => self.inspect(self.find(says.as_str().unwrap()), value, at, wrong, known),
                "allOf" => {
                    for part in says.as_array().unwrap() {
                        self.inspect(part, value, at, wrong, known);
                    }
                }
                "oneOf" | "anyOf" => {
                    let fitting = says.as_array().unwrap().iter().find(|part| {
                        let mut wrong = Vec::new();
                        self.check(part, value, at, &mut wrong);
                        wrong.is_empty()
                    });
                    match fitting {
                        Some(part) => self.inspect(part, value, at, wrong, known),
                        None => wrong.push(format!("{at}: none of {says}: {value}")),
                    }
                }
                "type" => {
                    let types = says.as_array().cloned().unwrap_or_else(|| vec![says.clone()]);
                    if !types.iter().any(|one| is_of(one.as_str().unwrap(), value)) {
                        wrong.push(format!("{at}: not {says}: {value}"));
                    }
                }
                "enum" if !says.as_array().unwrap().contains(value) => {
                    wrong.push(format!("{at}: not one of {says}: {value}"))
                }
                "required" => {
                    let names = says.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                    for name in names.filter(|name| value.get(name).is_none()) {
                        wrong.push(format!("{at}.{name} is missing"));
                    }
                }
                "properties" => {
                    for (name, schema) in says.as_object().unwrap() {
                        known.push(name.clone());
                        if let Some(value) = value.get(name) {
                            self.check(schema, value, &format!("{at}.{name}"), wrong);
                        }
                    }
                }
                "items" => {
                    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(says, item, &format!("{at}[{n}]"), wrong);
                    }
                }
                "format" => match (says.as_str().unwrap(), value) {
                    ("date-time", Value::String(text)) if chrono::DateTime::parse_from_rfc3339(text).is_err() => {
                        wrong.push(format!("{at}: no date-time: {text}"));
                    }
                    ("int64" | "int32" | "date-time", _) => {}
                    (other, _) => panic!("{other} is a format that this test does not know"),
                },
                "enum" => {}
                word if SILENT.contains(&word) => {}
                word => panic!("{at}: `{word}` is a word of schemas that this test does not know"),
            }
        }
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is a type that this test does not know"),
    }
}
