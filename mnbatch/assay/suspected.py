"""A dose that somebody suspects (a dosimeter, a reconstruction): do the counts speak for it, or for no dose at all?"""

from __future__ import annotations

import numpy as np
from scipy.special import xlog1py, xlogy

from mnbatch.assay.curve import Curve
from mnbatch.assay.curve_table import Floats
from mnbatch.assay.dose_methods import Counts


def background_over_suspected(curve: Curve, counts: Counts, suspected: float, g: float = 1.0) -> Floats:
    """Decimal logarithm of L(0 Gy) / L(suspected dose) of each case, (n,), on the curve as it is estimated.

    Above 0 the counts speak for background. Poisson or binomial as the curve's endpoint is; neither dispersion nor the
    curve's own error is in it, so a ratio within a factor of ten says little.
    """
    none, dose = (float(curve.yields(d, g)) for d in (0.0, suspected))
    n, x = counts.cells, counts.events
    if curve.endpoint == "mnbn":
        log = xlogy(x, none) - xlogy(x, dose) + xlog1py(n - x, -none) - xlog1py(n - x, -dose)
    else:
        log = xlogy(x, none) - xlogy(x, dose) - n * (none - dose)
    return np.asarray(log / np.log(10), dtype=np.float64)
