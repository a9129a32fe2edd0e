//! Plots as SVG, drawn by hand: lines and bars on two linear axes. Equal figures give equal text.

use std::fmt::Write as _;

use super::escape;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 320.0;
/// Room for axes and their numbers.
const LEFT: f64 = 60.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 46.0;
/// Height of a row of the legend.
const ROW: f64 = 13.0;
/// Told apart by people who see few colours, too.
const COLOURS: [&str; 10] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#666666", "#a0a000", "#7a4fbf",
    "#000000",
];

/// Points that are joined.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    name: String,
    colour: usize,
    points: Vec<(f64, f64)>,
}

impl Line {
    /// A line; one without a name is not in the legend.
    #[must_use]
    pub(crate) fn new(name: &str, colour: usize, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), colour, points }
    }
}

/// What surrounds the drawing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plot<'a> {
    /// Above it.
    pub(crate) title: &'a str,
    /// Below it.
    pub(crate) x: &'a str,
    /// Beside it.
    pub(crate) y: &'a str,
    /// Ends of the axis; without them those of the points.
    pub(crate) x_range: Option<(f64, f64)>,
    /// Ends of the axis; without them those of the points.
    pub(crate) y_range: Option<(f64, f64)>,
    /// A point to be marked, such as the chosen one.
    pub(crate) mark: Option<(f64, f64)>,
}

/// Ends of both axes.
#[derive(Clone, Copy)]
struct Frame {
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn place(self, (x, y): (f64, f64)) -> (f64, f64) {
        let share = |value: f64, (low, high): (f64, f64)| ((value - low) / (high - low)).clamp(0.0, 1.0);
        let across = LEFT + share(x, self.x) * (WIDTH - LEFT - RIGHT);
        (across, HEIGHT - BOTTOM - share(y, self.y) * (HEIGHT - TOP - BOTTOM))
    }
}

