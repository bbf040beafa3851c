"""Curves for the tests of doses."""

import numpy as np

from mnbatch.dosimetry.calibration_curve import Curve
from mnbatch.dosimetry.dose_intervals import Counts
from tests.assay.vectors import curves


def curve_of(name, **change):
    """A named curve of the vectors."""
    entry = curves()[name]
    coefficients = np.array(list(entry["coeffs"].values()))
    covariance = np.array(entry["vcov"], dtype=float)
    shape = "linear" if len(coefficients) == 2 else "linear-quadratic"
    return Curve(shape, "mn", coefficients, covariance, dose_range=(0.0, 5.0), **change)


def make_curve(coefficients=(0.0077, 0.0459, 0.0185), covariance=None, endpoint="mn", dose_range=(0.0, 5.0), **change):
    """A linear-quadratic curve near that of Vijayalakshmi et al. 2023."""
    if covariance is None:
        covariance = [[1.56e-6, -2.73e-6, 5.8e-7], [-2.73e-6, 1.49e-5, -3.66e-6], [5.8e-7, -3.66e-6, 1.1e-6]]
    coefficients, covariance = np.array(coefficients, dtype=float), np.array(covariance, dtype=float)
    return Curve("linear-quadratic", endpoint, coefficients, covariance, dose_range=dose_range, **change)


def one(cells, events, phi=1.0):
    """A single case."""
    return Counts.of([cells], [events], [phi])
