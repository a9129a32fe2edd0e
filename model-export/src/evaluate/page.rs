//! The evaluation as one HTML file.

use blocksift_detector::Model;

use super::Found;
use super::claims;
use super::figures::{Figures, Step};
use super::view::View;
use crate::report::html::Page;
use crate::report::svg::{Line, Plot};
use crate::sheet::table::figure;
use crate::train::journal;

const UNIT: Option<(f64, f64)> = Some((0.0, 1.0));
const LOG: &str = "log10 of 1 + sessions";
/// False flags a node and day up to which recall is shown.
const FLAGS_MAX: f64 = 20.0;

/// The whole page.
#[must_use]
pub(crate) fn write(model: &Model, found: &Found<'_>) -> String {
    let mut page = Page::default();
    page.text(&found.head);
    for note in &found.notes {
        page.text(note);
    }
    for measured in &found.measured {
        let (view, sheet) = (&measured.view, &measured.sheet);
        page.section(&format!("View: {}", view.name));
        page.text(&sheet.title());
        page.table(&sheet.cells());
        page.text(&format!("Plots: {}, weighted to the natural ratio.", view.shown()));
        page.plots(&plots(view, &measured.figures, found, sheet.threshold));
        page.text(&measured.budget);
    }
    contributions(&mut page, found);
    drift(&mut page, found);
    if !found.epochs.is_empty() {
        page.section("Training");
        page.plots(&[journal::curves(&found.epochs)]);
    }
    page.section("Published by others");
    page.text(
        "As they state it; each has its own split, so these are not comparable with the figures above.",
    );
    page.table(&claims::cells());
    page.finish(&format!("Evaluation of {}", model.id))
}

fn contributions(page: &mut Page, found: &Found<'_>) {
    let first: Vec<_> = found.contributions.iter().take(20).collect();
    if first.is_empty() {
        return;
    }
    page.section("What templates contribute to flags");
    page.text("Mean fall of the score of flagged sessions when all events of the template are left out.");
    let mut lines = vec![vec!["template".to_owned(), "mean fall".to_owned(), "flagged sessions".to_owned()]];
    for row in &first {
        lines.push(vec![row.template.clone(), figure(row.fall), format!("{:.0}", row.sessions)]);
    }
    page.table(&lines);
    let labels: Vec<String> = first.iter().map(|row| number_of(&row.template)).collect();
    let falls = first.iter().map(|row| row.fall).collect();
    let plot = Plot { title: "Contribution", x: "template", y: "mean fall of the score", ..Plot::default() };
    page.plots(&[plot.bars(&labels, &[("fall", falls)])]);
}

/// The number before a template's text.
fn number_of(template: &str) -> String {
    template.split(':').next().unwrap_or_default().chars().take(8).collect()
}

fn drift(page: &mut Page, found: &Found<'_>) {
    let drift = &found.drift;
    page.section("Drift from training to test");
    page.text(&format!(
        "Population stability index of template shares {}, of the scores of normal sessions {} (below .1 alike, above .25 another population). \
         Events of unknown template {}, normal sessions with counts that training had not {}.",
        figure(drift.templates),
        figure(drift.scores),
        figure(drift.unknown),
        figure(drift.novel)
    ));
    if drift.most.is_empty() {
        page.text("No sessions that were trained on are at hand, so shares cannot be compared.");
        return;
    }
    let titles = ["template", "share in training", "share in test", "part in the index"];
    let mut lines = vec![titles.map(str::to_owned).to_vec()];
    for (template, before, after, part) in &drift.most {
        lines.push(vec![template.clone(), figure(*before), figure(*after), figure(*part)]);
    }
    page.table(&lines);
    let labels: Vec<String> = drift.most.iter().map(|row| number_of(&row.0)).collect();
    let series = [
        ("training", drift.most.iter().map(|row| row.1).collect()),
        ("test", drift.most.iter().map(|row| row.2).collect()),
    ];
    let plot = Plot { title: "Template shares", x: "template", y: "share of events", ..Plot::default() };
    page.plots(&[plot.bars(&labels, &series)]);
}

