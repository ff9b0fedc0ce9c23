//! Kinds of models, from data to figures: regressions and networks over sequences.

mod regression;
mod sequences;
