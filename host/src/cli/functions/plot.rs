//! Value and error of a function as SVG. It needs no font file: the viewer sets the text.

use super::measure::Measured;
use plotters::prelude::{BLUE, ChartBuilder, Circle, IntoDrawingArea, LineSeries, RED, RGBColor, SVGBackend, WHITE};
use plotters::style::Color;

const WIDTH: u32 = 800;
/// Of one panel.
const HEIGHT: u32 = 320;
/// Points of a panel, at most.
const POINTS: usize = 1500;

/// The picture: results above the function, errors below.
pub(super) fn svg(title: &str, measured: &Measured) -> String {
    let [low, high] = measured.domain;
    // A tenth of the domain beyond, and not so far that nothing is seen.
    let (low, high) = (low.max(-64.0), high.min(64.0));
    let margin = (high - low) / 10.0;
    let mut points: Vec<[f64; 3]> = measured.points.clone();
    points.retain(|[x, ..]| *x >= low - margin && *x <= high + margin);
    points.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let step = points.len().div_ceil(POINTS).max(1);
    let points: Vec<[f64; 3]> = points.into_iter().step_by(step).collect();
    let values = points.iter().map(|[x, _, y]| (*x, *y)).collect();
    let errors = points.iter().map(|[x, value, y]| (*x, y - value)).collect();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, 2 * HEIGHT)).into_drawing_area();
        let panels = root.split_evenly((2, 1));
        for (area, (name, points, color)) in panels.iter().zip([(title, values, BLUE), ("error", errors, RED)]) {
            // Writing into a string cannot fail.
            let _ = panel(area, name, points, color);
        }
        let _ = root.present();
    }
    svg
}

fn panel(
    area: &plotters::drawing::DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    points: Vec<(f64, f64)>,
    color: RGBColor,
) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let points: Vec<(f64, f64)> = points.into_iter().filter(|(_, y)| y.is_finite()).collect();
    let ends = |of: fn(&(f64, f64)) -> f64| {
        let all = || points.iter().map(of);
        (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max))
    };
    let ((left, right), (least, most)) = (ends(|p| p.0), ends(|p| p.1));
    let room = (0.05 * (most - least)).max(1e-9);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(title, ("sans-serif", 20))
        .x_label_area_size(36)
        .y_label_area_size(80)
        .build_cartesian_2d(left..right.max(left + 1e-9), least - room..most + room)?;
    chart.configure_mesh().x_desc("x").light_line_style(WHITE).draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(1)))?;
    chart.draw_series(points.iter().step_by(50).map(|at| Circle::new(*at, 1, color.filled())))?;
    Ok(())
}
