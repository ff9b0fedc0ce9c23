//! The learning curve as SVG. It needs no font file: the viewer sets the text.

use std::io;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::{
    BLUE, ChartBuilder, Circle, DrawingArea, IntoDrawingArea, LineSeries, RED, RGBColor, SVGBackend, WHITE,
};
use plotters::style::Color;

use super::{EpochResult, write_atomic};

const WIDTH: u32 = 800;
/// Of one panel.
const HEIGHT: u32 = 320;

/// What was opened along the way. Panels are drawn for what there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Above the panels.
    pub title: String,
    /// In order of time.
    pub points: Vec<EpochResult>,
}

/// One line: what it is called, its values over epochs, and the vertical range.
struct Panel {
    name: &'static str,
    color: RGBColor,
    values: Vec<(f64, f64)>,
    range: Range<f64>,
}

impl Curve {
    /// The picture; `None` if nothing was opened that could be drawn.
    pub fn svg(&self) -> Option<String> {
        let panels: Vec<Panel> = [
            self.panel("test accuracy, %", BLUE, |p| p.accuracy.map(|a| 100.0 * a)),
            self.panel("test R²", BLUE, |p| p.r2),
            self.panel("mean squared test error", BLUE, |p| p.mean_squared_error.filter(|_| p.r2.is_none())),
            self.panel("training loss", RED, |p| p.loss),
        ]
        .into_iter()
        .flatten()
        .collect();
        let rows = u32::try_from(panels.len()).ok().filter(|rows| *rows > 0)?;
        let mut svg = String::new();
        let drawn = {
            let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT * rows)).into_drawing_area();
            self.draw(&root, &panels)
        };
        drawn.then_some(svg)
    }

    /// Writes the picture, whole or not at all; `false` if there is nothing to draw.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn write(&self, path: &Path) -> io::Result<bool> {
        let Some(svg) = self.svg() else { return Ok(false) };
        write_atomic(path, svg.as_bytes()).map(|()| true)
    }

    /// Values that cannot be drawn (a diverged loss) are left out.
    fn panel(&self, name: &'static str, color: RGBColor, value: impl Fn(&EpochResult) -> Option<f64>) -> Option<Panel> {
        let drawable = |p: &EpochResult| {
            value(p).map(|v| (f64::from(p.epoch), v)).filter(|(_, y)| y.is_finite() && y.abs() < 1e12)
        };
        let values: Vec<(f64, f64)> = self.points.iter().filter_map(drawable).collect();
        let least = values.iter().map(|v| v.1).reduce(f64::min)?;
        let greatest = values.iter().map(|v| v.1).reduce(f64::max)?;
        let room = (0.1 * (greatest - least)).max(0.01 * greatest.abs()).max(1e-3);
        Some(Panel { name, color, values, range: least - room..greatest + room })
    }

    /// Writing into a string cannot fail; what plotters refuses is no picture.
    fn draw(&self, root: &DrawingArea<SVGBackend<'_>, Shift>, panels: &[Panel]) -> bool {
        let last = self.points.iter().map(|p| f64::from(p.epoch)).fold(1.0, f64::max);
        let areas = root.split_evenly((panels.len(), 1));
        let drawn = panels.iter().zip(&areas).enumerate().all(|(i, (panel, area))| {
            let title = if i == 0 { self.title.as_str() } else { "" };
            panel.draw(area, title, last).is_ok()
        });
        drawn && root.present().is_ok()
    }
}

impl Panel {
    fn draw(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        title: &str,
        last: f64,
    ) -> Result<(), Box<dyn std::error::Error>> {
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .caption(title, ("sans-serif", 20))
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..last, self.range.clone())?;
        chart.configure_mesh().x_desc("epochs").y_desc(self.name).light_line_style(WHITE).draw()?;
        chart.draw_series(LineSeries::new(self.values.iter().copied(), self.color.stroke_width(2)))?;
        chart.draw_series(self.values.iter().map(|at| Circle::new(*at, 3, self.color.filled())))?;
        Ok(())
    }
}
