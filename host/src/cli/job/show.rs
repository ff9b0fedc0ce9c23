//! `symbolon job show`: the network of a job file as a picture.

use super::{Failure, check::costs};
use crate::{
    job::{Draft, Job},
    report::{human_bytes, write_atomic},
};
use plotters::{
    coord::Shift,
    prelude::{
        BLACK, DrawingArea, IntoDrawingArea, PathElement, Polygon, RGBColor, Rectangle, SVGBackend, Text, WHITE,
    },
    style::{Color, IntoFont},
};
use std::path::PathBuf;
use symbolon_core::layer::Origin;

/// Pixels of a layer's box.
const BOX: (i32, i32) = (400, 62);
/// Pixels between boxes, and around all.
const GAP: i32 = 26;
/// Pixels between two lines beside the boxes.
const TRACK: i32 = 16;
const FILL: RGBColor = RGBColor(236, 242, 250);

/// Arguments of `symbolon job show`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The job file
    #[arg(value_name = "JOB.toml")]
    file: PathBuf,
    /// SVG file to write
    #[arg(long, value_name = "FILE", value_parser = crate::cli::out_file())]
    svg: PathBuf,
}

/// Draws the network of a job that learns from files.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let draft = Draft::load(&args.file)?;
    if draft.schema().is_some() {
        let why = "a job that learns from reports cannot be drawn: its shape comes from a manifest";
        return Err(Failure::Input(format!("{}: {why}", args.file.display())));
    }
    let picture = svg(&draft.resolve(None)?)?;
    write_atomic(&args.svg, picture.as_bytes())
        .map_err(|error| Failure::Other(format!("{}: cannot be written: {error}", args.svg.display())))
}

/// A box: its lines of text, and the boxes that it reads.
struct Layer {
    text: [String; 3],
    reads: Vec<usize>,
}

/// The boxes, from the data (number 0) to the outputs.
fn layers(job: &Job) -> Result<Vec<Layer>, Failure> {
    let (laid, costs) = (job.network(), costs(job)?);
    let graph = laid.graph();
    let data = [format!("{}: data", job.name), job.data.shape.to_string(), String::new()];
    let mut layers = vec![Layer { text: data, reads: Vec::new() }];
    for (i, (node, place)) in graph.nodes.iter().zip(graph.places).enumerate() {
        let at = |origin| match origin {
            Origin::Data => 0,
            Origin::Node(j) => usize::from(j) + 1,
        };
        let cost = &costs[i];
        let text = [
            format!("{}: {}", job.network.names[i], node.layer.kind()),
            format!("{}, {} parameters, {} fraction bits", place.output, place.parameters, place.frac_bits),
            format!(
                "{} rounds, {} each way, {} dealt a step",
                cost.rounds,
                human_bytes(cost.bytes_each_way),
                human_bytes(cost.dealer_bytes)
            ),
        ];
        layers.push(Layer { text, reads: node.origins().map(at).collect() });
    }
    Ok(layers)
}

/// A line beside the boxes: the box that is read, the box that reads it, its distance in tracks.
type Jump = (usize, usize, i32);

/// Connections between boxes that are not neighbours, each on a track that is free where it runs.
fn jumps(layers: &[Layer]) -> Vec<Jump> {
    let mut jumps: Vec<Jump> = Vec::new();
    for (to, layer) in layers.iter().enumerate() {
        for from in layer.reads.iter().copied().filter(|from| from + 1 != to) {
            let taken = |track: &i32| jumps.iter().any(|(a, b, own)| own == track && *a < to && from < *b);
            let track = (0..).find(|track| !taken(track)).unwrap_or(0);
            jumps.push((from, to, track));
        }
    }
    jumps
}

fn svg(job: &Job) -> Result<String, Failure> {
    let layers = layers(job)?;
    let jumps = jumps(&layers);
    let tracks = jumps.iter().map(|(_, _, track)| track + 1).max().unwrap_or(0);
    let size = (BOX.0 + 2 * GAP + TRACK * tracks, top(layers.len()));
    let size = (size.0.unsigned_abs(), size.1.unsigned_abs());
    let mut svg = String::new();
    let drawn = draw(&SVGBackend::with_string(&mut svg, size).into_drawing_area(), &layers, &jumps);
    drawn.map_err(|error| Failure::Other(format!("the network cannot be drawn: {error}")))?;
    Ok(svg)
}

/// The upper edge of a box.
fn top(at: usize) -> i32 {
    GAP + (BOX.1 + GAP) * i32::try_from(at).unwrap_or(i32::MAX / 1024)
}

fn draw(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    layers: &[Layer],
    jumps: &[Jump],
) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let (left, right) = (GAP, GAP + BOX.0);
    let arrow = |tip: (i32, i32), [dx, dy]: [i32; 2]| {
        let (x, y) = (tip.0 - 7 * dx, tip.1 - 7 * dy);
        Polygon::new([tip, (x - 4 * dy, y - 4 * dx), (x + 4 * dy, y + 4 * dx)], BLACK.filled())
    };
    for (at, layer) in layers.iter().enumerate() {
        let top = top(at);
        area.draw(&Rectangle::new([(left, top), (right, top + BOX.1)], FILL.filled()))?;
        area.draw(&Rectangle::new([(left, top), (right, top + BOX.1)], BLACK.stroke_width(1)))?;
        for ((line, text), size) in (0..).zip(&layer.text).zip([15, 12, 12]) {
            area.draw(&Text::new(text.as_str(), (left + 10, top + 9 + 18 * line), ("sans-serif", size).into_font()))?;
        }
        if layer.reads.iter().any(|from| from + 1 == at) {
            let middle = i32::midpoint(left, right);
            area.draw(&PathElement::new([(middle, top - GAP), (middle, top)], BLACK.stroke_width(1)))?;
            area.draw(&arrow((middle, top), [0, 1]))?;
        }
    }
    for (from, to, track) in jumps {
        let x = right + TRACK * (track + 1);
        let [a, b] = [*from, *to].map(|at| top(at) + BOX.1 / 2);
        area.draw(&PathElement::new([(right, a), (x, a), (x, b), (right, b)], BLACK.stroke_width(1)))?;
        area.draw(&arrow((right, b), [-1, 0]))?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::path::Path;

    #[test]
    fn a_picture_has_each_layer_and_each_branch() {
        let text = include_str!("../../../jobs/digits-conv.toml");
        let branch = "{ kind = \"convolution\", name = \"first\", filters = 4, kernel = 3, padding = 1 },\n\
                      { kind = \"relu\" },\n{ kind = \"convolution\", name = \"second\", filters = 4, kernel = 3, padding = 1 },\n\
                      { kind = \"add\", input = [\"first\", \"second\"] },";
        let branched = text.replace("{ kind = \"convolution\", filters = 4, kernel = 3 },", branch);
        assert_ne!(text, branched);
        let job = Job::parse(&branched, Path::new("branched.toml")).unwrap();
        assert_eq!(jumps(&layers(&job).unwrap()), [(1, 4, 0)]);
        let picture = svg(&job).unwrap();
        for name in ["digits-conv: data", "first: convolution", "second: convolution", "add1: add", "dense1: dense"] {
            assert!(picture.contains(name), "{name}");
        }
        // A line and an arrow a connection: eight chained layers, of which one reads two.
        assert_eq!(picture.matches("<polygon").count(), job.network.nodes.len() + 1);
    }
}
