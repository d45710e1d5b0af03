"""A cell whose solution is chosen: the fields, the sources that make them a solution, and Newton on what is left.

Four slabs lie across x: separator | pore | active material | binder, collector behind. Every field is a smooth function
of (x, y, z) in each slab. Its values and slopes at the slab's ends are chosen so that what the physics asks of a
surface holds there, as functions of (y, z):

    lithium|separator   F N = i_e = j_Li, which follows Butler-Volmer at the surface's salt concentration
    separator|pore      b D dc/dx and i_e continuous; b jumps
    pore|active         F n.N_s = F n.N = n.i_e = n.i_s = j, which follows Butler-Volmer behind a film
    active|binder       i_s continuous over a contact resistance; no lithium crosses (impermeable binder)
    binder|collector    phi_s = V
    sides               no flux, since all depends on y and z through cosines

The current densities j_Li, j, ... are given; the potentials follow from them. Inside the slabs nothing balances, and
the missing source of a cell is what leaves it: the exact fluxes through its six faces, by Gauss quadrature. Fluxes take
their gradients from differences of eighth order, good to ten digits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu
from shared import cells_of_tests

from battsim.constants import FARADAY
from battsim.materials.types import open_circuit
from battsim.models.cell.equations import Evaluation, Rate
from battsim.models.cell.jacobian import assembled, matrix_patterns
from battsim.models.resolved.half_cell import HalfCell
from battsim.solvers.block import BlockSolver
from battsim.solvers.newton import NewtonSettings, newton

Floats = NDArray[np.float64]
Lateral = Callable[[Floats, Floats], Floats]
"""A function of y and z (m)."""
Field = Callable[[Floats, Floats, Floats], Floats]
"""A function of x, y and z (m)."""

WIDTH = 4e-6
"""Of the cell along y and z, m; cells per width are the resolution."""
LENGTHS = (1.0, 1.0, 1.0, 0.5)
"""Of separator, pore, active material and binder, in widths."""
SEPARATOR, PORE, ACTIVE, BINDER = range(4)
B = (0.1, 1.0)
"""Transport factor of separator and pore."""
DENSITY = 20.0
"""Scale of all current densities, A/m2."""
CONTACT, FILM = 3e-4, 1e-4
"""Resistances, ohm m2."""
SIGMA = (0.01, 0.5)
"""Conductivity of active material and binder, S/m."""
RATE = 2.0
"""Factor of the storage term, 1/s: comparable with diffusion across a slab in the active material."""
VOLTAGE = 3.76
"""Of the terminal, V."""
GAUSS = np.polynomial.legendre.leggauss(3)
STEP = 5e-3 * WIDTH
"""Of the differences that make gradients, m."""
WEIGHTS = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
NORM = 1e-8
"""Newton's residual, relative to the sum of all currents."""


def parameters():
    """Materials: the measured electrolyte, D_s(x), a film, a contact resistance, contrasts in b and sigma."""
    cells = cells_of_tests()
    active = cells.make_active(diffusivity=cells.varying(4e-13, -1.0), film_resistance=FILM, conductivity=SIGMA[0])
    return cells.make_parameters(
        active, separator=(0.47, B[0]), transport="impermeable", conductivity=SIGMA[1], contact_resistance=CONTACT
    )


