//! The lines of the report.

use std::fmt::Write as _;

/// One figure of the report.
pub struct Line {
    name: String,
    measured: String,
    wanted: String,
    ok: Option<bool>,
}

/// All lines, in the order in which they were measured.
#[derive(Default)]
pub struct Table(Vec<Line>);

impl Table {
    /// A figure that has a wish.
    pub fn judge(&mut self, name: &str, measured: String, wanted: &str, ok: bool) {
        self.add(name, measured, wanted, Some(ok));
    }

    /// A figure that is only told.
    pub fn tell(&mut self, name: &str, measured: String) {
        self.add(name, measured, "", None);
    }

    fn add(&mut self, name: &str, measured: String, wanted: &str, ok: Option<bool>) {
        eprintln!("   {name}: {measured}");
        self.0.push(Line { name: name.to_owned(), measured, wanted: wanted.to_owned(), ok });
    }

    /// How many wishes were missed.
    pub fn missed(&self) -> usize {
        self.0.iter().filter(|line| line.ok == Some(false)).count()
    }

    /// The table as text, `name | measured | wanted | ok`.
    pub fn print(&self) -> String {
        let columns: [fn(&Line) -> &str; 3] = [|line| &line.name, |line| &line.measured, |line| &line.wanted];
        let widths = columns
            .map(|text| self.0.iter().map(|line| text(line).chars().count()).max().unwrap_or(0).max(8));
        let mut out = String::new();
        let [name, measured, wanted] = widths;
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "| {:<name$} | {:>measured$} | {:<wanted$} |        |",
            "what", "measured", "wanted"
        );
        let _ = writeln!(out, "|{:-<name$}--|-{:->measured$}:|{:-<wanted$}--|--------|", "", "", "");
        for line in &self.0 {
            let word = match line.ok {
                Some(true) => "ok",
                Some(false) => "MISSED",
                None => "",
            };
            let _ = writeln!(
                out,
                "| {:<name$} | {:>measured$} | {:<wanted$} | {word:<6} |",
                line.name, line.measured, line.wanted
            );
        }
        out
    }
}
