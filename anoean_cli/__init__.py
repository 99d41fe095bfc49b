"""anoean: anomaly detection with an encoding adversarial network.

>>> from anoean_cli import AnoEAN, load_model
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anoean_cli.estimator import AnoEAN
    from anoean_cli.inference.model import load_model

__all__ = ["AnoEAN", "load_model"]


def __getattr__(name: str) -> Any:
    # The command line imports this package first: what it may not need is imported on demand.
    if name == "AnoEAN":
        from anoean_cli.estimator import AnoEAN

        return AnoEAN
    if name == "load_model":
        from anoean_cli.inference.model import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