@dataclass(frozen=True)
class Piece:
    """A field on one slab: the cubic with given values and slopes at both ends, and a bump that changes neither."""

    start: float
    length: float
    low: Lateral
    high: Lateral
    slope_low: Lateral
    slope_high: Lateral
    bump: Lateral

    def __call__(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Value at points."""
        s, L = (x - self.start) / self.length, self.length
        cubic = self.low(y, z) * (1.0 + 2.0 * s) * (1.0 - s) ** 2 + self.high(y, z) * s**2 * (3.0 - 2.0 * s)
        slopes = self.slope_low(y, z) * L * s * (1.0 - s) ** 2 - self.slope_high(y, z) * L * s**2 * (1.0 - s)
        return cubic + slopes + self.bump(y, z) * np.sin(np.pi * s) ** 2


def derivative(function: Field, axis: int, at: tuple[Floats, Floats, Floats]) -> Floats:
    """Derivative along an axis by central differences of eighth order."""
    total = np.zeros(np.broadcast_shapes(*(np.shape(part) for part in at)))
    for k, weight in enumerate(WEIGHTS, 1):
        above = function(*(part + k * STEP * (a == axis) for a, part in enumerate(at)))
        below = function(*(part - k * STEP * (a == axis) for a, part in enumerate(at)))
        total += weight * (above - below)
    return total / STEP


def wave(mean: float, amplitude: float, ky: int, kz: int) -> Lateral:
    """Return mean + amplitude cos(ky pi y / W) cos(kz pi z / W): no slope at the sides."""
    return lambda y, z: mean + amplitude * np.cos(ky * np.pi * y / WIDTH) * np.cos(kz * np.pi * z / WIDTH)


@dataclass(frozen=True)
class Fields:
    """The chosen solution: c_e, phi_e, x, phi_s (absolute) as pieces by slab."""

    c_e: dict[int, Piece]
    phi_e: dict[int, Piece]
    x: dict[int, Piece]
    phi_s: dict[int, Piece]


class Chosen:
    """The chosen currents and surface values, and the fields that follow from them."""

    def __init__(self) -> None:
        self.parameters = parameters()
        self.T = self.parameters.temperature
        self.f = cells_of_tests().make_cell(np.array([0, 1]).reshape(2, 1, 1), self.parameters).f
        self.edges = WIDTH * np.concatenate([[0.0], np.cumsum(LENGTHS)])
        self.j = wave(-DENSITY, 0.3 * DENSITY, 1, 1)
        self.j_Li = wave(1.2 * DENSITY, 0.3 * DENSITY, 1, 0)
        self.i_middle = wave(0.9 * DENSITY, 0.2 * DENSITY, 0, 1)
        self.i_binder, self.i_collector = wave(1.1 * DENSITY, 0.3 * DENSITY, 1, 1), wave(DENSITY, 0.2 * DENSITY, 0, 1)
        self.c = (wave(1300.0, 80.0, 1, 1), wave(1050.0, 60.0, 1, 0), wave(800.0, 90.0, 0, 1))
        self.salt_flux = wave(2e-3, 4e-4, 1, 1)  # -b D dc/dx where separator and pore meet, mol/(m2 s)
        self.x_surface, self.x_back = wave(0.5, 0.04, 1, 1), wave(0.4, 0.03, 1, 0)
        self.phi = (wave(-0.02, 0.004, 1, 1), wave(-0.045, 0.005, 0, 1))  # where separator, pore and active meet
        self.fields = Fields(self._salt(), self._ionic(), self._lithium(), self._electronic())

    def _piece(self, slab: int, *given: Lateral) -> Piece:
        return Piece(self.edges[slab], self.edges[slab + 1] - self.edges[slab], *given)

    def _salt_slope(self, c: Lateral, i: Lateral, b: float) -> Lateral:
        """dc/dx where the ions' current i (along +x) is all lithium: F N = i."""
        e, T = self.parameters.electrolyte, self.T

        def slope(y: Floats, z: Floats) -> Floats:
            at = c(y, z)
            return -(1.0 - e.transference(at, T)[0]) * i(y, z) / (FARADAY * b * e.diffusivity(at, T)[0])

        return slope

    def _potential_slope(self, c: Lateral, dc: Lateral, i: Lateral, b: float) -> Lateral:
        """dphi_e/dx at concentration c with slope dc and ionic current i along +x."""

        def slope(y: Floats, z: Floats) -> Floats:
            at = c(y, z)
            kappa = self.parameters.electrolyte.conductivity(at, self.T)[0]
            return self.beta(at) * dc(y, z) / at - i(y, z) / (b * kappa)

        return slope

    def beta(self, c: Floats) -> Floats:
        """Diffusion potential per unit of ln c, V."""
        e, T = self.parameters.electrolyte, self.T
        return 2.0 / self.f * (1.0 - e.transference(c, T)[0]) * e.thermodynamic_factor(c, T)[0]

    def _salt_slopes(self) -> tuple[Lateral, Lateral, Lateral, Lateral]:
        """dc/dx at both ends of the separator and of the pore."""
        D, T = self.parameters.electrolyte.diffusivity, self.T
        middle = [lambda y, z, b=b: -self.salt_flux(y, z) / (b * D(self.c[1](y, z), T)[0]) for b in B]
        into_active = self._salt_slope(self.c[2], lambda y, z: -self.j(y, z), B[1])
        return self._salt_slope(self.c[0], self.j_Li, B[0]), middle[0], middle[1], into_active

    def _salt(self) -> dict[int, Piece]:
        slopes, c = self._salt_slopes(), self.c
        return {
            SEPARATOR: self._piece(SEPARATOR, c[0], c[1], *slopes[:2], wave(60.0, 20.0, 1, 1)),
            PORE: self._piece(PORE, c[1], c[2], *slopes[2:], wave(-50.0, 20.0, 1, 0)),
        }

    def _ionic(self) -> dict[int, Piece]:
        slopes, c = self._salt_slopes(), self.c
        out = [
            self._potential_slope(c[0], slopes[0], self.j_Li, B[0]),
            self._potential_slope(c[1], slopes[1], self.i_middle, B[0]),
            self._potential_slope(c[1], slopes[2], self.i_middle, B[1]),
            self._potential_slope(c[2], slopes[3], lambda y, z: -self.j(y, z), B[1]),
        ]

        def at_lithium(y: Floats, z: Floats) -> Floats:
            i0 = self.parameters.counter.exchange_current(c[0](y, z), self.T)[0]
            return -2.0 / self.f * np.arcsinh(0.5 * self.j_Li(y, z) / i0)

        return {
            SEPARATOR: self._piece(SEPARATOR, at_lithium, self.phi[0], *out[:2], wave(0.004, 0.001, 1, 1)),
            PORE: self._piece(PORE, self.phi[0], self.phi[1], *out[2:], wave(0.003, 0.001, 1, 0)),
        }

    def _lithium(self) -> dict[int, Piece]:
        active = self.parameters.active

        def slope(y: Floats, z: Floats) -> Floats:
            D = active.diffusivity(self.x_surface(y, z), self.T)[0]
            return self.j(y, z) / (FARADAY * active.max_concentration * D)

        none, bump = wave(0.0, 0.0, 0, 0), wave(0.02, 0.02, 1, 1)
        return {ACTIVE: self._piece(ACTIVE, self.x_surface, self.x_back, slope, none, bump)}

    def _electronic(self) -> dict[int, Piece]:
        active = self.parameters.active

        def at_surface(y: Floats, z: Floats) -> Floats:
            x, c, j = self.x_surface(y, z), self.c[2](y, z), self.j(y, z)
            eta = 2.0 / self.f * np.arcsinh(0.5 * j / active.exchange_current(x, c, self.T)[0])
            return self.phi[1](y, z) + open_circuit(active, x, self.T)[0] + eta + j * FILM

        back, V = wave(VOLTAGE + 0.01, 0.002, 1, 1), wave(VOLTAGE, 0.0, 0, 0)
        slopes = [
            lambda y, z: self.j(y, z) / SIGMA[0],
            lambda y, z: -self.i_binder(y, z) / SIGMA[0],
            lambda y, z: -self.i_binder(y, z) / SIGMA[1],
            lambda y, z: -self.i_collector(y, z) / SIGMA[1],
        ]

        def behind_contact(y: Floats, z: Floats) -> Floats:
            return back(y, z) - CONTACT * self.i_binder(y, z)

        return {
            ACTIVE: self._piece(ACTIVE, at_surface, back, *slopes[:2], wave(0.004, 0.002, 0, 1)),
            BINDER: self._piece(BINDER, behind_contact, V, *slopes[2:], wave(1e-4, 1e-4, 1, 0)),
        }

    def flux(self, name: str, slab: int, axis: int, at: tuple[Floats, Floats, Floats]) -> Floats:
        """Flux density of a row along an axis, A/m2, at points of a slab.

        F N_s for "x", F N for "c_e", i_s for "phi_s" and i_e for "phi_e".
        """
        p, fields = self.parameters, self.fields
        if name == "x":
            x = fields.x[slab]
            D = p.active.diffusivity(x(*at), self.T)[0]
            return -FARADAY * p.active.max_concentration * D * derivative(x, axis, at)
        if name == "phi_s":
            return -SIGMA[slab - ACTIVE] * derivative(fields.phi_s[slab], axis, at)
        c = fields.c_e[slab](*at)
        dc, dphi = derivative(fields.c_e[slab], axis, at), derivative(fields.phi_e[slab], axis, at)
        i = -B[slab] * p.electrolyte.conductivity(c, self.T)[0] * (dphi - self.beta(c) * dc / c)
        if name == "phi_e":
            return i
        t_plus, D = p.electrolyte.transference(c, self.T)[0], p.electrolyte.diffusivity(c, self.T)[0]
        return -FARADAY * B[slab] * D * dc + t_plus * i


class ManufacturedCell:
    """The chosen solution on a grid of n cells per width."""

    def __init__(self, chosen: Chosen, n: int) -> None:
        self.chosen, self.n, self.h = chosen, n, WIDTH / n
        counts = [round(n * length) for length in LENGTHS]
        labels = np.repeat([0, 1, 2], counts[1:])[:, None, None] * np.ones((1, n, n), int)
        cells = cells_of_tests()
        self.cell: HalfCell = cells.make_cell(labels, chosen.parameters, h=self.h, layers=(self.h,) * counts[0])
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        network, layout = self.cell.network, self.cell.layout
        self.reference = VOLTAGE
        self.exact, self.source = np.zeros(layout.size), np.zeros(layout.size)
        for name, of in (
            ("x", network.solid_cells),
            ("c_e", network.electrolyte_cells),
            ("phi_s", network.electronic_cells),
            ("phi_e", network.electrolyte_cells),
        ):
            part = getattr(layout, name)
            self.exact[part] = self._at_centres(name)[of] - (self.reference if name == "phi_s" else 0.0)
            self.source[part] = self._leaving(name)[of]
        self.current = self._collected()
        self.rate = Rate(RATE, self.exact)

    def _grid(self) -> tuple[Floats, Floats]:
        """Cell edges across the whole cell, and along its sides."""
        return self.h * np.arange(self.starts[-1] + 1), self.h * np.arange(self.n + 1)

    def _at_centres(self, name: str) -> Floats:
        """Chosen value of a field in every mesh cell's centre, zero where it has none."""
        x, y = (0.5 * (edges[1:] + edges[:-1]) for edges in self._grid())
        out = np.zeros((x.size, self.n, self.n))
        for slab, piece in getattr(self.chosen.fields, name).items():
            here = slice(self.starts[slab], self.starts[slab + 1])
            out[here] = piece(x[here, None, None], y[None, :, None], y[None, None, :])
        return out.ravel()

    def _leaving(self, name: str) -> Floats:
        """What leaves every mesh cell through its faces by the chosen fluxes, A."""
        out = np.zeros((self.starts[-1], self.n, self.n))
        for slab in getattr(self.chosen.fields, name):
            here = slice(self.starts[slab], self.starts[slab + 1])
            for axis in range(3):
                out[here] += np.diff(self._through(name, slab, axis), axis=axis)
        return out.ravel()

    def _through(self, name: str, slab: int, axis: int) -> Floats:
        """Chosen flux through all faces of a slab across an axis, A, positive along the axis."""
        x_edges, y_edges = self._grid()
        edges = [x_edges[self.starts[slab] : self.starts[slab + 1] + 1], y_edges, y_edges]
        points = [edge if k == axis else self._gauss_points(edge) for k, edge in enumerate(edges)]
        at = (points[0][:, None, None], points[1][None, :, None], points[2][None, None, :])
        flux = self.chosen.flux(name, slab, axis, at)
        for k in {0, 1, 2} - {axis}:  # the points of each face are neighbours along k
            by_face = np.moveaxis(flux, k, -1).reshape(*np.delete(flux.shape, k), -1, GAUSS[0].size)
            flux = np.moveaxis(0.5 * by_face @ GAUSS[1], -1, k)
        return flux * self.h**2

    def _gauss_points(self, edges: Floats) -> Floats:
        """The points of the quadrature between edges, one cell after the other."""
        return (0.5 * (edges[1:] + edges[:-1])[:, None] + 0.5 * self.h * GAUSS[0]).ravel()

    def _collected(self) -> float:
        """Chosen current through the collector, A."""
        return float(self._through("phi_s", BINDER, 0)[-1].sum())

    def solve(self, fields: tuple[str, ...]) -> Floats:
        """The discrete solution of the rows of some fields, the others being as chosen; all with V for ().

        Raises
        ------
        RuntimeError
            Where Newton does not converge.
        """
        layout = self.cell.layout
        if fields:
            live = np.concatenate([np.arange(layout.size)[getattr(layout, name)] for name in fields])
            linear = Restricted(self.cell, live)
        else:
            live, linear = np.arange(layout.size), BlockSolver(self.cell.networks, (2, 0, 1))
        result = newton(Problem(self, live), self.exact, linear, NewtonSettings(rtol=NORM, balance=np.inf))
        if not result.converged:
            raise RuntimeError(f"the manufactured cell with n = {self.n} did not converge: {result.status}")
        return result.u

    def errors(self, u: Floats) -> dict[str, float]:
        """Root mean square of solution minus choice in every cell, by field; V by itself."""
        layout = self.cell.layout
        difference = u - self.exact
        names = ("x", "c_e", "phi_s", "phi_e")
        out = {name: float(np.sqrt(np.mean(difference[getattr(layout, name)] ** 2))) for name in names}
        return out | {"V": abs(float(difference[layout.V]))}


class Problem:
    """Some rows of the manufactured system, as Newton sees them."""

    def __init__(self, given: ManufacturedCell, live: NDArray[np.integer]) -> None:
        self.given, self.live = given, live
        self.scale = DENSITY * WIDTH**2

    def evaluate(self, u: Floats) -> Evaluation:
        """Residual minus source in the live rows."""
        given = self.given
        e = given.cell.evaluate(u, given.reference, given.rate, given.current)
        residual = np.zeros_like(u)
        residual[self.live] = (e.residual - given.source)[self.live]
        return replace(e, residual=residual)

    def jacobian(self, e: Evaluation):
        """Of all rows; the linear solver takes the live ones."""
        return self.given.cell.jacobian(e)

    def norm(self, residual: Floats) -> float:
        """Sum over the current scale, as an upper bound."""
        return float(np.linalg.norm(residual) * np.sqrt(residual.size)) / self.scale

    def imbalance(self, residual: Floats) -> float:  # noqa: ARG002
        """Nothing beyond the norm is asked."""
        return 0.0

    def step_limit(self, u: Floats, du: Floats) -> float:  # noqa: ARG002
        """Newton starts next to the solution."""
        return 1.0


class Restricted:
    """Sparse LU of the live rows and columns."""

    def __init__(self, cell: HalfCell, live: NDArray[np.integer]) -> None:
        self.live, self.patterns = live, matrix_patterns(cell.network, cell.layout)

    def solve(self, jacobian, rhs: Floats, rtol: float) -> tuple[Floats, int, bool]:  # noqa: ARG002
        """Correction of the live unknowns, zero for the others."""
        matrix = assembled(jacobian, self.patterns)
        n = len(matrix.slices)
        whole = sp.block_array([[matrix.blocks.get((r, c)) for c in range(n)] for r in range(n)], format="csr")
        du = np.zeros(rhs.size)
        du[self.live] = splu(whole[self.live][:, self.live].tocsc()).solve(rhs[self.live])
        return du, 1, True
