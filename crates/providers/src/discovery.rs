//! What a provider says of itself, and its keys (OpenID Connect Discovery 1.0), kept for an hour.

use std::collections::HashMap;
use std::sync::Arc;

use base::{Clock, HOUR, MINUTE, Micros};
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::{AdditionalProviderMetadata, JsonWebKey as _, LogoutProviderMetadata, ProviderMetadata};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::ProviderError;
use crate::calls::Calls;
use crate::exchange::ClientAuth;
use crate::settings::{Preset, Settings, is_guid};

/// How long discovery and keys are believed.
const KEPT: Micros = HOUR;
/// An unknown key id makes us ask for the keys again, at most this often.
const ASKED_AGAIN: Micros = MINUTE;
/// Stands in Microsoft's issuer where the tenant of each person comes.
const TENANT_ID: &str = "{tenantid}";
/// Microsoft's tenant of personal accounts, as its documents name it.
const PERSONAL_TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// What RFC 9207 adds to the metadata.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct IssParameter {
    #[serde(default)]
    authorization_response_iss_parameter_supported: Option<bool>,
}
impl AdditionalProviderMetadata for IssParameter {}

type Metadata = ProviderMetadata<
    LogoutProviderMetadata<IssParameter>,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// A provider as its metadata describe it; every address in it may be called or visited.
#[derive(Debug)]
pub(crate) struct Found {
    pub issuer: Issuer,
    pub authorize: Url,
    pub token: Url,
    pub user_info: Option<Url>,
    pub end_session: Option<Url>,
    pub client_auth: ClientAuth,
    /// It always sends `iss` to the redirect address (RFC 9207).
    pub sends_iss: bool,
    jwks: Url,
}

/// Who must have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Issuer {
    /// This one, letter for letter.
    Exact(String),
    /// Microsoft for several tenants: `{tenantid}` stands for the token's `tid`.
    Tenants { template: String, only_work: bool },
}

impl Issuer {
    /// The one issuer that a token with this `tid` may come from. `None`: none may.
    pub fn of_tenant(&self, tid: Option<&str>) -> Option<String> {
        match self {
            Self::Exact(issuer) => Some(issuer.clone()),
            Self::Tenants { template, only_work } => {
                let tid = tid.filter(|tid| is_guid(tid) && !(*only_work && *tid == PERSONAL_TENANT))?;
                Some(template.replace(TENANT_ID, tid))
            }
        }
    }

    /// Whether an `iss` parameter names it (RFC 9207).
    pub fn admits(&self, iss: &str) -> bool {
        match self {
            Self::Exact(issuer) => issuer == iss,
            Self::Tenants { template, .. } => tenant_in(template, iss).is_some(),
        }
    }
}

/// The tenant that stands in `text` where the template has its place.
fn tenant_in<'a>(template: &str, text: &'a str) -> Option<&'a str> {
    let (before, after) = template.split_once(TENANT_ID)?;
    let tenant = text.strip_prefix(before)?.strip_suffix(after)?;
    (tenant == TENANT_ID || is_guid(tenant)).then_some(tenant)
}

/// A public key, and the issuer that it may sign for where it says so (Microsoft).
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub key: CoreJsonWebKey,
    issuer: Option<String>,
}

impl Key {
    /// Whether it may sign for this issuer.
    pub fn signs_for(&self, issuer: &str) -> bool {
        self.issuer.as_deref().is_none_or(|own| own == issuer || tenant_in(own, issuer).is_some())
    }

    pub fn has_id(&self, kid: &str) -> bool {
        self.key.key_id().is_some_and(|id| id.as_str() == kid)
    }
}

type Keys = Arc<Vec<Key>>;

#[derive(Default)]
struct Entry {
    found: Option<(Arc<Found>, Micros)>,
    keys: Option<(Keys, Micros)>,
    asked_again: Option<Micros>,
}

/// Discovery and keys of all providers, by the address of the metadata.
pub(crate) struct Cache {
    clock: Clock,
    entries: Mutex<HashMap<String, Entry>>,
}

impl Cache {
    pub fn new(clock: Clock) -> Self {
        Self { clock, entries: Mutex::default() }
    }

