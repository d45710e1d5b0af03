"""The state vector of a cell: [x | c_e | phi_s | phi_e | V]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each field lies: stoichiometry x, salt c_e (mol/m3), potentials phi_s, phi_e, V (V).

    V and the phi_s of its electrode are stored relative to a reference potential, so that differences of volts do not
    cancel digits. The first `n_grounded` phi_s belong to an electrode at the ground and are absolute.
    """

    n_solid: int
    n_electrolyte: int
    n_electronic: int
    n_grounded: int = 0

    @property
    def x(self) -> slice:
        """Stoichiometry of the active material."""
        return slice(0, self.n_solid)

    @property
    def c_e(self) -> slice:
        """Salt concentration."""
        return slice(self.n_solid, self.n_solid + self.n_electrolyte)

    @property
    def phi_s(self) -> slice:
        """Potential of the electron conductors; `referred` of it is relative to the reference."""
        start = self.n_solid + self.n_electrolyte
        return slice(start, start + self.n_electronic)

    @property
    def referred(self) -> slice:
        """phi_s of the terminal's electrode, relative to the reference."""
        return slice(self.phi_s.start + self.n_grounded, self.phi_s.stop)

    @property
    def phi_e(self) -> slice:
        """Potential of the electrolyte."""
        start = self.n_solid + self.n_electrolyte + self.n_electronic
        return slice(start, start + self.n_electrolyte)

    @property
    def V(self) -> int:
        """Terminal voltage, relative to the reference."""
        return self.size - 1

    @property
    def potentials(self) -> slice:
        """phi_s, phi_e and V together: one symmetric network."""
        return slice(self.phi_s.start, self.size)

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return self.n_solid + 2 * self.n_electrolyte + self.n_electronic + 1


def shifted(layout: Layout, u: Floats, shift: float) -> Floats:
    """The same state with its reference potential raised by `shift` (V)."""
    out = u.copy()
    out[layout.referred] -= shift
    out[layout.V] -= shift
    return out


def absolute_phi_s(layout: Layout, u: Floats, reference: float) -> Floats:
    """Potential of the electron conductors against the ground, shape (n_electronic,), V."""
    phi_s = u[layout.phi_s].copy()
    phi_s[layout.n_grounded :] += reference
    return phi_s
