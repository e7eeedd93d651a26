"""Robust least squares for calibrations, by scipy: npuwatt[fit]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from npuwatt.arrays import Array
from npuwatt.audit.calibrate import Fitted


def solve(residuals: Callable[[Array], Array], start: Array, scale: float) -> Fitted:
    """Least robust sum of squares over the unit cube, first with a mild loss and from there with a forgetful one.

    Source
    ------
    Geman and McClure, "Statistical methods for tomographic image reconstruction", Bull. ISI 52, 1987:
    z / (1 + z), under which what is far off counts for a constant.
    """
    mild = least_squares(residuals, start, bounds=(0, 1), loss="soft_l1", f_scale=scale / 2, max_nfev=12)
    found = least_squares(
        residuals,
        mild.x,
        bounds=(0, 1),
        loss=_forgetful,
        f_scale=scale,
        max_nfev=60,
        xtol=1e-7,
        ftol=1e-9,
        gtol=1e-9,
    )
    return Fitted(values=found.x, jacobian=np.asarray(found.jac), cost=float(found.cost))


def _forgetful(z: Any) -> Any:
    return np.stack([z / (1 + z), (1 + z) ** -2, -2 * (1 + z) ** -3])
