//! Where values come from, from the weakest to the strongest: `anteroom.toml`, the `.env` file,
//! variables under plain names, variables under `ANTEROOM_…`, flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml_edit::{ImDocument, Item, TableLike};

use super::error::{ConfigError, Origin, Warning, nearest};
use super::providers::{self, Provider};
use super::section::{Key, Section};
use super::upstreams::{self, Upstream};
use super::value::Raw;
use super::{Config, Flags, dotenv};

/// Plain names, which other programs use too. Of two for one key the later one wins.
pub const PLAIN: &[(&str, &str)] = &[
    ("DATABASE_URL", "database.url"),
    ("SECRET_KEY", "secrets.secret_key"),
    ("MAIL_SERVER", "mail.server"),
    ("MAIL_PORT", "mail.port"),
    ("MAIL_USE_TLS", "mail.use_tls"),
    ("MAIL_USE_SSL", "mail.use_ssl"),
    ("MAIL_USERNAME", "mail.username"),
    ("MAIL_PASSWORD", "mail.password"),
    ("MAIL_DEFAULT_SENDER", "mail.from"),
    ("MAIL_FROM", "mail.from"),
    ("OPENAI_BASE_URL", "upstreams.openai.base_url"),
    ("OPENAI_API_KEY", "upstreams.openai.api_key"),
];

const PREFIX: &str = "ANTEROOM_";
/// Names the configuration file, as `--config` does.
const FILE_VARIABLE: &str = "ANTEROOM_CONFIG";
/// Variables of the test suite, which this is none of the business of.
const TEST_PREFIX: &str = "ANTEROOM_TEST_";

/// A table of sections that the operator names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Upstreams,
    Providers,
}

impl Named {
    pub const ALL: [Self; 2] = [Self::Upstreams, Self::Providers];

    /// Its name in `anteroom.toml`.
    pub fn table(self) -> &'static str {
        match self {
            Self::Upstreams => "upstreams",
            Self::Providers => "providers",
        }
    }

    /// The table and the name in `upstreams.openai`.
    pub fn split(section: &str) -> Option<(Self, &str)> {
        let (table, name) = section.split_once('.')?;
        Self::ALL.into_iter().find(|named| named.table() == table).map(|named| (named, name))
    }

    fn is_name(self, name: &str) -> bool {
        match self {
            Self::Upstreams => upstreams::is_name(name),
            Self::Providers => providers::is_name(name),
        }
    }

    /// What a name is made of, for an error.
    fn letters(self) -> &'static str {
        match self {
            Self::Upstreams => "small letters, digits, - and _",
            Self::Providers => "small letters, digits and -",
        }
    }

    /// A section of the table without anything set.
    pub fn blank(self) -> Box<dyn Section> {
        match self {
            Self::Upstreams => Box::new(Upstream::default()),
            Self::Providers => Box::new(Provider::default()),
        }
    }
}

/// A value on its way to its key.
pub struct Entry {
    /// `mail.port`, `upstreams.openai.api_key`
    pub path: String,
    pub raw: Raw,
    pub origin: Origin,
}

/// All that the sources say, weakest first, and what is wrong with their names.
#[derive(Default)]
pub struct Gathered {
    pub entries: Vec<Entry>,
    pub faults: Vec<String>,
    pub warnings: Vec<Warning>,
    /// The files that were read, for the check of their permissions.
    pub toml: Option<PathBuf>,
    pub dotenv: Option<PathBuf>,
}

