//! The budgets as a picture: how much of each was used.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::claims::{Claim, Outcomes, Verdict};

const ROW: usize = 22;
const LEFT: usize = 470;
/// Pixels from nothing to the whole budget; what is twice as much ends the picture.
const WHOLE: f64 = 240.0;
const MOST: f64 = 2.0;

/// Writes an SVG file with a bar for each claim, as long as the share of its budget, and a line from
/// its first to its third quartile.
pub(crate) fn write(outcomes: &Outcomes<'_>, path: &Path) -> Result<()> {
    let claims: Vec<(&str, &Claim)> = outcomes
        .tables
        .iter()
        .flat_map(|outcome| outcome.claims.iter().map(move |claim| (outcome.table, claim)))
        .collect();
    let height = (claims.len() + 2) * ROW;
    let width = LEFT as f64 + WHOLE * MOST + 150.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let at = |share: f64| LEFT as f64 + share.clamp(0.0, MOST) * WHOLE;
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"15\" text-anchor=\"middle\">budget</text>\n\
         <line x1=\"{0:.0}\" x2=\"{0:.0}\" y1=\"20\" y2=\"{height}\" stroke=\"#444\" stroke-dasharray=\"4 3\"/>",
        at(1.0)
    );
    for (index, (table, claim)) in claims.into_iter().enumerate() {
        let y = (index + 1) * ROW + 4;
        let Claim { name, seen, budget } = claim;
        let share = |value: f64| at(value / budget);
        let color = match claim.verdict() {
            Verdict::Met => "#3b8a5a",
            Verdict::WithinSpread => "#c9a227",
            Verdict::Exceeded => "#b8433a",
        };
        let middle = y + 7;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}: {}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"14\" fill=\"{color}\"/>\n\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"#111\"/>\n\
             <text x=\"{:.0}\" y=\"{}\">{:.3} of {budget}</text>",
            LEFT - 8,
            y + 11,
            escaped(table),
            escaped(name),
            share(seen.median) - LEFT as f64,
            share(seen.lower_quartile),
            share(seen.upper_quartile),
            at(MOST) + 8.0,
            y + 11,
            seen.median,
        );
    }
    svg.push_str("</svg>\n");
    std::fs::write(path, svg).with_context(|| format!("write {}", path.display()))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
