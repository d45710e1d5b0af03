"""Quantities that change through the thickness of an electrode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Profile:
    """A quantity through the thickness.

    Attributes
    ----------
    values
        From the separator to the collector: one for all depths, or several at equal distances from face to face.
    stepped
        True for layers of equal thickness with one value each, instead of straight lines between the values.
    """

    values: tuple[float, ...]
    stepped: bool = False

    @property
    def uniform(self) -> bool:
        """True where the depth does not matter."""
        return len(set(self.values)) == 1

    @property
    def mean(self) -> float:
        """Mean over the thickness."""
        if self.stepped or len(self.values) == 1:
            return float(np.mean(self.values))
        return float(np.mean(0.5 * (np.asarray(self.values[1:]) + np.asarray(self.values[:-1]))))

    def at(self, depth: Floats) -> Floats:
        """Values at relative depths, same shape; 0 is the separator's face, 1 the collector's, constant beyond."""
        values, n = np.asarray(self.values, np.float64), len(self.values)
        if self.stepped or n == 1:
            layer = np.clip((np.asarray(depth) * n).astype(np.intp), 0, n - 1)
            return np.asarray(values[layer])
        return np.asarray(np.interp(depth, np.linspace(0.0, 1.0, n), values))

    def of_slices(self, n: int) -> Floats:
        """Values at the centres of n slices, shape (n,)."""
        return self.at((np.arange(n) + 0.5) / n)


def constant(value: float) -> Profile:
    """The same value at all depths."""
    return Profile((value,))
