//! A study's table and charts as one page of HTML that loads nothing.

use super::{
    result::{Measured, Reproduction, Row},
    study::Published,
};
use crate::report::write_atomic;
use plotters::{
    chart::ChartBuilder,
    element::Rectangle,
    prelude::{IntoDrawingArea, IntoLogRange, IntoSegmentedCoord, RGBColor, SVGBackend, SegmentValue},
    style::{Color, WHITE},
};
use std::{fmt::Write as _, io, ops::Range, path::Path};

const WIDTH: u32 = 900;
/// Height of a row of bars.
const ROW: u32 = 52;
/// Height of a bar, and of the room above the first.
const BAR: [u32; 2] = [14, 5];
/// Height of axis and margins.
const FRAME: u32 = 70;

/// The figures behind a bar.
enum Bar<'a> {
    Published(Option<&'a Published>),
    Measured(Option<&'a Measured>),
}

/// Bars of one colour.
struct Series {
    name: &'static str,
    color: RGBColor,
    of: fn(&Row) -> Bar<'_>,
}

const SERIES: [Series; 3] = [
    Series { name: "published", color: RGBColor(150, 150, 150), of: |row| Bar::Published(row.published.first()) },
    Series { name: "on shares", color: RGBColor(30, 90, 200), of: |row| Bar::Measured(row.on_shares.as_ref()) },
    Series { name: "clear engine", color: RGBColor(120, 180, 90), of: |row| Bar::Measured(row.clear.as_ref()) },
];

impl Reproduction {
    /// Writes the page, whole or not at all.
    ///
    /// # Errors
    ///
    /// The error of the system; callers name `path`.
    pub fn write_html(&self, path: &Path) -> io::Result<()> {
        write_atomic(path, self.html().as_bytes())
    }

    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        let title = escape(&self.title);
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
             <style>body {{ font-family: sans-serif; max-width: 1100px; margin: 2em auto; }}\n\
             table {{ border-collapse: collapse; }} td, th {{ padding: 0.2em 0.7em; text-align: right; }}\n\
             td:first-child {{ text-align: left; }} tr {{ border-bottom: 1px solid #ddd; }}</style></head>\n\
             <body><h1>{title}</h1>\n<p>{}</p>\n",
            escape(&self.about)
        );
        if self.quick {
            page += "<p><strong>Quick form, on fewer records: it compares with nothing.</strong></p>\n";
        }
        self.write_table(&mut page);
        let seconds = |bar: Bar<'_>| match bar {
            Bar::Published(figure) => figure?.seconds,
            Bar::Measured(figure) => Some(self.seconds_of(figure?)),
        };
        let score = |bar: Bar<'_>| match bar {
            Bar::Published(figure) => figure?.score,
            Bar::Measured(figure) => Some(figure?.score?.mean),
        };
        let compares = |row: &Row| row.score == self.score;
        let (seconds, scores) = (self.chart(seconds, |_| true, true), self.chart(score, compares, false));
        for (name, chart) in
            [(if self.per_step { "Seconds of a step" } else { "Seconds of training" }, seconds), (&*self.score, scores)]
        {
            if let Some(svg) = chart {
                let _ = write!(page, "<h2>{}</h2>\n{svg}\n", escape(name)); // writing to a string cannot fail
            }
        }
        let legend = SERIES.map(|series| {
            let RGBColor(r, g, b) = series.color;
            format!("<span style=\"color: rgb({r},{g},{b})\">&#9632;</span> {}", series.name)
        });
        page += &format!("<p>{}</p>\n", legend.join(" &nbsp; "));
        page += &format!("<p>{} All roles ran on one machine: {}.</p>\n<ul>\n", self.date, escape(&self.machine));
        self.sources().iter().for_each(|source| page += &format!("<li>{}</li>\n", escape(source)));
        page + "</ul></body></html>\n"
    }

    fn write_table(&self, page: &mut String) {
        let (headings, rows) = self.cells();
        let row = |page: &mut String, tag: &str, cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
            *page += &format!("<tr>{}</tr>\n", cells.concat());
        };
        *page += "<table>\n";
        row(page, "th", &headings.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        rows.iter().for_each(|cells| row(page, "td", cells));
        *page += "</table>\n";
    }

    /// A chart of horizontal bars; `None` if there is nothing to draw.
    fn chart(
        &self,
        value: impl Fn(Bar<'_>) -> Option<f64>,
        has: impl Fn(&Row) -> bool,
        by_ratio: bool,
    ) -> Option<String> {
        let value = |row: &Row, series: &Series| value((series.of)(row)).filter(|value| value.is_finite() && has(row));
        let bars: Vec<[Option<f64>; 3]> =
            self.rows.iter().map(|row| SERIES.each_ref().map(|series| value(row, series))).collect();
        let values = || bars.iter().flatten().filter_map(|value| value.filter(|value| !by_ratio || *value > 0.0));
        let (least, greatest) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
        let range = match by_ratio {
            true => least / 2.0..greatest * 1.5,
            false => least.min(0.0)..greatest.max(least.abs() / 1e6) * 1.05,
        };
        let mut svg = String::new();
        let height = FRAME + ROW * u32::try_from(bars.len()).ok()?;
        let drawn = self.draw(&mut svg, height, &bars, range, by_ratio).is_ok();
        drawn.then_some(svg)
    }

    fn draw(
        &self,
        svg: &mut String,
        height: u32,
        bars: &[[Option<f64>; 3]],
        range: Range<f64>,
        by_ratio: bool,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        let (rows, least) = (bars.len(), range.start);
        let mut builder = ChartBuilder::on(&root);
        builder.margin(10).x_label_area_size(30).y_label_area_size(260);
        // Rows from top to bottom.
        let name = |place: &SegmentValue<usize>| match place {
            SegmentValue::CenterOf(row) => self.rows.get(rows - 1 - *row).map_or(String::new(), |row| row.name.clone()),
            _ => String::new(),
        };
        macro_rules! draw {
            ($range:expr) => {{
                let mut chart = builder.build_cartesian_2d($range, (0..rows - 1).into_segmented())?;
                chart.configure_mesh().disable_y_mesh().y_labels(rows).y_label_formatter(&name).draw()?;
                for (row, own) in bars.iter().enumerate() {
                    for (number, (value, series)) in (0u32..).zip(own.iter().zip(&SERIES)) {
                        let Some(value) = value else { continue };
                        let place = rows - 1 - row;
                        let corners = [(least, SegmentValue::Exact(place)), (*value, SegmentValue::Exact(place + 1))];
                        let mut bar = Rectangle::new(corners, series.color.filled());
                        let top = BAR[1] + BAR[0] * number;
                        bar.set_margin(top, ROW.saturating_sub(top + BAR[0]), 0, 0);
                        chart.draw_series([bar])?;
                    }
                }
            }};
        }
        if by_ratio {
            draw!(range.log_scale());
        } else {
            draw!(range);
        }
        root.present()?;
        Ok(())
    }
}

/// Text for HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use crate::reproduce::result::tests::example;

    #[test]
    fn the_page_has_table_and_charts_and_loads_nothing() {
        let page = example().html();
        assert_eq!(page.matches("<svg").count(), 2, "{page}");
        assert!(page.contains("<td>SecureML</td>") && page.contains("2 cores, &lt;AVX2&gt;"), "{page}");
        for outside in ["<script", "<link", "src=", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
