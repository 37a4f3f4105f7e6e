//! A bar chart of days, drawn on the server as SVG: geometry in attributes, words in HTML beside it.

use usage::range;
use usage::stats::DayRow;

use crate::view::format;

/// Width of the drawing; its height is 100.
const WIDTH: f64 = 300.0;
/// Lines above the base line.
const STEPS: i64 = 3;

/// A chart of prompts by day. The template draws it and puts the days into a table behind it.
#[derive(Clone, Debug)]
pub struct Chart {
    pub bars: Vec<Bar>,
    /// From the top line down to nought.
    pub scale: Vec<String>,
    /// Dates below: every seventh day, and today.
    pub dates: Vec<String>,
    /// The newest day first.
    pub rows: Vec<Line>,
    /// The chart in one sentence, for those who do not see it.
    pub summary: String,
}

/// A bar, in the units of the drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    pub x: String,
    pub y: String,
    pub width: String,
    pub height: String,
    /// `off` for weekends, `now` for today, which is not over.
    pub class: &'static str,
    /// "Fri 20 Nov: 2,418 prompts"
    pub title: String,
}

/// A day in the table behind the chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// "Fri 20 Nov"
    pub day: String,
    /// "2026-11-20"
    pub date: String,
    pub prompts: i64,
    pub errors: i64,
    pub tokens_in: i64,
    pub tokens_out: i64,
}

impl Chart {
    /// Draws the days, the oldest first; the last one is today. `None` where nothing was prompted.
    pub fn prompts(days: &[DayRow]) -> Option<Self> {
        let most = days.iter().map(|row| row.sums.prompts).max().filter(|most| *most > 0)?;
        let step = round_step(most);
        let top = step * STEPS;
        let slot = WIDTH / ratio_base(days.len());
        let last = days.len() - 1;
        let bars = (0..)
            .zip(days)
            .map(|(at, row)| {
                let height = share(row.sums.prompts, top) * 100.0;
                Bar {
                    x: decimal(slot * ratio_base(at) + slot * 0.14),
                    y: decimal(100.0 - height),
                    width: decimal(slot * 0.72),
                    height: decimal(height),
                    class: match row.day {
                        _ if at == last => " now",
                        day if is_weekend(day) => " off",
                        _ => "",
                    },
                    title: format!(
                        "{}: {}",
                        name(row.day),
                        format::counted(row.sums.prompts, "prompt", "prompts")
                    ),
                }
            })
            .collect();
        let scale = (0..=STEPS).rev().map(|line| format::count(step * line)).collect();
        let weekly = days.iter().step_by(7).take(4).map(|row| short(row.day));
        let dates = weekly.chain(days.last().map(|row| short(row.day))).collect();
        let rows = days
            .iter()
            .rev()
            .map(|row| Line {
                day: name(row.day),
                date: range::iso_date(row.day),
                prompts: row.sums.prompts,
                errors: row.sums.errors,
                tokens_in: row.sums.tokens_in,
                tokens_out: row.sums.tokens_out,
            })
            .collect();
        let today = days.last().map_or(0, |row| row.sums.prompts);
        let sum: i64 = days.iter().map(|row| row.sums.prompts).sum();
        let summary = format!(
            "{} in {} days, at most {} on a day, {} so far today",
            format::counted(sum, "prompt", "prompts"),
            days.len(),
            format::count(most),
            format::count(today)
        );
        Some(Self { bars, scale, dates, rows, summary })
    }
}

/// The smallest of 1, 2, 5, 10, 20, 50, … of which [`STEPS`] hold `most`.
fn round_step(most: i64) -> i64 {
    let mut unit = 1_i64;
    loop {
        for factor in [1, 2, 5] {
            let step = unit.saturating_mul(factor);
            if step.saturating_mul(STEPS) >= most {
                return step;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

fn ratio_base(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn share(part: i64, whole: i64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn decimal(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// 1970-01-01 was a Thursday.
fn weekday(day: i64) -> usize {
    usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0)
}

fn is_weekend(day: i64) -> bool {
    weekday(day) >= 5
}

/// "Fri 20 Nov"
fn name(day: i64) -> String {
    const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    format!("{} {}", NAMES.get(weekday(day)).copied().unwrap_or(""), short(day))
}

/// "20 Nov"
fn short(day: i64) -> String {
    let date = format::date(day.saturating_mul(base::DAY));
    date.rsplit_once(' ').map_or_else(|| date.clone(), |(day, _)| day.to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test panics to fail")]
mod tests {
    use super::*;
    use usage::Sums;

    /// 20 Nov 2026, a Friday.
    const TODAY: i64 = 20_777;

    fn days(prompts: &[i64]) -> Vec<DayRow> {
        let first = TODAY + 1 - i64::try_from(prompts.len()).unwrap();
        (first..)
            .zip(prompts)
            .map(|(day, prompts)| DayRow { day, sums: Sums { prompts: *prompts, ..Sums::default() } })
            .collect()
    }

    #[test]
    fn bars_stand_on_the_base_line_and_days_have_names() {
        let mut prompts = vec![0; 30];
        prompts[29] = 2_418;
        prompts[23] = 4_500;
        let chart = Chart::prompts(&days(&prompts)).unwrap();
        assert_eq!(chart.scale, ["6,000", "4,000", "2,000", "0"]);
        assert_eq!(chart.dates, ["22 Oct", "29 Oct", "5 Nov", "12 Nov", "20 Nov"]);
        let last = &chart.bars[29];
        assert_eq!((last.x.as_str(), last.width.as_str(), last.class), ("291.4", "7.2", " now"));
        assert_eq!((last.y.as_str(), last.height.as_str()), ("59.7", "40.3"));
        assert_eq!(last.title, "Fri 20 Nov: 2,418 prompts");
        assert_eq!((chart.bars[23].y.as_str(), chart.bars[23].class), ("25", " off"));
        assert_eq!(chart.rows[0].date, "2026-11-20");
        assert_eq!(chart.summary, "6,918 prompts in 30 days, at most 4,500 on a day, 2,418 so far today");
    }

    #[test]
    fn scales_are_round_and_nothing_draws_nothing() {
        assert!(Chart::prompts(&days(&[0; 30])).is_none());
        assert_eq!(Chart::prompts(&days(&[1])).unwrap().scale, ["3", "2", "1", "0"]);
        for (most, step) in [(1, 1), (3, 1), (4, 2), (15, 5), (16, 10), (3_000, 1_000), (3_001, 2_000)] {
            assert_eq!(round_step(most), step, "{most}");
        }
        assert!(round_step(i64::MAX) > 0);
    }
}
