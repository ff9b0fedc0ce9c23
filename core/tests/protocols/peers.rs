//! Default approximations of other systems, which the README compares with ours: their published
//! formulas, in real arithmetic.

/// `e^x` by its limit, with eight squarings (CrypTen,
/// `crypten/common/functions/approximations.py`).
fn exponential(x: f64) -> f64 {
    (0..8).fold(1.0 + x / 256.0, |y, _| y * y)
}

/// Ten steps of Newton's from `3 e^(1 - 2x) + 0.003` (CrypTen, as above).
fn reciprocal(x: f64) -> f64 {
    (0..10).fold(3.0 * exponential(1.0 - 2.0 * x) + 0.003, |y, _| 2.0 * y - y * y * x)
}

/// Three steps of Newton's from `2.2 e^-(x/2 + 0.2) + 0.2 - x/1024` (CrypTen, as above).
fn inverse_square_root(x: f64) -> f64 {
    let seed = 2.2 * exponential(-(x / 2.0 + 0.2)) + 0.2 - x / 1024.0;
    (0..3).fold(seed, |y, _| y * (3.0 - x * y * y) / 2.0)
}

/// `1/2 + x/8` (SPU, `SIGMOID_MM1`).
fn sigmoid(x: f64) -> f64 {
    0.5 + 0.125 * x
}

#[test]
fn the_readme_says_what_their_formulas_give() {
    assert!((reciprocal(100.0) * 100.0 - 1.0).abs() < 1e-6);
    let far = reciprocal(300.0);
    assert!(far.is_nan() || far.abs() > 1e30, "{far}");
    let error = 1.0 - inverse_square_root(200.0) * 200f64.sqrt();
    assert!((error - 0.78).abs() < 0.01, "{error}");
    assert!((sigmoid(8.0) - 1.0 / (1.0 + (-8f64).exp()) - 0.5).abs() < 1e-3);
}
