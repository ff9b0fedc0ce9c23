//! Kinds of models, from data to figures: regressions, closed forms and networks over sequences.

mod closed_form;
mod lengths;
mod onnx;
mod regression;
mod reproduce;
mod sequences;
