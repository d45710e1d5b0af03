"""Reaction current of an interface from cell values: kinetics behind the half-cell drops, solved face by face.

A finite volume knows the values at cell centres, Butler-Volmer those at the surface. With j the current density on the
true surface (A/m2, positive when lithium leaves the solid) and d the half-cell distances,

    x_f     = x - j d_s / (F D_s c_max)
    c_f     = c_e + (1 - t_plus) j d_e / (F b D_e)
    phi_s,f = phi_s - j (d_s / sigma + R_film)
    phi_e,f = phi_e + j d_e / (b kappa) + beta ln(c_f / c_e)
    eta     = phi_s,f - phi_e,f - U(x_f),        j = i0(x_f, c_f) (exp(alpha_a f eta) - exp(-alpha_c f eta))

is one scalar equation in j. Its root lies between the currents that would empty or fill the surface, so it is
bracketed: 0 < x_f < 1 and c_f > 0 hold by construction. Derivatives follow from the implicit function theorem.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from battsim.physics.kinetics import butler_volmer

Floats = NDArray[np.float64]

MAX_ITERATIONS = 200
INSIDE = 1.0 - 1e-10
"""Share of the current that would fill, empty or deplete a surface up to which j may go."""
AT_BOUND = 1e-9
"""Relative distance to a bound below which j is the bound."""
LARGEST_POTENTIAL = 20.0
"""Bound of abs(U) and of the diffusion potential together, V: no current exceeds what it drives through the drops."""
FULL = 1e-13
"""Distance of a surface from empty or full that round-off leaves."""
RELATIVE_TOLERANCE = 1e-12
LAST_STEP = 1e-7
"""Relative size of a Newton step after which none is needed: the error that it leaves is of the order of its square."""
NOISE = 1e-12
"""Round-off of j relative to i0: potentials of volts carry 1e-15 V, times f."""


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceState:
    """Exchange current density and equilibrium potential at a surface, with derivatives, each shape (n,).

    i0 (A/m2), its derivatives by x and by c_e (mol/m3); U (V) and dU/dx (V).
    """

    i0: Floats
    di0_dx: Floats
    di0_dc: Floats
    U: Floats
    dU: Floats


SurfaceLaw = Callable[[Floats, Floats], SurfaceState]
"""Surface state from stoichiometry x and salt concentration c_e."""


@dataclass(frozen=True, slots=True, eq=False)
class HalfCellDrops:
    """What one A/m2 costs between cell centre and surface, per face, with derivatives by the cell's own state.

    Attributes
    ----------
    x, dx
        Stoichiometry, m2/A, and its derivative by x.
    solid
        Electronic plus film resistance, ohm m2.
    c, dc
        Salt concentration, (mol/m3) m2/A, and its derivative by c_e.
    ionic, dionic
        Ionic resistance, ohm m2, and its derivative by c_e.
    beta, dbeta
        Diffusion potential per unit of ln c, V, and its derivative by c_e.
    """

    x: Floats
    dx: Floats
    solid: Floats
    c: Floats
    dc: Floats
    ionic: Floats
    dionic: Floats
    beta: Floats
    dbeta: Floats

    def at(self, faces: NDArray[np.bool_]) -> HalfCellDrops:
        """The drops of some of the faces."""
        return HalfCellDrops(**{field.name: getattr(self, field.name)[faces] for field in fields(self)})


@dataclass(frozen=True, slots=True, eq=False)
class Kinetics:
    """Butler-Volmer of one pair of solid and electrolyte.

    Attributes
    ----------
    law
        Exchange current and equilibrium potential as functions of the surface state.
    alpha_a, alpha_c
        Anodic and cathodic transfer coefficients.
    f
        F / (R T), 1/V.
    """

    law: SurfaceLaw
    alpha_a: float
    alpha_c: float
    f: float


@dataclass(frozen=True, slots=True, eq=False)
class CellValues:
    """What the cells on both sides of each face hold, each shape (n,).

    x: stoichiometry in (0, 1); c_e: salt concentration, mol/m3, positive; dphi: phi_s - phi_e, V.
    """

    x: Floats
    c_e: Floats
    dphi: Floats

    def at(self, faces: NDArray[np.bool_]) -> CellValues:
        """The values at some of the faces."""
        return CellValues(self.x[faces], self.c_e[faces], self.dphi[faces])


@dataclass(frozen=True, slots=True, eq=False)
class InterfaceCurrent:
    """Current density j (A/m2, positive when lithium leaves the solid), derivatives by the cell values, surface values.

    `dphi` is the cell values' phi_s - phi_e. `converged` is False where the bracketed iteration was cut off.
    """

    j: Floats
    dj_dx: Floats
    dj_dc: Floats
    dj_dphi: Floats
    x_surface: Floats
    c_surface: Floats
    eta: Floats
    U: Floats
    converged: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Bounds:
    """Lowest and highest possible j (A/m2), what mass transfer alone allows, and their derivatives by the cell values.

    They are j itself where the potentials ask for more than a surface resolved to INSIDE can tell apart.
    """

    low: Floats
    high: Floats
    dlow_dx: Floats
    dlow_dc: Floats
    dhigh_dx: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Mismatch:
    """G(j) = j - Butler-Volmer(j), its partial derivatives and the surface values."""

    G: Floats
    dG_dj: Floats
    B_eta: Floats
    B_i0: Floats
    x_f: Floats
    c_f: Floats
    eta: Floats
    surface: SurfaceState


def interface_current(kinetics: Kinetics, drops: HalfCellDrops, cells: CellValues, guess: Floats) -> InterfaceCurrent:
    """Root j of the surface balance on every face and its derivatives.

    Parameters
    ----------
    kinetics
        Butler-Volmer of the surface.
    drops
        Half-cell drops per A/m2.
    cells
        Values of the cells on both sides.
    guess
        First guess of j, shape (n,), A/m2.
    """
    bounds = _bounds(drops, cells)
    j, converged = _bracketed_root(kinetics, drops, cells, guess, bounds)
    m = _mismatch(kinetics, drops, cells, j)
    x_f_x = 1.0 - j * drops.dx
    c_f_c = 1.0 + j * drops.dc
    eta_c = -j * drops.dionic - drops.dbeta * np.log(m.c_f / cells.c_e) - drops.beta * (c_f_c / m.c_f - 1.0 / cells.c_e)
    G_x = (m.B_eta * m.surface.dU - m.B_i0 * m.surface.di0_dx) * x_f_x
    G_c = -m.B_eta * eta_c - m.B_i0 * m.surface.di0_dc * c_f_c
    at_low = j - bounds.low <= AT_BOUND * np.abs(bounds.low)
    at_high = bounds.high - j <= AT_BOUND * bounds.high
    at = [at_low, at_high]
    return InterfaceCurrent(
        j=j,
        dj_dx=np.select(at, [bounds.dlow_dx, bounds.dhigh_dx], -G_x / m.dG_dj),
        dj_dc=np.select(at, [bounds.dlow_dc, np.zeros_like(j)], -G_c / m.dG_dj),
        dj_dphi=np.where(at_low | at_high, 0.0, m.B_eta / m.dG_dj),
        x_surface=m.x_f,
        c_surface=m.c_f,
        eta=m.eta,
        U=m.surface.U,
        converged=converged,
    )


def _mismatch(kinetics: Kinetics, drops: HalfCellDrops, cells: CellValues, j: Floats) -> _Mismatch:
    x_f = np.clip(cells.x - j * drops.x, FULL, 1.0 - FULL)
    c_f = cells.c_e + j * drops.c
    surface = kinetics.law(x_f, c_f)
    eta = cells.dphi - j * (drops.solid + drops.ionic) - drops.beta * np.log(c_f / cells.c_e) - surface.U
    B, B_eta, B_i0 = butler_volmer(eta, surface.i0, kinetics.alpha_a, kinetics.alpha_c, kinetics.f)
    eta_j = -(drops.solid + drops.ionic) - drops.beta * drops.c / c_f + surface.dU * drops.x
    i0_j = -surface.di0_dx * drops.x + surface.di0_dc * drops.c
    return _Mismatch(j - B, 1.0 - B_eta * eta_j - B_i0 * i0_j, B_eta, B_i0, x_f, c_f, eta, surface)


def _bounds(drops: HalfCellDrops, cells: CellValues) -> _Bounds:
    """Currents between which the root lies: none empties or fills the surface, none exceeds the ohmic limit."""
    x, c_e = cells.x, cells.c_e
    with np.errstate(divide="ignore", invalid="ignore"):
        ohmic = (np.abs(cells.dphi) + LARGEST_POTENTIAL) / (drops.solid + drops.ionic)
        solid, salt = drops.x > 0.0, drops.c > 0.0
        fill = np.where(solid, (1.0 - x) / drops.x, np.inf)
        empty = np.where(solid, x / drops.x, np.inf)
        deplete = np.where(salt, c_e / drops.c, np.inf)
        by_filling, by_salt = fill <= np.minimum(deplete, ohmic), deplete < np.minimum(fill, ohmic)
        dfill_dx = np.where(by_filling, (1.0 + (1.0 - x) * drops.dx / drops.x) / drops.x, 0.0)
        ddeplete_dc = np.where(by_salt, (c_e * drops.dc / drops.c - 1.0) / drops.c, 0.0)
        dempty_dx = np.where(empty <= ohmic, (1.0 - x * drops.dx / drops.x) / drops.x, 0.0)
    return _Bounds(
        low=-np.minimum(np.minimum(fill, deplete) * INSIDE, ohmic),
        high=np.minimum(empty * INSIDE, ohmic),
        dlow_dx=INSIDE * dfill_dx,
        dlow_dc=INSIDE * ddeplete_dc,
        dhigh_dx=INSIDE * dempty_dx,
    )


def _bracketed_root(
    kinetics: Kinetics, drops: HalfCellDrops, cells: CellValues, guess: Floats, bounds: _Bounds
) -> tuple[Floats, NDArray[np.bool_]]:
    """Newton on j, replaced by bisection wherever it leaves the bracket; faces that have converged drop out."""
    low, high = bounds.low.copy(), bounds.high.copy()
    j = np.clip(guess, 0.999 * low, 0.999 * high)
    todo = np.arange(j.size)
    here, values = drops, cells
    for _ in range(MAX_ITERATIONS):
        if todo.size == 0:
            break
        j_old = j[todo]
        m = _mismatch(kinetics, here, values, j_old)
        above = m.G > 0.0
        high[todo] = np.where(above, j_old, high[todo])
        low[todo] = np.where(above, low[todo], j_old)
        newton = j_old - m.G / m.dG_dj
        safe = (newton >= low[todo]) & (newton <= high[todo]) & (m.dG_dj > 0.0)
        j_new = np.where(safe, newton, 0.5 * (low[todo] + high[todo]))
        noise = NOISE * m.surface.i0
        tolerance, change = RELATIVE_TOLERANCE * np.abs(j_new) + noise, np.abs(j_new - j_old)
        j[todo] = j_new
        # Newton's next step would be as small as the square of this one
        done = (change <= tolerance) | (safe & (change <= LAST_STEP * np.abs(j_new) + noise))
        open_faces = ~done & (high[todo] - low[todo] > tolerance)
        if open_faces.all():
            continue
        todo = todo[open_faces]
        here, values = here.at(open_faces), values.at(open_faces)
    converged = np.ones(j.size, dtype=bool)
    converged[todo] = False
    return j, converged
