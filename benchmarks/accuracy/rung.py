"""A line of the ladder: what was compared with what, at which resolutions, how far apart, and whether that will do."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

SMALLEST, LARGEST = 1e-300, 1e300
"""Between which an error has a logarithm."""


@dataclass(frozen=True)
class Line:
    """A row of the table.

    Attributes
    ----------
    what
        The quantity.
    kind
        exact | manufactured | independent code | conservation | symmetry | self-convergence.
    against
        What it is compared with.
    resolutions
        Numbers of cells or steps, or names of the variants; numbers where there is an order.
    errors
        One per resolution, in `unit`.
    bound
        Largest error that passes, at the last resolution, or one per resolution.
    order
        The order that is expected between the last two resolutions; None where none is.
    slack
        By how much the observed order may fall short of it, since no grid is infinitely fine.
    note
        What else a reader should know.
    """

    what: str
    kind: str
    against: str
    resolutions: Sequence[float | str]
    errors: Sequence[float]
    unit: str
    bound: float | Sequence[float]
    order: float | None = None
    slack: float = 0.2
    note: str = ""

    @property
    def observed(self) -> list[float]:
        """Order between neighbouring resolutions; empty where resolutions are names or no order is expected."""
        if self.order is None:
            return []
        r, e = np.array(self.resolutions, dtype=float), np.array(self.errors, dtype=float)
        e = np.clip(np.nan_to_num(e, nan=LARGEST), SMALLEST, LARGEST)
        return [float(value) for value in np.log(e[:-1] / e[1:]) / np.log(r[1:] / r[:-1])]

    @property
    def passed(self) -> bool:
        """Errors within their bounds, and the order reached."""
        errors = np.array(self.errors, dtype=float)
        bounds = np.atleast_1d(np.array(self.bound, dtype=float))
        within = np.all(np.isfinite(errors)) and np.all(errors[-bounds.size :] <= bounds)
        return bool(within and (self.order is None or self.observed[-1] >= self.order - self.slack))

    def record(self) -> dict[str, Any]:
        """Everything, for JSON; what is not a finite number is None."""
        errors = [float(error) if np.isfinite(error) else None for error in self.errors]
        return asdict(self) | {"errors": errors, "observed": self.observed, "passed": self.passed}

    def cells(self) -> list[str]:
        """The row: what, against, kind, resolutions, errors, order, bound, passed."""
        bounds = np.atleast_1d(np.array(self.bound, dtype=float))
        return [
            self.what,
            f"{self.against} ({self.kind})",
            ", ".join(f"{r:g}" if not isinstance(r, str) else r for r in self.resolutions),
            ", ".join(f"{e:.2g}" for e in self.errors) + (f" {self.unit}" if self.unit else ""),
            ", ".join(f"{p:.2f}" for p in self.observed) or "-",
            ", ".join(f"{b:.2g}" for b in bounds) + (f"; order {self.order:g}" if self.order is not None else ""),
            "yes" if self.passed else "NO",
            self.note,
        ]


HEADER = ("what", "compared with", "resolution", "error", "observed order", "bound", "passed", "remark")
