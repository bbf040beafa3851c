"""mnbatch: overnight micronucleus scoring of slide-scanner exports.

As a library: `load_model`, `segment`, `scan`, `run`, `open_results`, `fit_curve`, `estimate_dose` (docs/api.md). They
are loaded when they are first used, so that `import mnbatch` stays instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

__all__ = [
    "Model",
    "Results",
    "Segmentation",
    "estimate_dose",
    "fit_curve",
    "load_model",
    "open_results",
    "run",
    "scan",
    "segment",
]

if TYPE_CHECKING:
    from mnbatch.api import (
        Model,
        Results,
        Segmentation,
        estimate_dose,
        fit_curve,
        load_model,
        open_results,
        run,
        scan,
        segment,
    )


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mnbatch import api

        return getattr(api, name)
    raise AttributeError(f"module 'mnbatch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
