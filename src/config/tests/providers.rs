//! Tests of `[providers.<name>]`.

use ::providers::Preset;

use super::*;

fn toml(text: &str) -> Given {
    Given::nothing().toml(text)
}

#[test]
fn a_provider_comes_from_the_file_or_from_variables() {
    let given = toml(
        "[providers.google]\nclient_id = 'g'\nclient_secret = 's'\nallowed_domains = ['example.org']\n\
         [providers.staff-id]\npreset = 'oidc'\nlabel = 'Staff'\nissuer = 'https://id.example.org/realms/staff'\n\
         client_id = 'a'\nclient_secret = 'b'\nscopes = ['groups']\nsign_up = false\ntrusted_email = true\n\
         second_factor = 'stands'\nsecond_factor_acr = ['gold']\nsecond_factor_amr = ['mfa', 'hwk']\n\
         role_claim = 'groups'\nroles = ['cn=a,dc=b=User']\nlogout = true\n",
    )
    // In a variable hyphens are underscores, and lists have commas.
    .var("ANTEROOM_PROVIDERS__STAFF_ID__CLIENT_ID", "from-variable")
    .var("ANTEROOM_PROVIDERS__STAFF_ID__ROLES", "staff=User, admins=Admin")
    .var("ANTEROOM_PROVIDERS__MICROSOFT__CLIENT_ID", "m")
    .var("ANTEROOM_PROVIDERS__MICROSOFT__CLIENT_SECRET", "0123456")
    .var("ANTEROOM_PROVIDERS__MICROSOFT__TENANT", "example.org")
    .var("ANTEROOM_PROVIDERS__MICROSOFT__SIGN_UP", "no")
    .var("ANTEROOM_PROVIDERS__LAB__PRESET", "gitlab")
    .var("ANTEROOM_PROVIDERS__LAB__BASE_URL", "https://gitlab.example.org")
    .var("ANTEROOM_PROVIDERS__LAB__CLIENT_ID", "l")
    .var("ANTEROOM_PROVIDERS__LAB__CLIENT_SECRET", "l");
    let config = given.config();
    let names: Vec<&str> = config.providers.keys().map(String::as_str).collect();
    assert_eq!(names, ["google", "lab", "microsoft", "staff-id"]);
    let setup = |name: &str| config.providers[name].setup(name);
    // The name says the preset, unless it is said.
    let presets = names.iter().map(|name| setup(name).preset).collect::<Vec<_>>();
    assert_eq!(presets, [Preset::Google, Preset::GitLab, Preset::Microsoft, Preset::Oidc]);
    assert_eq!(config.providers["microsoft"].client_secret.expose(), "0123456");
    assert!(!setup("microsoft").sign_up && setup("lab").sign_up);
    let staff = &config.providers["staff-id"];
    let built = staff.setup("staff-id").build("staff-id", staff.client_secret.expose()).unwrap();
    assert_eq!((built.label(), built.settings.client_id.as_str()), ("Staff", "from-variable"));
    assert!(built.logout && built.rules.trusted_email && !built.rules.sign_up);
    let roles = [("staff", "User"), ("admins", "Admin")];
    assert_eq!(built.rules.roles, roles.map(|(value, role)| (value.to_owned(), role.to_owned())));
    let methods = ["mfa".to_owned(), "hwk".to_owned()].into();
    let stands = accounts::Stands::If { acr: ["gold".to_owned()].into(), amr: methods };
    assert_eq!(built.rules.second_factor, stands);
}

/// Docker Compose hands on variables that nobody set as empty ones.
#[test]
fn empty_variables_make_no_provider() {
    let given = Given::nothing()
        .var("ANTEROOM_PROVIDERS__GOOGLE__CLIENT_ID", "")
        .var("ANTEROOM_PROVIDERS__GOOGLE__CLIENT_SECRET", "")
        .var("ANTEROOM_PROVIDERS__OIDC__ISSUER", "")
        .var("ANTEROOM_PROVIDERS__OIDC__LABEL", "Company");
    assert!(given.config().providers.is_empty());
    // Half of one is a mistake.
    let given = given.var("ANTEROOM_PROVIDERS__GOOGLE__CLIENT_ID", "g");
    insta::assert_snapshot!(given.error(), @"providers.google.client_secret (variable ANTEROOM_PROVIDERS__GOOGLE__CLIENT_SECRET): Enter the client secret that the provider gave you.");
}

