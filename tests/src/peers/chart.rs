//! The comparison as a picture in SVG: a panel for each fault, a row for each contender, and a
//! logarithmic axis. It is readable on a light and on a dark page.

use std::fmt::Write as _;

use super::{
    report::{Entry, Outcome, Quantiles, Report},
    table::short,
};

/// Pixels.
const WIDTH: f64 = 940.0;
const MARGIN: f64 = 16.0;
const LABELS: f64 = 168.0;
const HEAD: f64 = 62.0;
const FOOT: f64 = 62.0;
/// The room of a value behind its bar.
const VALUE: f64 = 104.0;
const COLUMNS: usize = 2;
const PANEL_HEAD: f64 = 44.0;
const PANEL_FOOT: f64 = 22.0;
const ROW: f64 = 31.0;
const BAR: f64 = 11.0;
const THIN: f64 = 4.0;

/// The left end of the axis, in milliseconds. Anything shorter is a bar without a length.
const LEAST: f64 = 1.0;

const STYLE: &str = "\
.page{fill:#ffffff}.text{fill:#1f2328}.dim{fill:#59636e}.grid{stroke:#d1d9e0}
.own{fill:#1f6feb}.peer{fill:#8c959f}.detects{fill:none;stroke:#8c959f;stroke-width:1.5}
.two{fill:#cf222e}.two-text{fill:#cf222e}.max{stroke:#59636e}
@media (prefers-color-scheme:dark){
.page{fill:#0d1117}.text{fill:#f0f6fc}.dim{fill:#9198a1}.grid{stroke:#3d444d}
.own{fill:#4493f8}.peer{fill:#7d8590}.detects{stroke:#7d8590}
.two{fill:#f85149}.two-text{fill:#ff7b72}.max{stroke:#9198a1}}
text{font-family:-apple-system,'Segoe UI','Noto Sans',Helvetica,Arial,sans-serif;font-size:12px}
.title{font-size:16px;font-weight:600}.panel{font-weight:600}.small{font-size:11px}";

/// The axis of all panels.
struct Axis {
    decades: i32,
    length: f64,
}

impl Axis {
    /// An axis of `length` pixels that reaches beyond all figures of `report`.
    fn new(report: &Report, length: f64) -> Self {
        let outcomes = report.contenders.iter().flat_map(|entry| &entry.outcomes);
        let figures = outcomes.flat_map(|outcome| {
            [
                outcome.outage_ms,
                outcome.detected_ms,
                outcome.two_owners_ms,
            ]
            .into_iter()
            .flatten()
        });
        let longest = figures
            .map(|figure| figure.max)
            .fold(LEAST * 10.0, f64::max);
        Self {
            decades: (longest / LEAST).log10().ceil() as i32,
            length,
        }
    }

    /// The distance of a figure from the left end, in pixels.
    fn place(&self, millis: f64) -> f64 {
        let decades = (millis.max(LEAST) / LEAST).log10();
        self.length * decades / f64::from(self.decades)
    }
}

/// The picture.
pub fn chart(report: &Report) -> String {
    let panels = report
        .contenders
        .first()
        .map_or(0, |entry| entry.outcomes.len());
    let rows = report.contenders.len() as f64;
    let height = PANEL_HEAD + rows * ROW + PANEL_FOOT;
    let lines = panels.div_ceil(COLUMNS) as f64;
    let whole = HEAD + lines * height + FOOT;
    let width = (WIDTH - 2.0 * MARGIN - LABELS) / COLUMNS as f64;
    let axis = Axis::new(report, width - VALUE);
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {whole}\" \
         width=\"{WIDTH}\" height=\"{whole}\" role=\"img\">\n\
         <title>Outages of heartbeat and its peers</title>\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{whole}\"/>\n"
    );
    text(
        &mut svg,
        (MARGIN, 26.0),
        "text title",
        "The outage of a client, by fault",
    );
    legend(&mut svg, 46.0);
    for panel in 0..panels {
        let left = MARGIN + LABELS + (panel % COLUMNS) as f64 * width;
        let top = HEAD + (panel / COLUMNS) as f64 * height;
        draw(&mut svg, report, panel, (left, top), &axis);
        if panel % COLUMNS == 0 {
            labels(&mut svg, report, top);
        }
    }
    foot(&mut svg, report, whole);
    svg.push_str("</svg>\n");
    svg
}

/// Explains bars and colours.
fn legend(svg: &mut String, y: f64) {
    let marks = [
        ("own", "heartbeat"),
        ("peer", "peer"),
        ("detects", "detection only: until the peer is called down"),
        ("two", "two owners answer"),
    ];
    let mut x = MARGIN;
    for (class, what) in marks {
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"14\" height=\"9\"/>",
            y - 8.0
        );
        text(svg, (x + 19.0, y), "dim small", what);
        x += 40.0 + what.len() as f64 * 5.6;
    }
    text(svg, (x, y), "dim small", "bar: median, line: longest");
}

fn labels(svg: &mut String, report: &Report, top: f64) {
    for (index, entry) in report.contenders.iter().enumerate() {
        let y = top + PANEL_HEAD + index as f64 * ROW + BAR;
        text(svg, (MARGIN, y), "text", entry.label);
    }
}

/// Draws a panel.
fn draw(svg: &mut String, report: &Report, panel: usize, (left, top): (f64, f64), axis: &Axis) {
    let outcomes = || {
        report
            .contenders
            .iter()
            .filter_map(|entry| entry.outcomes.get(panel))
    };
    let title = outcomes().next().map_or("", Outcome::title);
    text(svg, (left, top + 18.0), "text panel", title);
    let bottom = top + PANEL_HEAD + report.contenders.len() as f64 * ROW;
    for decade in 0..=axis.decades {
        let x = left + axis.length * f64::from(decade) / f64::from(axis.decades);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\"/>",
            top + PANEL_HEAD - 8.0
        );
        let label = time(LEAST * 10_f64.powi(decade));
        text(svg, (x + 2.0, top + PANEL_HEAD - 12.0), "dim small", &label);
    }
    for (index, (entry, outcome)) in report.contenders.iter().zip(outcomes()).enumerate() {
        let y = top + PANEL_HEAD + index as f64 * ROW;
        row(svg, entry, outcome, (left, y), axis);
    }
}

fn row(svg: &mut String, entry: &Entry, outcome: &Outcome, (left, y): (f64, f64), axis: &Axis) {
    let (figure, class) = match (entry.serves, entry.product) {
        (false, _) => (outcome.detected_ms, "detects"),
        (true, "heartbeat") => (outcome.outage_ms, "own"),
        (true, _) => (outcome.outage_ms, "peer"),
    };
    let base = y + BAR;
    let Some(Quantiles { median, max, .. }) = figure else {
        let why = if outcome.runs == 0 {
            "not measured"
        } else {
            "not in 30 s"
        };
        return text(svg, (left + 4.0, base - 1.0), "dim small", why);
    };
    let (end, longest) = (axis.place(median).max(1.0), axis.place(max));
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{end:.1}\" \
         height=\"{BAR}\"/>\n\
         <line class=\"max\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
        left + end,
        left + longest.max(end),
        y + BAR / 2.0,
        y + BAR / 2.0
    );
    let behind = left + longest.max(end) + 5.0;
    text(svg, (behind, base - 1.0), "text small", &time(median));
    let two = outcome.two_owners_ms.map_or(0.0, |two| two.median);
    if two > 0.0 {
        let length = axis.place(two).max(1.0);
        let _ = writeln!(
            svg,
            "<rect class=\"two\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{length:.1}\" \
             height=\"{THIN}\"/>",
            y + BAR + 4.0
        );
        let what = format!("2 owners {}", time(two));
        text(
            svg,
            (left + length + 5.0, y + BAR + 11.0),
            "two-text small",
            &what,
        );
    }
}

/// Says what was measured, where and when.
fn foot(svg: &mut String, report: &Report, whole: f64) {
    let Report {
        date,
        commit,
        machine,
        rounds,
        ..
    } = report;
    let lines = [
        "Three nodes and a client in network namespaces on one switch; the client asks once per \
         millisecond. Logarithmic axis."
            .to_owned(),
        format!("Runs of each fault, in turns: {rounds}. {date}, commit {commit}"),
        machine.to_string(),
    ];
    for (index, line) in lines.iter().enumerate() {
        let y = whole - FOOT + 18.0 + index as f64 * 15.0;
        text(svg, (MARGIN, y), "dim small", line);
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), class: &str, what: &str) {
    let what = what
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{what}</text>"
    );
}

/// `5.9 ms`, `57 ms`, `8.9 s`.
fn time(millis: f64) -> String {
    if millis >= 1_000.0 {
        let seconds = format!("{:.1}", millis / 1_000.0);
        format!("{} s", seconds.strip_suffix(".0").unwrap_or(&seconds))
    } else if millis.fract() == 0.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{} ms", short(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::report::made_up;

    #[test]
    fn figure_is_placed_by_its_logarithm() {
        let axis = Axis {
            decades: 4,
            length: 400.0,
        };
        let places = [0.0, 1.0, 10.0, 10_000.0].map(|millis| axis.place(millis));
        assert_eq!(places, [0.0, 0.0, 100.0, 400.0]);
        let report = made_up(&[("a", 6.0), ("b", 9_000.0)]);
        assert_eq!(Axis::new(&report, 400.0).decades, 4);
    }

    #[test]
    fn picture_has_a_bar_and_a_value_for_each_contender() {
        let svg = chart(&made_up(&[("a<b", 6.0), ("b", 9_000.0)]));
        for part in ["6 ms", "9 s", ">a&lt;b<", "2026-12-31", "</svg>"] {
            assert!(svg.contains(part), "no {part} in {svg}");
        }
        assert_eq!(
            svg.matches("class=\"peer\"").count(),
            3,
            "two bars and the legend"
        );
    }

    #[test]
    fn times_are_short() {
        let times = [0.0, 5.94, 57.2, 934.6, 3_157.0, 10_000.0].map(time);
        assert_eq!(
            times,
            ["0 ms", "5.9 ms", "57.2 ms", "935 ms", "3.2 s", "10 s"]
        );
    }
}