impl Plot<'_> {
    /// Draws lines.
    #[must_use]
    pub(crate) fn lines(&self, lines: &[Line]) -> String {
        let points = || lines.iter().flat_map(|line| &line.points).copied();
        let frame = Frame {
            x: self.x_range.unwrap_or_else(|| range(points().map(|point| point.0))),
            y: self.y_range.unwrap_or_else(|| range(points().map(|point| point.1))),
        };
        let mut svg = self.open(frame);
        for line in lines {
            let mut path = String::new();
            for (at, point) in line.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()).enumerate()
            {
                let (x, y) = frame.place(*point);
                push(&mut path, format_args!("{}{x:.1} {y:.1} ", if at == 0 { "M" } else { "L" }));
            }
            let colour = colour(line.colour);
            push(
                &mut svg,
                format_args!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>"),
            );
        }
        if let Some(mark) = self.mark {
            let (x, y) = frame.place(mark);
            push(
                &mut svg,
                format_args!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"none\" stroke=\"#000\" stroke-width=\"1.5\"/>"
                ),
            );
        }
        let named = lines.iter().filter(|line| !line.name.is_empty());
        self.close(svg, named.map(|line| (line.name.as_str(), line.colour)))
    }

    /// Draws bars side by side: for each series its name and a height for each label.
    #[must_use]
    pub(crate) fn bars(&self, labels: &[String], series: &[(&str, Vec<f64>)]) -> String {
        let heights = || series.iter().flat_map(|(_, heights)| heights).copied();
        let high = heights().fold(0.0, f64::max);
        let low = heights().fold(0.0, f64::min);
        let count = labels.len().max(1) as f64;
        let frame =
            Frame { x: (0.0, count), y: self.y_range.unwrap_or((low, if high > low { high } else { 1.0 })) };
        let mut svg = self.open(Frame { x: (f64::NAN, f64::NAN), ..frame });
        let thick = 0.8 / series.len().max(1) as f64;
        for (number, (_, heights)) in series.iter().enumerate() {
            for (at, height) in heights.iter().enumerate() {
                let from = at as f64 + 0.1 + number as f64 * thick;
                let (left, top) = frame.place((from, height.max(0.0)));
                let (right, bottom) = frame.place((from + thick, height.min(0.0)));
                push(
                    &mut svg,
                    format_args!(
                        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
                        right - left,
                        (bottom - top).max(0.0),
                        colour(number)
                    ),
                );
            }
        }
        let every = labels.len().div_ceil(10).max(1);
        for (at, label) in labels.iter().enumerate().step_by(every) {
            let (x, _) = frame.place((at as f64 + 0.5, 0.0));
            push(
                &mut svg,
                format_args!(
                    "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    HEIGHT - BOTTOM + 14.0,
                    escape(label)
                ),
            );
        }
        self.close(svg, series.iter().zip(0..).map(|((name, _), number)| (*name, number)))
    }

    fn open(&self, frame: Frame) -> String {
        let mut svg = format!(
            "<text x=\"{LEFT}\" y=\"18\" font-size=\"13\" font-weight=\"bold\">{}</text>",
            escape(self.title)
        );
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for step in 0..=4u8 {
            let share = f64::from(step) / 4.0;
            let value = frame.y.0 + share * (frame.y.1 - frame.y.0);
            let y = bottom - share * (bottom - TOP);
            push(&mut svg, format_args!("<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/>"));
            push(
                &mut svg,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    LEFT - 4.0,
                    y + 3.0,
                    number(value)
                ),
            );
            if frame.x.0.is_finite() {
                let value = frame.x.0 + share * (frame.x.1 - frame.x.0);
                let x = LEFT + share * (right - LEFT);
                push(&mut svg, format_args!("<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#eee\"/>"));
                push(
                    &mut svg,
                    format_args!(
                        "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                        bottom + 14.0,
                        number(value)
                    ),
                );
            }
        }
        push(
            &mut svg,
            format_args!("<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#333\"/>"),
        );
        push(
            &mut svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                (LEFT + right) / 2.0,
                HEIGHT - 18.0,
                escape(self.x)
            ),
        );
        let middle = (TOP + bottom) / 2.0;
        push(
            &mut svg,
            format_args!(
                "<text x=\"12\" y=\"{middle:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 12 {middle:.1})\">{}</text>",
                escape(self.y)
            ),
        );
        svg
    }

    fn close<'a>(&self, mut svg: String, legend: impl Iterator<Item = (&'a str, usize)>) -> String {
        let (mut x, mut y) = (LEFT, HEIGHT - 6.0);
        for (name, number) in legend.filter(|(name, _)| !name.is_empty()) {
            let width = 24.0 + 5.4 * name.chars().count() as f64;
            if x > LEFT && x + width > WIDTH {
                (x, y) = (LEFT, y + ROW);
            }
            let colour = colour(number);
            push(
                &mut svg,
                format_args!(
                    "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"9\" height=\"9\" fill=\"{colour}\"/>",
                    y - 8.0
                ),
            );
            push(&mut svg, format_args!("<text x=\"{:.1}\" y=\"{y:.1}\">{}</text>", x + 12.0, escape(name)));
            x += width;
        }
        // Only now is it known how many rows the legend takes.
        let height = y + 6.0;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
             font-family=\"sans-serif\" font-size=\"10\"><title>{}</title>\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>{svg}</svg>",
            escape(self.title)
        )
    }
}

fn push(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    svg.write_fmt(text).unwrap_or_default();
}

fn colour(number: usize) -> &'static str {
    COLOURS.get(number % COLOURS.len()).copied().unwrap_or("#000")
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    match (low.is_finite(), high > low) {
        (true, true) => (low, high),
        (true, false) => (low - 0.5, low + 0.5),
        (false, _) => (0.0, 1.0),
    }
}

fn number(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 1_000.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    };
    if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_points_beyond_the_axes_stay_inside() {
        let plot = Plot {
            title: "<a & b>",
            x_range: Some((0.0, 1.0)),
            y_range: Some((0.0, 1.0)),
            ..Plot::default()
        };
        let svg = plot.lines(&[Line::new("x\"y", 0, vec![(0.0, 0.0), (9.0, 9.0), (f64::NAN, 1.0)])]);
        assert!(svg.contains("&lt;a &amp; b&gt;") && svg.contains("x&quot;y"));
        assert!(svg.contains(&format!("L{:.1} {TOP:.1}", WIDTH - RIGHT)), "{svg}");
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn bars_without_heights_and_lines_without_points_are_drawn() {
        for svg in [
            Plot::default().bars(&[], &[]),
            Plot::default().lines(&[]),
            Plot::default().bars(&["a".to_owned()], &[("s", vec![0.0])]),
        ] {
            assert!(svg.ends_with("</svg>") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn numbers_are_short() {
        let found: Vec<String> = [0.0, 0.25, 12.5, 1757.2, 0.0002].into_iter().map(number).collect();
        assert_eq!(found, ["0", "0.25", "12.5", "1757", "2.0e-4"]);
    }
}
