//! Public coefficients: polynomials near a function on an interval.
//!
//! Computed in double precision, without the standard library and without a heap, when a job is
//! planned and whenever a function is applied: at most some ten thousand values of the function.

/// Degree at most.
pub const MAX_DEGREE: usize = 15;

/// Coefficients of `1, x, x^2, …`; those above the degree are 0.
pub type Coefficients = [f64; MAX_DEGREE + 1];

/// The polynomial at `x`.
pub fn evaluate(coefficients: &Coefficients, x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

/// The polynomial's derivative.
pub fn derivative(coefficients: &Coefficients) -> Coefficients {
    let mut slope = Coefficients::default();
    for ((i, slope), c) in (1u8..).zip(&mut slope).zip(&coefficients[1..]) {
        *slope = f64::from(i) * c;
    }
    slope
}

/// Node `i` of `n` Chebyshev nodes of `[low, high]`, upwards.
fn node([low, high]: [f64; 2], i: usize, n: usize) -> f64 {
    let angle = core::f64::consts::PI * (number(i) + 0.5) / number(n);
    (low + high) / 2.0 - (high - low) / 2.0 * libm::cos(angle)
}

#[allow(clippy::cast_precision_loss)] // small
fn number(i: usize) -> f64 {
    i as f64
}

/// The polynomial of degree `degree` through the values of `g` at the Chebyshev nodes of
/// `interval`.
///
/// # Panics
///
/// If the degree is above [`MAX_DEGREE`].
pub fn interpolation(g: impl Fn(f64) -> f64, interval: [f64; 2], degree: usize) -> Coefficients {
    let n = degree + 1;
    let mut points = [[0.0; 2]; MAX_DEGREE + 1];
    for (i, point) in points[..n].iter_mut().enumerate() {
        let x = node(interval, i, n);
        *point = [x, g(x)];
    }
    through(&mut points[..n])
}

/// The polynomial through `points` by Newton's divided differences; the points are overwritten.
fn through(points: &mut [[f64; 2]]) -> Coefficients {
    let n = points.len();
    for order in 1..n {
        for i in (order..n).rev() {
            points[i][1] = (points[i][1] - points[i - 1][1]) / (points[i][0] - points[i - order][0]);
        }
    }
    let mut c = Coefficients::default();
    for [x, difference] in points.iter().rev() {
        // c = c (t - x) + difference
        for i in (1..n).rev() {
            c[i] = c[i - 1] - x * c[i];
        }
        c[0] = difference - x * c[0];
    }
    c
}

/// Points that a least-squares fit and the exchange look at.
const GRID: usize = 256;

fn grid([low, high]: [f64; 2], i: usize) -> f64 {
    low + (high - low) * number(i) / number(GRID)
}

/// The polynomial of least squared error on `interval`, at evenly spaced points: by polynomials
/// that are orthogonal on these points (Forsythe, 1957).
///
/// # Panics
///
/// If the degree is above [`MAX_DEGREE`].
pub fn least_squares(g: impl Fn(f64) -> f64, interval: [f64; 2], degree: usize) -> Coefficients {
    let mut basis = [Coefficients::default(); 2]; // the one before, the last
    basis[1][0] = 1.0;
    let (mut sum, mut norm_before) = (Coefficients::default(), 1.0);
    for order in 0..=degree {
        let (mut norm, mut product, mut middle) = (0.0, 0.0, 0.0);
        for i in 0..=GRID {
            let x = grid(interval, i);
            let p = evaluate(&basis[1], x);
            (norm, product, middle) = (norm + p * p, product + p * g(x), middle + x * p * p);
        }
        for (sum, p) in sum.iter_mut().zip(basis[1]) {
            *sum += p * product / norm;
        }
        if order < degree {
            // p' = (x - middle / norm) p - norm / norm_before p_before
            let mut next = Coefficients::default();
            let back = if order == 0 { 0.0 } else { norm / norm_before };
            for i in 0..=order + 1 {
                let shifted = if i > 0 { basis[1][i - 1] } else { 0.0 };
                next[i] = shifted - middle / norm * basis[1][i] - back * basis[0][i];
            }
            (basis, norm_before) = ([basis[1], next], norm);
        }
    }
    sum
}

/// The polynomial of least largest error on `interval`, nearly: Remez's exchange on a grid, from
/// the extremes of a Chebyshev polynomial on.
///
/// # Panics
///
/// If the degree is above [`MAX_DEGREE`].
pub fn minimax(g: impl Fn(f64) -> f64, interval: [f64; 2], degree: usize) -> Coefficients {
    let n = degree + 2;
    let mut values = [0.0; GRID + 1];
    for (i, value) in values.iter_mut().enumerate() {
        *value = g(grid(interval, i));
    }
    // Of one extreme more, all but the last: an odd function's errors vanish at symmetric places.
    let mut at = [0; MAX_DEGREE + 2];
    for (i, at) in at[..n].iter_mut().enumerate() {
        let place = (1.0 - libm::cos(core::f64::consts::PI * number(i) / number(n))) / 2.0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a place on the grid
        let nearest = libm::round(place * number(GRID)) as usize;
        *at = nearest;
    }
    let mut best = levelled(&values, interval, &at[..n]);
    for _ in 0..30 {
        let mut next = at;
        if !exchange(&values, interval, &best, &mut next[..n]) || next == at {
            break;
        }
        at = next;
        best = levelled(&values, interval, &at[..n]);
    }
    best
}

/// The polynomial whose errors at the places `at` are `± e`, alternating: the combination of that
/// through the values and that through the signs whose leading coefficient vanishes.
fn levelled(values: &[f64; GRID + 1], interval: [f64; 2], at: &[usize]) -> Coefficients {
    let n = at.len();
    let mut two = [[[0.0; 2]; MAX_DEGREE + 2]; 2];
    for (i, place) in at.iter().enumerate() {
        let x = grid(interval, *place);
        two[0][i] = [x, values[*place]];
        two[1][i] = [x, if i % 2 == 0 { 1.0 } else { -1.0 }];
    }
    let leading = two.map(|mut points| {
        // The highest divided difference alone.
        for order in 1..n {
            for i in (order..n).rev() {
                points[i][1] = (points[i][1] - points[i - 1][1]) / (points[i][0] - points[i - order][0]);
            }
        }
        points[n - 1][1]
    });
    let error = leading[0] / leading[1];
    let [mut points, signs] = two;
    points.iter_mut().zip(signs).for_each(|(point, sign)| point[1] -= error * sign[1]);
    through(&mut points[..n - 1])
}

/// Moves the places `at` to neighbouring extremes of the error, one between any two of its zeros,
/// the largest among them. False if there are not as many.
fn exchange(values: &[f64; GRID + 1], interval: [f64; 2], best: &Coefficients, at: &mut [usize]) -> bool {
    let error = |i: usize| values[i] - evaluate(best, grid(interval, i));
    let mut extremes = [(0.0, 0); 2 * MAX_DEGREE];
    let (mut count, mut positive) = (0, error(0) >= 0.0);
    for i in 0..=GRID {
        let e = error(i);
        if (e >= 0.0) != positive {
            (positive, count) = (e >= 0.0, count + 1);
        }
        let Some(extreme) = extremes.get_mut(count) else { return false };
        let e = if e < 0.0 { -e } else { e };
        if e >= extreme.0 {
            *extreme = (e, i);
        }
    }
    let extremes = &extremes[..=count];
    let largest = (0..extremes.len()).fold(0, |best, i| if extremes[i].0 > extremes[best].0 { i } else { best });
    let Some(spare) = extremes.len().checked_sub(at.len()) else { return false };
    let from = largest.saturating_sub(at.len() - 1).min(spare);
    for (at, (_, place)) in at.iter_mut().zip(&extremes[from..]) {
        *at = *place;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    fn largest_error(c: &Coefficients, g: impl Fn(f64) -> f64, [low, high]: [f64; 2]) -> f64 {
        (0..=4000)
            .map(|i| low + (high - low) * f64::from(i) / 4000.0)
            .map(|x| (evaluate(c, x) - g(x)).abs())
            .fold(0.0, f64::max)
    }

    /// The measured errors of one polynomial for the sigmoid on [-8, 8].
    #[test]
    fn sigmoids_have_the_known_errors() {
        for (degree, nodes, squares, levelled) in
            [(3, 0.116, 0.114, 0.090), (5, 0.062, 0.061, 0.041), (7, 0.030, 0.032, 0.019)]
        {
            let interval = [-8.0, 8.0];
            for (c, expected) in [
                (interpolation(sigmoid, interval, degree), nodes),
                (least_squares(sigmoid, interval, degree), squares),
                (minimax(sigmoid, interval, degree), levelled),
            ] {
                let error = largest_error(&c, sigmoid, interval);
                assert!((error - expected).abs() < 0.0045, "degree {degree}: {error}, expected {expected}");
            }
        }
        let error = largest_error(&minimax(sigmoid, [-5.0, 5.0], 7), sigmoid, [-5.0, 5.0]);
        assert!((error - 0.004).abs() < 0.001, "{error}");
    }

    #[test]
    fn polynomials_are_their_own_fits() {
        let cubic = |x: f64| 1.0 - x + 0.5 * x * x * x;
        for fit in
            [interpolation(cubic, [-1.0, 3.0], 4), least_squares(cubic, [-1.0, 3.0], 4), minimax(cubic, [-1.0, 3.0], 4)]
        {
            for (c, expected) in fit.iter().zip([1.0, -1.0, 0.0, 0.5, 0.0]) {
                assert!((c - expected).abs() < 1e-9, "{fit:?}");
            }
        }
        let slope = derivative(&interpolation(cubic, [-1.0, 3.0], 3));
        assert!((evaluate(&slope, 2.0) - 5.0).abs() < 1e-9);
    }

    #[test]
    fn exponentials_are_near() {
        for (degree, most) in [(4, 2e-4), (5, 1.2e-5), (7, 3.5e-8), (8, 1.7e-9)] {
            let error = largest_error(&interpolation(f64::exp2, [-1.0, 1.0], degree), f64::exp2, [-1.0, 1.0]);
            assert!(error < most, "degree {degree}: {error}");
        }
    }
}
