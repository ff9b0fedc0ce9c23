//! The numbers that losses take and refuse.

use crate::loss::{Case, Data, huber, played, smoothed};
use symbolon_core::{
    loss::{AnyLoss, Describe, Huber, Logistic, LossError, Numbers, SoftmaxCrossEntropy, SquaredError},
    protocol::scaled::Dyadic,
    word::Word,
};

#[test]
fn losses_refuse_what_they_cannot_compute() {
    let numbers = Numbers { ring_bits: 32, outputs: 10, frac_bits: 11, output_frac_bits: 22, label_frac_bits: 0 };
    let refused = |loss: AnyLoss, numbers: Numbers| loss.check(&numbers).unwrap_err();
    let softmax = || AnyLoss::from(SoftmaxCrossEntropy::default());
    assert_eq!(softmax().check(&numbers), Ok(()));
    for outputs in [0, 1, 256] {
        let numbers = Numbers { outputs, ..numbers };
        assert_eq!(refused(softmax(), numbers), LossError::Outputs { outputs, least: 2, most: 255 });
    }
    let labels = Numbers { label_frac_bits: 11, ..numbers };
    assert_eq!(refused(softmax(), labels), LossError::LabelFracBits { label_frac_bits: 11, most: 0 });
    let smoothing = |factor, shift| {
        let label_smoothing = Dyadic { factor, shift };
        SoftmaxCrossEntropy { label_smoothing, ..Default::default() }
    };
    // Words leave 29 - 23 bits for the target of a wrong class.
    for (factor, shift) in [(1, 0), (3, 0), (1, 6), (1, 32)] {
        let error = LossError::Smoothing { smoothing: Dyadic { factor, shift }, classes: 10, bits: 6 };
        assert_eq!(refused(smoothing(factor, shift).into(), numbers), error);
    }
    let rounded = |loss: SoftmaxCrossEntropy| loss.rounded(&numbers);
    assert_eq!(rounded(smoothing(5, 5)), Some(("label_smoothing", 0.15625, 0.15625)));
    assert_eq!(rounded(smoothing(3, 4)), Some(("label_smoothing", 0.1875, 0.15625)));
    assert_eq!(rounded(SoftmaxCrossEntropy::default()), None);
    assert_eq!(refused(smoothed(9).into(), numbers), LossError::ClassWeights { weights: 9, classes: 10 });
    let far = Numbers { frac_bits: 14, ..numbers };
    assert_eq!(refused(Logistic {}.into(), far), LossError::FracBits { frac_bits: 14, least: 2, most: 13 });
    let delta = |factor, shift| Huber { delta: Dyadic { factor, shift } };
    for (factor, shift) in [(0, 0), (1, 12), (1 << 6, 0), (1, u32::MAX)] {
        assert_eq!(
            refused(delta(factor, shift).into(), numbers),
            LossError::Delta { delta: Dyadic { factor, shift }, frac_bits: 11, most_bits: 17 }
        );
    }
    assert_eq!(delta(63, 0).check(&numbers), Ok(()));
    let labels = Numbers { label_frac_bits: 12, ..numbers };
    for loss in [AnyLoss::from(delta(1, 0)), Logistic {}.into(), SquaredError {}.into()] {
        let error = refused(loss, labels);
        assert_eq!(error, LossError::LabelFracBits { label_frac_bits: 12, most: 11 });
        assert!(error.to_string().contains("at most 11"), "{error}");
    }
}

/// The largest fraction bits that the losses accept still compute.
#[test]
fn accepted_fraction_bits_compute() {
    fn check<W: Word>() {
        let losses =
            [SoftmaxCrossEntropy::default().into(), SquaredError {}.into(), Logistic {}.into(), huber(3, 4).loss];
        for loss in losses {
            let fits = |f: &u32| loss.check(&Case::new(loss.clone(), 3, *f).numbers::<W>()).is_ok();
            let (least, most) = ((0..W::BITS).find(fits).unwrap(), (0..W::BITS).rev().find(fits).unwrap());
            for frac_bits in [least, most] {
                let case = Case::new(loss.clone(), 3, frac_bits);
                let data = Data::classes(vec![0, 1, 0, 1, 0, 0], 3, Some);
                let ([got, _], _) = played::<W>(&case, &data, 4);
                assert_eq!(got.len(), 6);
            }
        }
    }
    check::<u32>();
    check::<u64>();
}