    /// The provider's metadata, checked.
    pub async fn find(&self, calls: &Calls<'_>) -> Result<Arc<Found>, ProviderError> {
        let place = place(calls.settings);
        let now = self.clock.monotonic();
        let kept = self.entries.lock().get(&place).and_then(|entry| fresh(entry.found.as_ref(), now));
        if let Some(found) = kept {
            return Ok(found);
        }
        let document = calls.get(&address(calls)?, None, "application/json").await?;
        let found = Arc::new(read(calls, document)?);
        self.entries.lock().entry(place).or_default().found = Some((found.clone(), now));
        Ok(found)
    }

    /// The provider's keys.
    pub async fn keys(&self, calls: &Calls<'_>, found: &Found) -> Result<Keys, ProviderError> {
        let now = self.clock.monotonic();
        let entry = |cache: &Self| {
            let entries = cache.entries.lock();
            fresh(entries.get(&place(calls.settings))?.keys.as_ref(), now)
        };
        match entry(self) {
            Some(keys) => Ok(keys),
            None => self.fetch_keys(calls, found).await,
        }
    }

    /// The keys anew, because one is unknown: rotation. `None` within a minute of the last time, so that forged
    /// key ids make no calls.
    pub async fn keys_again(&self, calls: &Calls<'_>, found: &Found) -> Result<Option<Keys>, ProviderError> {
        let now = self.clock.monotonic();
        {
            let mut entries = self.entries.lock();
            let entry = entries.entry(place(calls.settings)).or_default();
            if entry.asked_again.is_some_and(|at| now - at < ASKED_AGAIN) {
                return Ok(None);
            }
            entry.asked_again = Some(now);
        }
        self.fetch_keys(calls, found).await.map(Some)
    }

    async fn fetch_keys(&self, calls: &Calls<'_>, found: &Found) -> Result<Keys, ProviderError> {
        let now = self.clock.monotonic();
        let mut document = calls.get(&found.jwks, None, "application/json").await?;
        let Some(Value::Array(all)) = document.get_mut("keys").map(Value::take) else {
            return Err(calls.down("its keys are not a JWK Set"));
        };
        let keys = all.into_iter().filter_map(|jwk| {
            let issuer = jwk.get("issuer").and_then(Value::as_str).map(str::to_owned);
            // A kind of key that is not known is left out: RFC 7517, 5.
            Some(Key { key: serde_json::from_value(jwk).ok()?, issuer })
        });
        let keys: Keys = Arc::new(keys.collect());
        self.entries.lock().entry(place(calls.settings)).or_default().keys = Some((keys.clone(), now));
        Ok(keys)
    }
}

fn fresh<T: Clone>(kept: Option<&(T, Micros)>, now: Micros) -> Option<T> {
    kept.filter(|(_, at)| now - at < KEPT).map(|(what, _)| what.clone())
}

/// Where the metadata are.
pub(crate) fn address(calls: &Calls<'_>) -> Result<Url, ProviderError> {
    Url::parse(&place(calls.settings)).map_err(|_| calls.down("its issuer is not an address"))
}

fn place(settings: &Settings) -> String {
    format!("{}/.well-known/openid-configuration", settings.root())
}

/// Metadata whose issuer is the configured one (SEC-69), and whose addresses may be used.
pub(crate) fn read(calls: &Calls<'_>, document: Value) -> Result<Found, ProviderError> {
    let metadata: Metadata = serde_json::from_value(document)
        .map_err(|error| calls.down(&format!("its metadata cannot be read: {error}")))?;
    let told = metadata.issuer().as_str();
    let issuer = issuer(calls.settings, told).ok_or_else(|| {
        calls.not_verified(&format!("it says that it is {told}, and is configured otherwise"))
    })?;
    let token = metadata.token_endpoint().ok_or_else(|| calls.down("it has no token endpoint"))?;
    let methods = metadata.token_endpoint_auth_methods_supported();
    let logout = metadata.additional_metadata();
    Ok(Found {
        issuer,
        authorize: calls.for_browser(metadata.authorization_endpoint().url())?,
        token: token.url().clone(),
        user_info: metadata.userinfo_endpoint().map(|endpoint| endpoint.url().clone()),
        end_session: match &logout.end_session_endpoint {
            Some(endpoint) => Some(calls.for_browser(endpoint.url())?),
            None => None,
        },
        // Discovery, 3: without a list it is client_secret_basic.
        client_auth: match methods {
            Some(all)
                if !all.contains(&CoreClientAuthMethod::ClientSecretBasic)
                    && all.contains(&CoreClientAuthMethod::ClientSecretPost) =>
            {
                ClientAuth::Post
            }
            _ => ClientAuth::Basic,
        },
        sends_iss: logout.additional_metadata.authorization_response_iss_parameter_supported == Some(true),
        jwks: metadata.jwks_uri().url().clone(),
    })
}