/// Reads every source. What a file says wrongly is a fault; only one that cannot be read at all is
/// an error.
pub fn gather(flags: &Flags, env: &BTreeMap<String, String>, cwd: &Path) -> Result<Gathered, ConfigError> {
    let mut out = Gathered::default();
    let from_dotenv = read_dotenv(cwd, &mut out)?;

    let named = flags
        .config
        .clone()
        .or_else(|| env.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
    let path = cwd.join(named.as_deref().unwrap_or(Path::new("anteroom.toml")));
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            read_toml(&text, &path, &mut out);
            out.toml = Some(path);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {}
        Err(error) => {
            return Err(ConfigError::one(format!(
                "{}: the configuration cannot be read: {error}",
                path.display()
            )));
        }
    }

    let dotenv: BTreeMap<&str, (&str, Origin)> = from_dotenv
        .iter()
        .map(|line| {
            (line.name.as_str(), (line.value.as_str(), Origin::DotEnv(line.name.clone(), line.number)))
        })
        .collect();
    let process: BTreeMap<&str, (&str, Origin)> = env
        .iter()
        .map(|(name, value)| (name.as_str(), (value.as_str(), Origin::Variable(name.clone()))))
        .collect();
    for name in dotenv.keys() {
        if !name.starts_with(PREFIX) && !PLAIN.iter().any(|(plain, _)| plain == name) {
            let hint = match nearest(name, variable_names()) {
                Some(known) => format!("; did you mean {known}?"),
                None => String::new(),
            };
            out.warnings.push(Warning(format!("{name} in .env is not a name that the server knows{hint}")));
        }
    }
    read_variables(&dotenv, &mut out);
    read_variables(&process, &mut out);

    for (name, path, value) in [
        ("--listen", "server.listen", &flags.listen),
        ("--public-url", "server.public_url", &flags.public_url),
        ("--data-dir", "server.data_dir", &flags.data_dir),
        ("--profile", "server.profile", &flags.profile),
    ] {
        if let Some(value) = value {
            out.push(path, Raw::Text(value.clone()), Origin::Flag(name));
        }
    }
    Ok(out)
}

impl Gathered {
    fn push(&mut self, path: &str, raw: Raw, origin: Origin) {
        self.entries.push(Entry { path: path.to_owned(), raw, origin });
    }

    fn unknown(&mut self, written: &str, origin: &Origin, meant: Option<String>) {
        let hint = meant.map_or(String::new(), |known| format!("; did you mean {known}?"));
        // A variable is named by its origin already.
        self.faults.push(match origin {
            Origin::Variable(_) | Origin::DotEnv(..) => format!("{origin}: unknown variable{hint}"),
            _ => format!("{written} ({origin}): unknown key{hint}"),
        });
    }
}

fn read_dotenv(cwd: &Path, out: &mut Gathered) -> Result<Vec<dotenv::Line>, ConfigError> {
    let path = cwd.join(".env");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ConfigError::one(format!("{}: cannot be read: {error}", path.display()))),
    };
    out.dotenv = Some(path);
    dotenv::parse(&text).or_else(|(number, words)| {
        out.faults.push(format!(".env, line {number}: {words}"));
        Ok(Vec::new())
    })
}

fn read_variables(variables: &BTreeMap<&str, (&str, Origin)>, out: &mut Gathered) {
    for (name, path) in PLAIN {
        match variables.get(name) {
            // Docker Compose passes on what is not set as empty.
            Some((value, origin)) if !value.is_empty() => {
                out.push(path, Raw::Text((*value).to_owned()), origin.clone());
            }
            _ => {}
        }
    }
    for (name, (value, origin)) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if name.starts_with(TEST_PREFIX) || *name == FILE_VARIABLE {
            continue;
        }
        let Some(path) = variable_path(rest) else {
            out.unknown(name, origin, nearest(name, variable_names()));
            continue;
        };
        if !value.is_empty() || key_of(&path).is_some_and(|key| key.text) {
            out.push(&path, Raw::Text((*value).to_owned()), origin.clone());
        }
    }
}

/// The key that `ANTEROOM_<rest>` sets.
fn variable_path(rest: &str) -> Option<String> {
    if rest.chars().any(|c| c.is_ascii_lowercase()) {
        return None;
    }
    let mut path = rest.to_ascii_lowercase().replace("__", ".");
    // A shell's variable can hold no hyphen, and the name of a provider no underscore.
    if let Some((table, name, key)) = parts(&path).filter(|(table, ..)| *table == Named::Providers.table()) {
        path = format!("{table}.{}.{key}", name.replace('_', "-"));
    }
    let short = format!("server.{path}");
    [path, short].into_iter().find(|path| key_of(path).is_some())
}

/// Table, name and key.
fn parts(path: &str) -> Option<(&str, &str, &str)> {
    let (section, key) = path.rsplit_once('.')?;
    let (table, name) = section.split_once('.')?;
    Some((table, name, key))
}

