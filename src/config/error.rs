//! What is wrong with a configuration: a line each, which names the key, where it came from and
//! what was expected. A secret's value is never part of it.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// A line of `anteroom.toml`, from 1.
    File(PathBuf, usize),
    /// A name in `.env` and its line, from 1.
    DotEnv(String, usize),
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                write!(f, "{}, line {line}", name.display())
            }
            Self::DotEnv(name, line) => write!(f, "{name} in .env, line {line}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A configuration that cannot be used; [`fmt::Display`] gives a line for each fault.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub lines: Vec<String>,
}

impl ConfigError {
    pub fn one(line: String) -> Self {
        Self { lines: vec![line] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// What an operator should know although the configuration works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Faults that the checks of the sections find, by the key they concern.
#[derive(Debug, Default)]
pub struct Problems(pub(super) Vec<(String, Problem)>);

#[derive(Debug)]
pub(super) enum Problem {
    /// The value is not what is expected.
    Expected(String),
    /// Words of its own, without the value.
    Says(String),
}

impl Problems {
    /// The value of `path` is not `expected`.
    pub fn add(&mut self, path: &str, expected: &str) {
        self.0.push((path.to_owned(), Problem::Expected(expected.to_owned())));
    }

    /// Something else is wrong about `path`.
    pub fn say(&mut self, path: &str, words: &str) {
        self.0.push((path.to_owned(), Problem::Says(words.to_owned())));
    }

    /// `path` must be set.
    pub fn missing(&mut self, path: &str, expected: &str) {
        self.0.push((path.to_owned(), Problem::Says(format!("missing, expected {expected}"))));
    }
}

/// The name among `known` that `name` was probably meant to be: at most a third of it differs.
pub fn nearest(name: &str, known: impl IntoIterator<Item = String>) -> Option<String> {
    let most = (name.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|candidate| (distance(name, &candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: how many letters to insert, remove or replace.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replace = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
