//! What is in force, as TOML that could be a file again, with where each value came from.

use std::fmt::Write as _;

use super::Config;
use super::error::Origin;
use super::section::Section;
use super::value::{Value as _, quoted};

impl Config {
    /// The whole configuration as TOML, secrets as `***`.
    pub fn print(&self) -> String {
        // What follows from other keys is shown too.
        let mut shown = self.clone();
        shown.server.public_url.get_or_insert(self.public_url.clone());
        shown.server.profile.get_or_insert(self.profile);
        let mut out = String::new();
        for section in shown.sections() {
            self.print_section(section.name(), section, &mut out);
        }
        for (name, upstream) in &shown.upstreams {
            self.print_section(&format!("upstreams.{name}"), upstream, &mut out);
        }
        for (name, provider) in &shown.providers {
            self.print_section(&format!("providers.{name}"), provider, &mut out);
        }
        out
    }

    fn print_section(&self, name: &str, section: &dyn Section, out: &mut String) {
        let gap = if out.is_empty() { "" } else { "\n" };
        let _ = writeln!(out, "{gap}[{name}]");
        for key in section.keys() {
            let origin = self.origins.get(&format!("{name}.{}", key.name)).unwrap_or(&Origin::Default);
            let _ = match section.show(key.name) {
                Some(value) => writeln!(out, "{} = {value} # {origin}", key.name),
                None => writeln!(out, "# {} is not set", key.name),
            };
        }
    }
}

/// Where the data lives, for a line of the log: without a password.
impl std::fmt::Display for super::DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.show().unwrap_or_else(|| quoted("")))
    }
}
