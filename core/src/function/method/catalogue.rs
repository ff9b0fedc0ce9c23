//! The functions and methods that the commands list and the tests sweep.

use super::{
    Function, Method,
    limit::Limit,
    mapping::Mapping,
    periodic::Periodic,
    polynomial::{Fit, Polynomial},
    segments::Segments,
};
use crate::function::{
    Numbers,
    scalar::{AnyScalar, Cosine, Erf, Exponential, Sigmoid, Sine, Tanh},
};

const EXPONENTIAL: AnyScalar = AnyScalar::Exponential(Exponential {});
const SIGMOID: AnyScalar = AnyScalar::Sigmoid(Sigmoid {});
const TANH: AnyScalar = AnyScalar::Tanh(Tanh {});

/// A polynomial of the literature.
const fn polynomial(scalar: AnyScalar, degree: u8, fit: Fit, interval: [f64; 2]) -> Function {
    let zero_below = matches!(scalar, AnyScalar::Exponential(_));
    Function { scalar, method: Method::Polynomial(Polynomial { degree, fit, interval, raw: false, zero_below }) }
}

/// The approximations of the literature: polynomials, and the exponential by its limit. Taylor's
/// polynomials of the exponential are 0 below their turning points.
const POLYNOMIALS: [Function; 9] = [
    polynomial(EXPONENTIAL, 2, Fit::Taylor, [-1.0, 0.0]),
    polynomial(EXPONENTIAL, 4, Fit::Taylor, [-1.596, 0.0]),
    polynomial(SIGMOID, 3, Fit::Taylor, [-2.0, 2.0]),
    polynomial(SIGMOID, 3, Fit::Interpolation, [-8.0, 8.0]),
    polynomial(SIGMOID, 3, Fit::LeastSquares, [-8.0, 8.0]),
    polynomial(SIGMOID, 3, Fit::Minimax, [-8.0, 8.0]),
    polynomial(SIGMOID, 7, Fit::Minimax, [-8.0, 8.0]),
    polynomial(TANH, 5, Fit::Minimax, [-4.0, 4.0]),
    Function { scalar: EXPONENTIAL, method: Method::Limit(Limit { squarings: 3 }) },
];

/// A series of sines.
const fn periodic(scalar: AnyScalar, terms: u8, interval: [f64; 2]) -> Function {
    Function { scalar, method: Method::Periodic(Periodic { terms, interval, raw: false }) }
}

/// Series of sines, from one opening; those of sine and cosine are exact.
const SERIES: [Function; 6] = [
    periodic(SIGMOID, 5, [-8.0, 8.0]),
    periodic(SIGMOID, 8, [-8.0, 8.0]),
    periodic(TANH, 8, [-4.0, 4.0]),
    periodic(AnyScalar::Erf(Erf {}), 6, [-4.0, 4.0]),
    periodic(AnyScalar::Sine(Sine {}), 1, Mapping::UNSET),
    periodic(AnyScalar::Cosine(Cosine {}), 1, Mapping::UNSET),
];

/// The named tables of segments.
const SEGMENTS: [(AnyScalar, u8); 7] =
    [(TANH, 3), (SIGMOID, 3), (SIGMOID, 5), (EXPONENTIAL, 4), (EXPONENTIAL, 5), (EXPONENTIAL, 6), (EXPONENTIAL, 7)];

impl Function {
    /// Every function by its default method and directly, and the approximations of the literature:
    /// what the ring has room for.
    pub fn catalogue(numbers: &Numbers) -> impl Iterator<Item = Self> {
        let numbers = *numbers;
        let own = AnyScalar::all().flat_map(move |scalar| {
            let direct = Self { scalar, method: Method::Direct };
            let suited = Self::by_default(scalar, &numbers);
            [Some(suited), (suited != direct).then_some(direct)].into_iter().flatten()
        });
        let segments = SEGMENTS.into_iter().filter_map(|(scalar, parts)| {
            Segments::named(&scalar, parts).map(|segments| Self { scalar, method: Method::Segments(segments) })
        });
        own.chain(POLYNOMIALS).chain(segments).chain(SERIES).filter(move |function| function.check(&numbers).is_ok())
    }
}
