//! The figures as a picture: how much of its goal each one uses.

use std::fmt::Write;

use super::{About, Figure, number};

/// Pixels.
const WIDTH: f64 = 760.0;
const ROW: f64 = 30.0;
const LEFT: f64 = 190.0;
/// Where a goal is.
const GOAL: f64 = 440.0;

/// An SVG document.
pub(super) fn document(figures: &[Figure]) -> String {
    let shown: Vec<_> = figures.iter().filter(|figure| figure.held().is_some()).collect();
    let height = ROW * (shown.len() as f64 + 2.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-weight=\"bold\">TrustBox: figures and their goals</text>\n"
    );
    for (index, figure) in shown.iter().enumerate() {
        row(&mut out, figure, ROW * (index as f64 + 1.2));
    }
    let _ = writeln!(
        out,
        "<line x1=\"{GOAL}\" x2=\"{GOAL}\" y1=\"{ROW}\" y2=\"{}\" stroke=\"black\" stroke-dasharray=\"4\"/>\n\
         <text x=\"{GOAL}\" y=\"{}\" text-anchor=\"middle\">goal</text>\n</svg>",
        height - ROW,
        height - ROW / 3.0
    );
    out
}

fn row(out: &mut String, figure: &Figure, top: f64) {
    let (Some(held), Some(goal)) = (figure.held(), figure.goal) else { return };
    // A goal of nothing at all is met by nothing at all.
    let share = if held > 0.0 { held / goal } else { 0.0 };
    let width = ((GOAL - LEFT) * share).min(WIDTH - LEFT - 160.0);
    let colour = if figure.is_missed() { "#c0392b" } else { "#2e7d32" };
    let text = match figure.goal_of {
        Some(About::Ratio) => format!("×{held:.2} of ×{goal}"),
        _ => format!("{} of {} {}", number(held), number(goal), short(&figure.unit)),
    };
    let _ = writeln!(
        out,
        "<text x=\"10\" y=\"{0}\">{1}</text>\n<rect x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"18\" fill=\"{colour}\"/>\n\
         <text x=\"{2:.1}\" y=\"{0}\">{text}</text>",
        top + 14.0,
        figure.name,
        LEFT + width.max(GOAL - LEFT) + 8.0
    );
}

fn short(unit: &str) -> &str {
    if unit.ends_with("per byte") { "instr/byte" } else { unit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64) -> Figure {
        let (name, unit) = ("ta_bytes".to_owned(), "bytes".to_owned());
        let goal_of = Some(About::Value);
        Figure { name, value, unit, reference: None, ratio: None, goal: Some(100.0), goal_of }
    }

    #[test]
    fn bars_end_at_the_goal_or_beyond_in_another_colour() {
        let (met, missed) = (document(&[figure(50.0)]), document(&[figure(150.0)]));
        assert!(met.contains("width=\"125.0\"") && met.contains("#2e7d32"));
        assert!(missed.contains("width=\"375.0\"") && missed.contains("#c0392b"));
        let nothing = document(&[Figure { goal: Some(0.0), ..figure(0.0) }]);
        assert!(nothing.contains("width=\"0.0\"") && nothing.contains("#2e7d32"));
        assert!(met.starts_with("<svg") && met.trim_end().ends_with("</svg>"));
    }
}
