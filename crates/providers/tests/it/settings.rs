//! What an operator may say.

use providers::{Preset, Settings};
use url::Url;

use crate::settings;

fn field(settings: &Settings) -> Option<&'static str> {
    settings.check().err().map(|error| error.field)
}

fn url(text: &str) -> Option<Url> {
    Some(Url::parse(text).unwrap())
}

#[test]
fn each_preset_says_what_is_missing() {
    assert_eq!(field(&settings(Preset::Google)), None);
    assert_eq!(field(&settings(Preset::GitLab)), None);
    assert_eq!(field(&settings(Preset::GitHub)), None);
    assert_eq!(field(&settings(Preset::Microsoft)), Some("tenant"));
    assert_eq!(field(&settings(Preset::Oidc)), Some("issuer"));
    for (name, wrong) in [("corp-1", false), ("2fa", true), ("link", true), ("Corp", true), ("", true)] {
        let named = Settings { name: name.to_owned(), ..settings(Preset::Google) };
        assert_eq!(field(&named), wrong.then_some("name"), "{name}");
    }
    let base = settings(Preset::Google);
    assert_eq!(field(&Settings { client_id: " ".to_owned(), ..base.clone() }), Some("client_id"));
    assert_eq!(field(&Settings { client_secret: String::new(), ..base.clone() }), Some("client_secret"));
    assert_eq!(field(&Settings { scopes: vec!["a b".to_owned()], ..base.clone() }), Some("scopes"));
    assert_eq!(field(&Settings { base_url: url("https://x.example"), ..base.clone() }), Some("base_url"));
    assert_eq!(field(&Settings { issuer: url("https://x.example"), ..base.clone() }), Some("issuer"));
    assert_eq!(field(&Settings { tenant: Some("common".to_owned()), ..base }), Some("tenant"));
}

#[test]
fn addresses_are_https_unless_they_are_this_machine() {
    for (text, wrong) in [
        ("https://id.example.com/realms/corp", false),
        ("http://127.0.0.1:8080", false),
        ("http://localhost:8080/", false),
        ("http://[::1]:8080", false),
        ("http://id.example.com", true),
        ("http://127.0.0.1.example.com", true),
        ("https://user:pass@id.example.com", true),
        ("https://id.example.com/?x=1", true),
        ("ftp://id.example.com", true),
    ] {
        let oidc = Settings { issuer: url(text), ..settings(Preset::Oidc) };
        assert_eq!(field(&oidc), wrong.then_some("issuer"), "{text}");
        let gitlab = Settings { base_url: url(text), ..settings(Preset::GitLab) };
        assert_eq!(field(&gitlab), wrong.then_some("base_url"), "{text}");
    }
}

#[test]
fn tenants_are_ids_domains_or_names_for_several() {
    for (tenant, wrong) in [
        ("common", false),
        ("organizations", false),
        ("contoso.onmicrosoft.com", false),
        ("11111111-2222-3333-4444-555555555555", false),
        ("contoso", true),
        ("a/../b.c", true),
        ("", true),
    ] {
        let microsoft = Settings { tenant: Some(tenant.to_owned()), ..settings(Preset::Microsoft) };
        assert_eq!(field(&microsoft), wrong.then_some("tenant"), "{tenant}");
    }
}

#[test]
fn labels_and_names_of_presets() {
    for preset in Preset::ALL {
        assert_eq!(Preset::parse(preset.as_str()), Some(preset));
    }
    let plain = |preset| Settings { label: String::new(), ..settings(preset) };
    assert_eq!(plain(Preset::GitHub).label(), "GitHub");
    assert_eq!(plain(Preset::Oidc).label(), "corp");
    assert_eq!(settings(Preset::GitHub).label(), "Corp");
}
