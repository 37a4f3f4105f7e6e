//! What a request carries in its body: a form or a JSON object, read once, strictly.

use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::error::{AppError, FieldErrors};

/// The fields of a form or of a JSON object.
///
/// Take each field by name, then call [`Input::finish`]: whatever is left over is an error
/// (SEC-10), so no field a client makes up is ever read by accident.
#[derive(Clone, Debug, Default)]
pub struct Input {
    json: bool,
    fields: BTreeMap<String, Value>,
    errors: FieldErrors,
}

impl Input {
    /// Reads a body by its content type; an empty one has no fields.
    ///
    /// # Errors
    /// 415 for other content types, 422 for broken JSON or a repeated field.
    pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, AppError> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind =
            content_type.map(|value| value.split(';').next().unwrap_or("").trim().to_ascii_lowercase());
        match kind.as_deref() {
            Some("application/json") => Self::from_json(body),
            Some("application/x-www-form-urlencoded") => Self::from_form(body),
            _ if body.is_empty() => Ok(Self::default()),
            _ => Err(AppError::UnsupportedMediaType),
        }
    }

    fn from_json(body: &[u8]) -> Result<Self, AppError> {
        if body.is_empty() {
            return Ok(Self { json: true, ..Self::default() });
        }
        match serde_json::from_slice(body) {
            Ok(Object { repeated: Some(name), .. }) => Err(twice(&name)),
            Ok(Object { fields, .. }) => Ok(Self { json: true, fields, ..Self::default() }),
            Err(error) if error.is_data() => {
                Err(AppError::BadRequest("The body must be one JSON object.".into()))
            }
            Err(error) => Err(AppError::BadRequest(format!(
                "The body is no valid JSON (line {}, column {}).",
                error.line(),
                error.column()
            ))),
        }
    }

    fn from_form(body: &[u8]) -> Result<Self, AppError> {
        let mut input = Self::default();
        for (name, value) in url::form_urlencoded::parse(body) {
            if input.fields.insert(name.clone().into_owned(), Value::String(value.into_owned())).is_some() {
                return Err(twice(&name));
            }
        }
        Ok(input)
    }

    /// The fields as they came, to be sealed and read again by [`Input::unpacked`].
    pub fn packed(&self) -> Value {
        Value::Object(self.fields.clone().into_iter().collect())
    }

    /// What [`Input::packed`] gave, as a form.
    pub fn unpacked(packed: Value) -> Option<Self> {
        match packed {
            Value::Object(fields) => Some(Self { fields: fields.into_iter().collect(), ..Self::default() }),
            _ => None,
        }
    }

    /// A JSON value as it is, or the JSON text in a form's field; `None` where it is neither.
    pub fn value(&mut self, name: &'static str) -> Option<Value> {
        match self.fields.remove(name) {
            Some(Value::String(text)) => serde_json::from_str(&text).ok(),
            Some(Value::Null) | None => None,
            Some(value) => Some(value),
        }
    }

    /// Whether it came as JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A text; missing is empty, another type is an error at that field.
    pub fn text(&mut self, name: &'static str) -> String {
        self.optional(name).unwrap_or_default()
    }

    /// A text, or `None` where it is missing, null or empty.
    pub fn optional(&mut self, name: &'static str) -> Option<String> {
        match self.fields.remove(name) {
            None | Some(Value::Null) => None,
            // NUL has no place in a text, and PostgreSQL takes none.
            Some(Value::String(text)) if text.contains('\0') => {
                self.errors.insert(name.into(), "This contains a character that cannot be used.".into());
                None
            }
            Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
            Some(_) => {
                self.errors.insert(name.into(), "This must be a text.".into());
                None
            }
        }
    }

    /// A text or a whole number, as text: for ids that may be either.
    pub fn id(&mut self, name: &'static str) -> String {
        match self.fields.get(name) {
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
                let text = number.to_string();
                self.fields.remove(name);
                text
            }
            _ => self.text(name),
        }
    }

    /// A check box: present in a form (`on`), or a JSON boolean.
    pub fn flag(&mut self, name: &'static str) -> bool {
        match self.fields.remove(name) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => flag,
            Some(Value::String(text)) if matches!(text.as_str(), "on" | "true" | "1") => true,
            Some(Value::String(text)) if matches!(text.as_str(), "" | "off" | "false" | "0") => false,
            Some(_) => {
                self.errors.insert(name.into(), "This must be true or false.".into());
                false
            }
        }
    }

    /// Texts: a JSON list of texts, or one text that is split where `between` says so. Each is trimmed,
    /// and empty ones are left out.
    pub fn list(&mut self, name: &'static str, between: impl Fn(char) -> bool) -> Vec<String> {
        let texts: Vec<String> = match self.fields.get(name) {
            Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
                let texts = items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                self.fields.remove(name);
                texts
            }
            Some(Value::Array(_)) => {
                self.fields.remove(name);
                self.errors.insert(name.into(), "This must be a list of texts.".into());
                Vec::new()
            }
            _ => self.text(name).split(between).map(str::to_owned).collect(),
        };
        if texts.iter().any(|text| text.contains('\0')) {
            self.errors.insert(name.into(), "This contains a character that cannot be used.".into());
            return Vec::new();
        }
        texts.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
    }

    /// Bytes of a form's field, which stays; 0 where there is none or where JSON came.
    pub fn length(&self, name: &str) -> usize {
        match self.fields.get(name) {
            Some(Value::String(text)) if !self.json => text.len(),
            _ => 0,
        }
    }

    /// Takes a field without a word about its type.
    pub fn discard(&mut self, name: &str) {
        self.fields.remove(name);
    }

    /// Nothing may be left over, and nothing may have been of the wrong type.
    pub fn finish(mut self) -> Result<(), FieldErrors> {
        for name in self.fields.keys() {
            let shown: String = name.chars().take(40).collect();
            self.errors.insert(shown.into(), "This field is not known here.".into());
        }
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }

    /// As [`Input::finish`], as an error of the application.
    pub fn done(self) -> Result<(), AppError> {
        self.finish().map_err(AppError::Validation)
    }
}