#[test]
fn what_is_wrong_with_a_provider_is_one_line() {
    let error = |more: &str| {
        toml(&format!("[providers.corp]\nclient_id = 'a'\nclient_secret = 'hidden-secret'\n{more}\n")).error()
    };
    insta::assert_snapshot!(error(""), @"providers.corp.issuer: Enter the provider's issuer, an https:// address.");
    insta::assert_snapshot!(error("issuer = 'id.example.org'"), @"providers.corp.issuer (anteroom.toml, line 4): Use a full address that begins with https://.");
    insta::assert_snapshot!(error("issuer = 'http://id.example.org'"), @"providers.corp.issuer (anteroom.toml, line 4): Use an https:// address without query or user name.");
    insta::assert_snapshot!(error("preset = 'yahoo'"), @r#"providers.corp.preset = "yahoo" (anteroom.toml, line 4): expected google, gitlab, github, microsoft or oidc"#);
    insta::assert_snapshot!(error("preset = 'google'\nbase_url = 'https://a.example'\nallowed_domains = ['no domain']"), @r#"
    providers.corp.allowed_domains (anteroom.toml, line 6): "no" is no mail domain; write it like example.org.
    providers.corp.base_url (anteroom.toml, line 5): Only GitLab, GitHub and Microsoft take a base URL.
    "#);
    insta::assert_snapshot!(error("preset = 'github'\nscopes = ['a b']\nlabel = 'An endless label of more than forty letters'"), @r"
    providers.corp.label (anteroom.toml, line 6): A label has up to 40 characters on one line.
    providers.corp.scopes (anteroom.toml, line 5): Each scope is one word without spaces, quotes or backslashes.
    ");
    insta::assert_snapshot!(error("preset = 'github'\nroles = ['staff']\nrole_claim = 'groups'"), @"providers.corp.roles (anteroom.toml, line 5): “staff” is no pair: write value=Role, such as staff=User.");
    insta::assert_snapshot!(error("preset = 'github'\nroles = ['staff=User']"), @"providers.corp.role_claim: Name the claim that these roles come from.");
    insta::assert_snapshot!(error("preset = 'github'\nrole_claim = 'groups'\nsecond_factor_amr = ['mfa']"), @r"
    providers.corp.roles: Say which value gives which role, such as staff=User.
    providers.corp.second_factor: acr and amr count only where the provider stands for the second factor.
    ");
    insta::assert_snapshot!(error("preset = 'microsoft'"), @"providers.corp.tenant: Enter the tenant's id or domain, or organizations for any.");
    insta::assert_snapshot!(error("preset = 'microsoft'\ntenant = 'a/b'\nissuer = 'https://a.example'"), @"providers.corp.tenant (anteroom.toml, line 5): Use an id, a domain, organizations, consumers or common.");
    insta::assert_snapshot!(error("preset = 'github'\nsecond_factor = 'skip'\nsign_up = 'yes'"), @r#"
    providers.corp.second_factor = "skip" (anteroom.toml, line 5): expected ask or stands
    providers.corp.sign_up = "yes" (anteroom.toml, line 6): expected true or false
    "#);
    let missing = toml("[providers.github]\nclient_id = 'a'").error();
    insta::assert_snapshot!(missing, @"providers.github.client_secret: Enter the client secret that the provider gave you.");
}

#[test]
fn wrong_names_are_told() {
    let rest = "client_id = 'a'\nclient_secret = 'b'\npreset = 'github'\n";
    let named = |name: &str| toml(&format!("[providers.'{name}']\n{rest}")).error();
    insta::assert_snapshot!(named("2fa"), @"providers.2fa.name: This name is taken by a page; choose another.");
    insta::assert_snapshot!(named("passkey"), @"providers.passkey.name: This name is taken by a page; choose another.");
    insta::assert_snapshot!(named("Corp ID"), @"providers.Corp ID (anteroom.toml, line 1): expected a name of at most 32 small letters, digits and -");
    insta::assert_snapshot!(named("corp_id"), @"providers.corp_id (anteroom.toml, line 1): expected a name of at most 32 small letters, digits and -");
    insta::assert_snapshot!(named(&"x".repeat(33)), @"providers.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx (anteroom.toml, line 1): expected a name of at most 32 small letters, digits and -");
    let error = toml(&format!("[providers.corp]\n{rest}clientid = 'x'\n")).error();
    insta::assert_snapshot!(error, @"providers.corp.clientid (anteroom.toml, line 5): unknown key; did you mean providers.corp.client_id?");
    let error = Given::nothing().var("ANTEROOM_PROVIDERS__CORP__CLIENTID", "x").error();
    insta::assert_snapshot!(error, @"variable ANTEROOM_PROVIDERS__CORP__CLIENTID: unknown variable; did you mean ANTEROOM_PROVIDERS__NAME__CLIENT_ID?");
    insta::assert_snapshot!(toml("providers = 1\n").error(), @"providers (anteroom.toml, line 1): expected a table, [providers]");
}

/// SEC-97
#[test]
fn sec_97_the_secret_is_never_shown() {
    let given = toml("[providers.github]\nclient_id = 'a'\nclient_secret = 'hidden-secret'\n")
        .var("ANTEROOM_PROVIDERS__HUB__PRESET", "github")
        .var("ANTEROOM_PROVIDERS__HUB__CLIENT_ID", "b")
        .var("ANTEROOM_PROVIDERS__HUB__CLIENT_SECRET", "hidden-secret");
    let config = given.config();
    let printed = config.print();
    assert!(printed.contains("[providers.github]") && printed.contains("[providers.hub]"), "{printed}");
    assert!(!printed.contains("hidden-secret") && !format!("{config:?}").contains("hidden-secret"));
    let wrong = Given::nothing().toml("[providers.github]\nclient_secret = ['hidden-secret']\n");
    assert!(!wrong.error().contains("hidden-secret"), "{}", wrong.error());
}

/// Where anybody can have an account, and nothing here asks for more.
#[test]
fn production_warns_where_anybody_may_sign_up() {
    let google = || {
        Given::production()
            .var("ANTEROOM_PROVIDERS__GOOGLE__CLIENT_ID", "a")
            .var("ANTEROOM_PROVIDERS__GOOGLE__CLIENT_SECRET", "b")
    };
    let words = "providers.google: anybody with an account there may sign up here";
    assert!(google().warnings().contains(words), "{}", google().warnings());
    for (name, value) in [
        ("ANTEROOM_PROVIDERS__GOOGLE__ALLOWED_DOMAINS", "example.org"),
        ("ANTEROOM_PROVIDERS__GOOGLE__SIGN_UP", "false"),
        ("ANTEROOM_SIGN_UP__MODE", "closed"),
        ("ANTEROOM_SIGN_UP__ALLOWED_DOMAINS", "example.org"),
    ] {
        let quiet = google().var(name, value).warnings();
        assert!(!quiet.contains("anybody with an account"), "{name}: {quiet}");
    }
    let with = |preset: &str, setting: &str, value: &str| {
        Given::production()
            .var("ANTEROOM_PROVIDERS__CORP__PRESET", preset)
            .var("ANTEROOM_PROVIDERS__CORP__CLIENT_ID", "a")
            .var("ANTEROOM_PROVIDERS__CORP__CLIENT_SECRET", "b")
            .var(&format!("ANTEROOM_PROVIDERS__CORP__{setting}"), value)
            .warnings()
            .contains("providers.corp: anybody")
    };
    assert!(with("github", "LABEL", "Hub") && !with("github", "BASE_URL", "https://git.example.org"));
    assert!(with("gitlab", "LABEL", "Lab") && !with("gitlab", "BASE_URL", "https://git.example.org"));
    assert!(with("microsoft", "TENANT", "organizations") && !with("microsoft", "TENANT", "example.org"));
    assert!(!with("oidc", "ISSUER", "https://id.example.org"));
}