/// The plots of a view: all columns by what they rank, then the model by itself.
fn plots(view: &View, figures: &[(&'static str, Figures)], found: &Found<'_>, threshold: f32) -> Vec<String> {
    let per_day = found.normal_per_day(view);
    let curve = |what: &dyn Fn(&Step) -> (f64, f64), start: Option<(f64, f64)>| -> Vec<Line> {
        let line = |(number, (name, figures)): (usize, &(&'static str, Figures))| {
            let points = start.into_iter().chain(figures.steps.iter().map(what)).collect();
            Line::new(name, number, points)
        };
        figures.iter().enumerate().map(line).collect()
    };
    let plot = Plot { x_range: UNIT, y_range: UNIT, ..Plot::default() };
    let mut plots = vec![
        Plot { title: "ROC", x: "normal flagged", y: "recall", ..plot }
            .lines(&curve(&|step| (step.fall_out, step.recall), Some((0.0, 0.0)))),
        Plot { title: "Precision and recall, abnormal", x: "recall", y: "precision", ..plot }
            .lines(&curve(&|step| (step.recall, step.precision), None)),
        Plot { title: "Precision and recall, normal", x: "recall", y: "precision", y_range: None, ..plot }
            .lines(&curve(&|step| (1.0 - step.fall_out, step.normal_precision), None)),
        Plot {
            title: "Recall by false flags",
            x: "false flags a node and day",
            y: "recall",
            x_range: Some((0.0, FLAGS_MAX.min(per_day))),
            ..plot
        }
        .lines(&curve(&|step| (step.fall_out * per_day, step.recall), Some((0.0, 0.0)))),
    ];
    if let Some((_, own)) = figures.first() {
        plots.push(sweep(own, threshold));
        plots.extend(by_score(own));
        plots.extend(own.at(threshold).map(|step| confusion(own, step)));
    }
    plots
}

fn sweep(own: &Figures, threshold: f32) -> String {
    let points = |value: fn(&Step) -> f64| -> Vec<(f64, f64)> {
        own.steps.iter().map(|step| (f64::from(step.threshold), value(step))).collect()
    };
    let mark = own.at(threshold).map(|step| (f64::from(threshold), step.f1()));
    let title = "Thresholds, the chosen one marked";
    Plot { title, x: "threshold", y: "", x_range: UNIT, y_range: UNIT, mark }.lines(&[
        Line::new("F1", 0, points(Step::f1)),
        Line::new("precision", 1, points(|step| step.precision)),
        Line::new("recall", 2, points(|step| step.recall)),
    ])
}

/// Histogram and calibration.
fn by_score(own: &Figures) -> [String; 2] {
    let count = own.bins.len() as f64;
    let labels: Vec<String> = (0..own.bins.len()).map(|bin| format!("{:.2}", bin as f64 / count)).collect();
    let histogram = Plot { title: "Scores by class", x: "score", y: LOG, ..Plot::default() }.bars(
        &labels,
        &[
            ("normal", own.bins.iter().map(|bin| log(bin.normal)).collect()),
            ("abnormal", own.bins.iter().map(|bin| log(bin.abnormal)).collect()),
        ],
    );
    let filled = own.bins.iter().filter(|bin| bin.normal + bin.abnormal > 0.0);
    let calibration = filled.map(|bin| {
        let all = bin.normal + bin.abnormal;
        (bin.scores / all, bin.abnormal / all)
    });
    let title = format!("Calibration, error {}", figure(own.calibration_error()));
    let plot = Plot {
        title: &title,
        x: "mean score",
        y: "share abnormal",
        x_range: UNIT,
        y_range: UNIT,
        mark: None,
    };
    let lines = [
        Line::new("as it is", 0, calibration.collect()),
        Line::new("as it should be", 6, vec![(0.0, 0.0), (1.0, 1.0)]),
    ];
    [histogram, plot.lines(&lines)]
}

fn confusion(own: &Figures, step: Step) -> String {
    let (tp, fp) = (step.recall * own.abnormal, step.fall_out * own.normal);
    let (missed, tn) = (own.abnormal - tp, own.normal - fp);
    let title = format!("Confusion: tp {tp:.0}, fp {fp:.0}, tn {tn:.0}, fn {missed:.0}");
    let labels = ["flagged, abnormal", "flagged, normal", "passed, normal", "missed"].map(str::to_owned);
    let heights = [tp, fp, tn, missed].map(log).to_vec();
    Plot { title: &title, x: "", y: LOG, ..Plot::default() }.bars(&labels, &[("sessions", heights)])
}

fn log(count: f64) -> f64 {
    (1.0 + count).log10()
}