/// The key at `path`, if there is one of that name.
pub fn key_of(path: &str) -> Option<&'static Key> {
    let (section, name) = path.rsplit_once('.')?;
    let keys = match Named::split(section) {
        Some((named, of)) if named.is_name(of) => named.blank().keys(),
        _ => Config::default().section(section)?.keys(),
    };
    keys.iter().find(|key| key.name == name)
}

/// Every path but those of named sections.
fn paths() -> Vec<String> {
    let defaults = Config::default();
    let sections = defaults.sections();
    sections.iter().flat_map(|section| paths_in(section.name(), *section)).collect()
}

fn paths_in(prefix: &str, section: &dyn Section) -> Vec<String> {
    section.keys().iter().map(|key| format!("{prefix}.{}", key.name)).collect()
}

/// Every variable, for a hint.
fn variable_names() -> Vec<String> {
    let named = Named::ALL
        .into_iter()
        .flat_map(|named| paths_in(&format!("{}.name", named.table()), &*named.blank()));
    let long = paths().into_iter().chain(named).map(|path| variable_of(&path));
    let short = Config::default()
        .server
        .keys()
        .iter()
        .map(|key| format!("{PREFIX}{}", key.name.to_ascii_uppercase()))
        .collect::<Vec<_>>();
    long.chain(short).chain(PLAIN.iter().map(|(name, _)| (*name).to_owned())).collect()
}

/// The variable of a key: `ANTEROOM_MAIL__PORT` of `mail.port`.
pub fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}

fn read_toml(text: &str, path: &Path, out: &mut Gathered) {
    let at = |span: Option<std::ops::Range<usize>>| {
        let before = text.get(..span.map_or(0, |span| span.start)).unwrap_or("");
        Origin::File(path.to_owned(), before.matches('\n').count() + 1)
    };
    let document = match ImDocument::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let words = error.message().lines().collect::<Vec<_>>().join(", ");
            let words = if words.is_empty() { "something is missing or too much here" } else { &words };
            out.faults.push(format!("{}: not TOML: {words}", at(error.span())));
            return;
        }
    };
    let root = document.as_table();
    let origin_in = |table: &dyn TableLike, name: &str| at(table.key(name).and_then(toml_edit::Key::span));
    for (name, item) in root.iter() {
        let origin = origin_in(root, name);
        let named = Named::ALL.into_iter().find(|named| named.table() == name);
        if named.is_none() && Config::default().section(name).is_none() {
            out.unknown(name, &origin, meant_path(name));
            continue;
        }
        let Some(table) = item.as_table_like() else {
            out.faults.push(format!("{name} ({origin}): expected a table, [{name}]"));
            continue;
        };
        for (inner, item) in table.iter() {
            let origin = origin_in(table, inner);
            let Some(named) = named else {
                read_item(&format!("{name}.{inner}"), item, origin, out);
                continue;
            };
            match item.as_table_like() {
                _ if !named.is_name(inner) => out.faults.push(format!(
                    "{name}.{inner} ({origin}): expected a name of at most 32 {}",
                    named.letters()
                )),
                None => {
                    out.faults.push(format!("{name}.{inner} ({origin}): expected a table, [{name}.name]"));
                }
                Some(section) => {
                    for (key, item) in section.iter() {
                        let path = format!("{name}.{inner}.{key}");
                        read_item(&path, item, origin_in(section, key), out);
                    }
                }
            }
        }
    }
}

fn read_item(path: &str, item: &Item, origin: Origin, out: &mut Gathered) {
    if key_of(path).is_none() {
        return out.unknown(path, &origin, meant_path(path));
    }
    if let Ok(value) = item.clone().into_value() {
        out.push(path, Raw::Toml(value), origin);
    }
}

/// The key that was probably meant: by its whole path, or by its name in another section.
fn meant_path(written: &str) -> Option<String> {
    if let Some((section, _)) = written.rsplit_once('.')
        && let Some((named, _)) = Named::split(section)
    {
        return nearest(written, paths_in(section, &*named.blank()));
    }
    let name = written.rsplit('.').next().unwrap_or(written);
    let elsewhere = paths().into_iter().find(|path| path.rsplit('.').next() == Some(name));
    let sections = Config::default().sections().map(|section| section.name().to_owned());
    let known = if written.contains('.') { paths() } else { sections.into() };
    nearest(written, known).or(elsewhere)
}
