//! Filters for templates: `{{ user.prompts|count }}`, `{{ "search"|icon }}`.
//!
//! A module with templates has `use crate::view::filters;`.

use askama::filters::HtmlSafeOutput;
use askama::{Result, Values};

use super::format::{self, Int, Num};
use crate::assets;

/// A symbol: `{{ "search"|icon }}`. Its name is decoration; give the control its own words.
#[askama::filter_fn]
pub fn icon(name: &str, _: &dyn Values) -> Result<HtmlSafeOutput<String>> {
    Ok(symbol("icon", name))
}

/// The small form, for buttons with `.btn--s` and inside lines.
#[askama::filter_fn]
pub fn icon_s(name: &str, _: &dyn Values) -> Result<HtmlSafeOutput<String>> {
    Ok(symbol("icon icon--s", name))
}

/// The mark of the product: `{{ "mark"|mark }}`.
#[askama::filter_fn]
pub fn mark(name: &str, _: &dyn Values) -> Result<HtmlSafeOutput<String>> {
    Ok(symbol("mark", name))
}

/// The address of an asset: `{{ "app.js"|asset }}`.
#[askama::filter_fn]
pub fn asset(name: &str, _: &dyn Values) -> Result<&'static str> {
    Ok(assets::url(name))
}

/// "3,412"
#[askama::filter_fn]
pub fn count<T: Int>(value: T, _: &dyn Values) -> Result<String> {
    Ok(format::count(value.int()))
}

/// "1 chat", "3,412 chats": `{{ n|counted("chat", "chats") }}`.
#[askama::filter_fn]
pub fn counted<T: Int>(value: T, _: &dyn Values, one: &str, many: &str) -> Result<String> {
    Ok(format::counted(value.int(), one, many))
}

/// Microseconds as "0.381 s".
#[askama::filter_fn]
pub fn seconds<T: Int>(micros: T, _: &dyn Values) -> Result<String> {
    Ok(format::seconds(micros.int()))
}

/// Microseconds as "3.2 s", "1 min 04 s".
#[askama::filter_fn]
pub fn duration<T: Int>(micros: T, _: &dyn Values) -> Result<String> {
    Ok(format::duration(micros.int()))
}

/// A share as "0.42 %".
#[askama::filter_fn]
pub fn percent<T: Num>(share: T, _: &dyn Values) -> Result<String> {
    Ok(format::percent(share.num()))
}

/// A part of a whole as "0.42 %": `{{ errors|percent_of(prompts) }}`.
#[askama::filter_fn]
pub fn percent_of<T: Int, W: Int>(part: T, _: &dyn Values, whole: W) -> Result<String> {
    Ok(format::percent_of(part.int(), whole.int()))
}

/// Tokens a second as "47 tok/s".
#[askama::filter_fn]
pub fn rate<T: Num>(per_second: T, _: &dyn Values) -> Result<String> {
    Ok(format::rate(per_second.num()))
}

/// "1.4 MB"
#[askama::filter_fn]
pub fn bytes<T: Int>(value: T, _: &dyn Values) -> Result<String> {
    Ok(format::bytes(value.int()))
}

/// Microseconds as "20 Nov 2026", UTC.
#[askama::filter_fn]
pub fn date<T: Int>(micros: T, _: &dyn Values) -> Result<String> {
    Ok(format::date(micros.int()))
}

/// Microseconds as "2026-11-20", UTC.
#[askama::filter_fn]
pub fn iso_date<T: Int>(micros: T, _: &dyn Values) -> Result<String> {
    Ok(format::iso_date(micros.int()))
}

/// A page has a hundred of these: no formatting, and one allocation.
fn symbol(class: &str, name: &str) -> HtmlSafeOutput<String> {
    let file = assets::url("icons.svg");
    let name = format::escape(name);
    let parts =
        [r#"<svg class=""#, class, r#"" aria-hidden="true"><use href=""#, file, "#i-", &name, r#""/></svg>"#];
    HtmlSafeOutput(parts.concat())
}