fn twice(name: &str) -> AppError {
    let shown: String = name.chars().take(40).collect();
    AppError::BadRequest(format!("The field {shown} is given twice."))
}

/// A JSON object; which of two equal names would count differs between readers, so none does.
#[derive(Default)]
struct Object {
    fields: BTreeMap<String, Value>,
    repeated: Option<String>,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut object = Object::default();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if object.fields.insert(name.clone(), value).is_some() {
                object.repeated.get_or_insert(name);
            }
        }
        Ok(object)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Input {
    type Rejection = AppError;

    /// The guard has read the body already.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AppError> {
        Ok(parts.extensions.remove::<Self>().unwrap_or_default())
    }
}

/// Whether the request wants JSON: it sends JSON, or asks for it and not for HTML.
pub fn wants_json(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let accept = text(header::ACCEPT);
    let sends = text(header::CONTENT_TYPE).to_ascii_lowercase().starts_with("application/json");
    (accept.contains("json") && !accept.contains("text/html")) || (sends && !accept.contains("text/html"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;

    fn json(body: &str) -> Result<Input, AppError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        Input::parse(&headers, body.as_bytes())
    }

    /// SEC-10
    #[test]
    fn sec_10_unknown_fields_are_errors() {
        let mut input = json(r#"{"username":"ann","role":"Admin"}"#).unwrap();
        assert_eq!(input.text("username"), "ann");
        assert!(input.finish().unwrap_err().contains_key("role"));
    }

    /// SEC-88
    #[test]
    fn sec_88_types_are_strict() {
        let mut input = json(r#"{"username":["ann"],"n":7,"s":"7"}"#).unwrap();
        assert_eq!(input.text("username"), "");
        assert_eq!((input.id("n"), input.id("s")), ("7".into(), "7".into()));
        assert!(input.finish().unwrap_err().contains_key("username"));
        assert!(matches!(json("[1]"), Err(AppError::BadRequest(_))));
        assert!(matches!(json("{"), Err(AppError::BadRequest(_))));
        assert!(matches!(json("\"ann\""), Err(AppError::BadRequest(_))));
    }

    #[test]
    fn lists_come_as_lists_or_as_lines() {
        let lines = |c| c == '\n' || c == ',';
        let mut input = json(r#"{"a":[" x,y ","","z"],"b":"x, y\r\nz","c":[1],"d":null,"e":7}"#).unwrap();
        assert_eq!(input.list("a", lines), ["x,y", "z"]);
        assert_eq!(input.list("b", lines), ["x", "y", "z"]);
        for name in ["c", "d", "e"] {
            assert!(input.list(name, lines).is_empty());
        }
        let errors = input.finish().unwrap_err();
        assert!(errors.contains_key("c") && errors.contains_key("e") && errors.len() == 2, "{errors:?}");
    }

    /// SEC-88: a repeated field is refused in JSON as in a form.
    #[test]
    fn sec_88_a_field_counts_once() {
        for body in [r#"{"a":"1","a":"2"}"#, r#"{"a":"1","b":"x","\u0061":"1"}"#] {
            let error = json(body).unwrap_err();
            assert!(
                matches!(&error, AppError::BadRequest(text) if text == "The field a is given twice."),
                "{error:?}"
            );
        }
        assert!(Input::from_form(b"a=1&b=x&%61=1").is_err());
        assert!(json(r#"{"a":"1","b":"1"}"#).is_ok());
    }
}
