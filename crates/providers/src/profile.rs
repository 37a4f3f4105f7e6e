//! What claims say of a person (OpenID Connect Core, 5.1).

use serde_json::{Map, Value};

use crate::Profile;

/// The longest text that is taken over, in characters.
const TEXT_CHARS: usize = 255;
/// RFC 5321, 4.5.3.1.3, without the angle brackets.
const EMAIL_BYTES: usize = 254;

/// What serves one trip only.
const OF_THE_TRIP: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];
/// What counts in the signed token only.
const OF_THE_TOKEN: [&str; 9] = ["iss", "sub", "aud", "azp", "exp", "iat", "auth_time", "acr", "amr"];

/// The person of verified claims.
pub(crate) fn of_claims(issuer: String, subject: String, mut claims: Map<String, Value>) -> Profile {
    for claim in OF_THE_TRIP {
        claims.remove(claim);
    }
    let (first_name, last_name) = names(&claims);
    Profile {
        issuer,
        subject,
        username: ["preferred_username", "nickname", "login"].iter().find_map(|claim| text(&claims, claim)),
        first_name,
        last_name,
        email: email(&claims),
        email_verified: claims.get("email_verified") == Some(&Value::Bool(true)),
        auth_time: claims.get("auth_time").and_then(seconds),
        acr: text(&claims, "acr"),
        amr: match claims.get("amr") {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(one)) => vec![one.clone()],
            _ => Vec::new(),
        },
        claims: Value::Object(claims),
    }
}

/// Adds what UserInfo knows beyond the ID token. An e-mail comes with its own `email_verified`: the two are
/// never mixed from two sources.
pub(crate) fn complete(claims: &mut Map<String, Value>, user_info: Map<String, Value>) {
    let email_is_signed = email(claims).is_some();
    if !email_is_signed {
        claims.remove("email");
        claims.remove("email_verified");
    }
    for (claim, value) in user_info {
        let skip = OF_THE_TOKEN.contains(&claim.as_str())
            || OF_THE_TRIP.contains(&claim.as_str())
            || (email_is_signed && claim == "email_verified");
        if !skip {
            claims.entry(claim).or_insert(value);
        }
    }
}

/// An address that looks like one.
pub(crate) fn email(claims: &Map<String, Value>) -> Option<String> {
    text(claims, "email").filter(|email| email.len() <= EMAIL_BYTES && email.contains('@'))
}

/// Unix seconds; some providers send a fraction.
pub(crate) fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

/// First and last name; a single `name` is split before its last word.
fn names(claims: &Map<String, Value>) -> (String, String) {
    let (given, family) = (text(claims, "given_name"), text(claims, "family_name"));
    if given.is_some() || family.is_some() {
        return (given.unwrap_or_default(), family.unwrap_or_default());
    }
    let name = text(claims, "name").unwrap_or_default();
    match name.rsplit_once(char::is_whitespace) {
        Some((first, last)) => (first.trim().to_owned(), last.to_owned()),
        None => (name, String::new()),
    }
}

/// A claim that is text and not empty, in one line.
fn text(claims: &Map<String, Value>, claim: &str) -> Option<String> {
    let text: String = claims.get(claim)?.as_str()?.chars().filter(|c| !c.is_control()).collect();
    let text: String = text.trim().chars().take(TEXT_CHARS).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn profile(claims: Value) -> Profile {
        let Value::Object(claims) = claims else { panic!("an object") };
        of_claims("i".to_owned(), "s".to_owned(), claims)
    }

    #[test]
    fn sec_71_only_the_boolean_true_verifies_an_email() {
        for (said, counts) in [
            (json!(true), true),
            (json!(false), false),
            (json!("true"), false),
            (json!(1), false),
            (Value::Null, false),
        ] {
            let found = profile(json!({"email": "a@b.c", "email_verified": said}));
            assert_eq!(found.email_verified, counts, "{said}");
        }
        assert!(!profile(json!({"email": "a@b.c"})).email_verified);
    }

    #[test]
    fn sec_71_verified_is_not_taken_from_another_source_than_the_email() {
        let mut claims = Map::new();
        claims.insert("email".to_owned(), json!("a@b.c"));
        let Value::Object(info) = json!({"email": "x@y.z", "email_verified": true, "acr": "high"}) else {
            panic!()
        };
        complete(&mut claims, info);
        assert_eq!(Value::Object(claims), json!({"email": "a@b.c"}));
        let mut claims = Map::new();
        claims.insert("email_verified".to_owned(), json!(true));
        let Value::Object(info) = json!({"email": "x@y.z", "groups": ["a"]}) else { panic!() };
        complete(&mut claims, info);
        assert_eq!(Value::Object(claims), json!({"email": "x@y.z", "groups": ["a"]}));
    }

    #[test]
    fn names_are_split_where_only_one_is_given() {
        let found = profile(json!({"name": " Ada  King Lovelace\n", "nickname": "ada", "amr": "mfa"}));
        assert_eq!((found.first_name.as_str(), found.last_name.as_str()), ("Ada  King", "Lovelace"));
        assert_eq!((found.username.as_deref(), found.amr.as_slice()), (Some("ada"), &["mfa".to_owned()][..]));
        let found = profile(json!({"name": "Plato"}));
        assert_eq!((found.first_name.as_str(), found.last_name.as_str()), ("Plato", ""));
    }
}