/// The issuer that tokens must name, if the metadata's is one that these settings expect. A slash at the end is
/// the only liberty, because addresses are kept with it.
fn issuer(settings: &Settings, told: &str) -> Option<Issuer> {
    let root = settings.root();
    if settings.preset != Preset::Microsoft {
        return (told.trim_end_matches('/') == root).then(|| Issuer::Exact(told.to_owned()));
    }
    let tenant = settings.tenant.as_deref().unwrap_or_default();
    let template = root.replacen(&format!("/{tenant}/v2.0"), &format!("/{TENANT_ID}/v2.0"), 1);
    let named = tenant_in(&template, told)?;
    if named == TENANT_ID {
        // Only the names for several tenants may leave it open.
        let several = !is_guid(tenant) && !tenant.contains('.');
        return several.then(|| match tenant {
            "consumers" => Issuer::Exact(template.replace(TENANT_ID, PERSONAL_TENANT)),
            _ => Issuer::Tenants { template, only_work: tenant == "organizations" },
        });
    }
    (!is_guid(tenant) || tenant.eq_ignore_ascii_case(named)).then(|| Issuer::Exact(told.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn microsoft(tenant: &str) -> Settings {
        Settings {
            name: "microsoft".to_owned(),
            preset: Preset::Microsoft,
            label: String::new(),
            client_id: "id".to_owned(),
            client_secret: "secret".to_owned(),
            base_url: None,
            tenant: Some(tenant.to_owned()),
            issuer: None,
            scopes: Vec::new(),
        }
    }

    #[test]
    fn sec_69_microsofts_issuer_holds_the_tenant_of_the_token() {
        const TENANT: &str = "11111111-2222-3333-4444-555555555555";
        const OPEN: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";
        let one = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
        let common = issuer(&microsoft("common"), OPEN).expect("common");
        assert_eq!(common.of_tenant(Some(TENANT)), Some(one.clone()));
        assert_eq!(common.of_tenant(Some("x/../y")), None);
        assert_eq!(common.of_tenant(None), None);
        assert!(common.admits(&one) && !common.admits("https://evil.example/v2.0"));
        let work = issuer(&microsoft("organizations"), OPEN).expect("organizations");
        assert_eq!(work.of_tenant(Some(PERSONAL_TENANT)), None);
        // A tenant of its own is fixed, by id or by what its domain leads to.
        assert_eq!(issuer(&microsoft(TENANT), &one), Some(Issuer::Exact(one.clone())));
        assert_eq!(issuer(&microsoft("contoso.com"), &one), Some(Issuer::Exact(one.clone())));
        assert_eq!(issuer(&microsoft(TENANT), OPEN), None);
        assert_eq!(issuer(&microsoft("contoso.com"), OPEN), None);
        assert_eq!(issuer(&microsoft(PERSONAL_TENANT), &one), None);
        assert_eq!(issuer(&microsoft("common"), "https://login.example/{tenantid}/v2.0"), None);
    }

    #[test]
    fn sec_69_a_key_for_one_tenant_signs_for_no_other() {
        let jwk = serde_json::json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "k"});
        let key = |issuer: Option<&str>| Key {
            key: serde_json::from_value(jwk.clone()).expect("a key"),
            issuer: issuer.map(str::to_owned),
        };
        let token = "https://l.example/11111111-2222-3333-4444-555555555555/v2.0";
        assert!(key(None).signs_for(token));
        assert!(key(Some("https://l.example/{tenantid}/v2.0")).signs_for(token));
        assert!(key(Some(token)).signs_for(token));
        assert!(!key(Some("https://l.example/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0")).signs_for(token));
        assert!(key(None).has_id("k") && !key(None).has_id("j"));
    }
}
