"""One implicit step of the FiPy half cell: sweeps over its three equations until none of them moves.

A sweep solves the concentrations for the currents of the sweep before, then the potentials for the new concentrations
with a reaction that answers to them, and sets the terminal voltage so that the current is the wanted one. Convergence
is judged by the residuals that FiPy finds before each solve, and by the mismatch of the linearised with the true
reaction. At the end the potentials alone are solved to round-off, so that every ampere is accounted for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.constants import FARADAY
from battsim.errors import NotConvergedError
from battsim.models.cell.network import Faces
from battsim.models.cell.state import shifted
from battsim.models.cell.transient import LARGEST_POTENTIAL_STEP, NEAREST_TO_EMPTY, Held
from battsim.models.fipy_cell.anderson import Anderson
from battsim.models.fipy_cell.equations import FipyHalfCell
from battsim.physics.electrolyte import SaltFluxes
from battsim.physics.interface import InterfaceCurrent

Floats = NDArray[np.float64]

LOOSE, TIGHT = 1e-2, 1e-6
"""Reduction of the residual in the linear solves of a sweep, and of the last solves for the potentials."""
CLOSED = 1e-9
"""Largest charge out of balance at the end, over the current scale."""
VOLTAGE_CORRECTIONS = 5
PATIENCE = 10
"""Sweeps without a new smallest residual before giving up."""


@dataclass(frozen=True, slots=True)
class Solvers:
    """FiPy solvers that raise where they do not converge, with `tolerance`, `absolute_tolerance` and `total`."""

    charge: Any
    salt: Any
    solid: Any

    @property
    def iterations(self) -> int:
        """Linear iterations so far."""
        return int(self.charge.total + self.salt.total + self.solid.total)


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """When sweeps end.

    Attributes
    ----------
    rtol
        Largest sum of absolute residuals of each equation over the current scale.
    max_sweeps
        Sweeps before giving up.
    depth
        Earlier sweeps that take part in Anderson's mixing.
    """

    rtol: float = 1e-6
    max_sweeps: int = 40
    depth: int = 8


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """A state, and how it was reached; `status` says what went wrong where not converged. u is always finite.

    `history` is the largest of the equations' residuals over the current scale, sweep by sweep.
    """

    u: Floats
    current: float
    converged: bool
    status: str
    sweeps: int
    linear_iterations: int
    history: tuple[float, ...]


class Sweeps:
    """Solves implicit steps of a half cell.

    Parameters
    ----------
    cell
        Fields and equations.
    solvers
        One for each equation.
    current_scale
        Current against which residuals are measured, A, positive.
    settings
        When to stop.
    """

    def __init__(
        self, cell: FipyHalfCell, solvers: Solvers, current_scale: float, settings: SweepSettings | None = None
    ) -> None:
        self.cell, self.solvers, self.scale = cell, solvers, current_scale
        self.settings = settings or SweepSettings()

    def step(self, a: float, u_star: Floats, guess: Floats, reference: float, control: Held) -> Swept:
        """State with du/dt = a (u - u_star) under a control, from a first guess; a = 0 keeps the concentrations."""
        cell, solvers = self.cell, self.solvers
        history: list[float] = []
        before, status = solvers.iterations, "converged"
        cell.begin(a, u_star, guess, reference)
        if control.kind == "voltage":
            cell.V.setValue(control.value - reference)
        try:
            if a > 0.0:
                self._sweep_until_still(control, history)
            self._close(control)
        except NotConvergedError as error:
            status = str(error)
        u = shifted(cell.cell.layout, cell.state(), reference - cell.reference)
        return Swept(
            u=u if np.isfinite(u).all() else guess,
            current=cell.current(),
            converged=status == "converged",
            status=status,
            sweeps=len(history),
            linear_iterations=solvers.iterations - before,
            history=tuple(history),
        )

    def _sweep_until_still(self, control: Held, history: list[float]) -> None:
        limit, anderson = self.settings.rtol, Anderson(self.settings.depth)
        for _ in range(self.settings.max_sweeps):
            moved, before = self._concentrations(), self._currents()
            charge = self._charge(control, answering=True, tolerance=LOOSE, allowed=0.1 * limit)
            history.append(max(moved, charge))
            if history[-1] <= limit:
                return
            self._mix(anderson, before)
            if not np.isfinite(history[-1]) or len(history) - 1 - int(np.argmin(history)) >= PATIENCE:
                break
        raise NotConvergedError(
            f"{len(history)} sweeps left a residual of {history[-1]:.1e} of the current after {min(history):.1e}; "
            "take shorter steps"
        )

    def _currents(self) -> Floats:
        """Currents of the reactive and of the counter faces, A."""
        network = self.cell.network
        return np.concatenate([network.reactive.area * self.cell.j, network.counter.area * self.cell.j_Li])

    def _mix(self, anderson: Anderson, before: Floats) -> None:
        """Mix the currents with those of earlier sweeps; the potentials are only where the reaction is linearised."""
        network, currents = self.cell.network, self._currents()
        mixed, n = anderson.mix(currents - before, currents), network.reactive.area.size
        self.cell.j, self.cell.j_Li = mixed[:n] / network.reactive.area, mixed[n:] / network.counter.area

    def _close(self, control: Held) -> None:
        """Potentials at these concentrations, to round-off."""
        for _ in range(self.settings.max_sweeps):
            if self._charge(control, answering=False, tolerance=TIGHT, allowed=0.1 * CLOSED) <= CLOSED:
                return
        raise NotConvergedError(f"no potentials fit the concentrations after {self.settings.max_sweeps} sweeps")

    # concentrations

    def _concentrations(self) -> float:
        """Solve both for the latest currents; the larger sum of their absolute residuals before, over the scale."""
        cell, network = self.cell, self.cell.network
        x, c_e, _, phi_e = cell.local()
        reactive, counter, size = network.reactive, network.counter, cell.volume.size
        Aj, Aj_Li = reactive.area * cell.j, counter.area * cell.j_Li
        from_solid = np.bincount(reactive.electronic, Aj, size) / FARADAY
        from_lithium = np.bincount(counter.ionic + cell.shift, Aj_Li, size)
        to_salt = (np.bincount(reactive.ionic + cell.shift, Aj, size) + from_lithium) / FARADAY
        ionic, faces = cell.closures.ionic(c_e, phi_e), network.ionic_faces
        dc = c_e[faces.owner] - c_e[faces.neighbour]
        D_s, bD_e = np.zeros(cell.mesh.numberOfFaces), np.zeros(cell.mesh.numberOfFaces)
        D_s[cell.solid_faces] = network.solid_faces.conductance * cell.closures.solid_diffusivity(x)
        bD_e[cell.faces["ionic"]] = ionic.diffusive / FARADAY
        cell.D_s.setValue(_checked("D_s", D_s * cell.per_conductance))
        cell.bD_e.setValue(_checked("b D_e", bD_e * cell.per_conductance))
        # t_plus i_e / F is what is not diffusion
        cell.migration.setValue(cell.along_normals("ionic", (ionic.FN - ionic.diffusive * dc) / FARADAY))
        cell.from_solid.setValue(from_solid / cell.volume)
        cell.to_salt.setValue(to_salt / cell.volume)
        c_max = cell.cell.parameters.active.max_concentration
        residual = max(
            self._concentration(cell.solid_equation, cell.c_s, self.solvers.solid),
            self._concentration(cell.salt_equation, cell.c_e, self.solvers.salt),
        )
        _stay_within(cell.c_s, cell.solid, x * c_max, c_max)
        _stay_within(cell.c_e, slice(cell.shift, None), c_e, np.inf)
        return residual

    def _concentration(self, equation: Any, field: Any, solver: Any) -> float:
        size = np.sqrt(field.mesh.numberOfCells)
        solver.tolerance = LOOSE
        solver.absolute_tolerance = 0.1 * self.settings.rtol * self.scale / FARADAY / size
        norm = float(equation.sweep(var=field, solver=solver, dt=1.0 / self.cell.a))
        return float(norm * size * FARADAY / self.scale)

    # potentials

    def _charge(self, control: Held, *, answering: bool, tolerance: float, allowed: float) -> float:
        """Solve for the potentials and the currents j; the residual before, over the scale.

        The residual is the larger of charge out of balance and of the reaction's difference to the last currents.
        """
        cell, network = self.cell, self.cell.network
        reactive, counter = network.reactive, network.counter
        cell.rebase()
        _, c_e, phi_s, phi_e = cell.local()
        reaction, dissolution = cell.reactions()
        dphi, dphi_Li = phi_s[reactive.electronic] - phi_e[reactive.ionic], -phi_e[counter.ionic]
        ionic = cell.closures.ionic(c_e, phi_e)
        w, w_Li = self._answers(reaction, dissolution, ionic) if answering else (1.0, 1.0)
        g, g_Li = w * reaction.dj_dphi, w_Li * dissolution.dj_dphi
        j, j_Li = cell.j + w * (reaction.j - cell.j), cell.j_Li + w_Li * (dissolution.j - cell.j_Li)
        mismatch = float(reactive.area @ np.abs(reaction.j - cell.j)) + float(
            counter.area @ np.abs(dissolution.j - cell.j_Li)
        )
        self._set_charge(phi_e, ionic, g, g_Li, j - g * dphi, j_Li - g_Li * dphi_Li)
        charge = self._solve_charge(control, tolerance, allowed)
        share = self._limited(phi_s, phi_e)
        _, _, phi_s, phi_e = cell.local()
        cell.j = j + g * (phi_s[reactive.electronic] - phi_e[reactive.ionic] - dphi)
        cell.j_Li = j_Li + g_Li * (-phi_e[counter.ionic] - dphi_Li)
        return max(charge, mismatch / self.scale if answering else 0.0, 0.0 if share == 1.0 else 1.0)

    def _set_charge(
        self, phi_e: Floats, ionic: SaltFluxes, g: Floats, g_Li: Floats, rest: Floats, rest_Li: Floats
    ) -> None:
        """Coefficients of the charge equation: conductances, and what of each current does not follow phi."""
        cell, network = self.cell, self.cell.network
        reactive, counter, faces, size = network.reactive, network.counter, network.ionic_faces, cell.volume.size
        K = np.empty(cell.mesh.numberOfFaces)
        for name, value in (
            ("electronic", network.electronic_faces.conductance),
            ("ionic", ionic.K),
            ("reactive", reactive.area * g),
            ("collector", network.collector[1]),
            ("counter", counter.area * g_Li),
        ):
            K[cell.faces[name]] = value
        cell.k.setValue(_checked("the conductivity", K * cell.per_conductance))
        i_d = ionic.i - ionic.K * (phi_e[faces.owner] - phi_e[faces.neighbour])
        cell.i_d.setValue(cell.along_normals("ionic", i_d))
        into = np.bincount(reactive.ionic + cell.shift, reactive.area * rest, size)
        into -= np.bincount(reactive.electronic, reactive.area * rest, size)
        into += np.bincount(counter.ionic + cell.shift, counter.area * rest_Li, size)
        cell.into.setValue(into / cell.volume)

    def _solve_charge(self, control: Held, tolerance: float, allowed: float) -> float:
        """Potentials, and the terminal voltage under a wanted current; charge out of balance before, over the scale."""
        cell, solver = self.cell, self.solvers.charge
        size = np.sqrt(cell.volume.size)
        solver.tolerance, solver.absolute_tolerance = tolerance, allowed * self.scale / size
        charge = float(cell.charge_equation.sweep(var=cell.phi, solver=solver)) * size
        if control.kind == "voltage":
            return float(charge / self.scale)
        excess = cell.current() - control.value
        before = abs(excess)
        for _ in range(VOLTAGE_CORRECTIONS):
            if abs(excess) <= allowed * self.scale:
                break
            step = excess / max(self._terminal_conductance(abs(excess), allowed), np.finfo(float).tiny)
            cell.phi.setValue(cell.phi.value + step * (1.0 + cell.response.value))
            cell.V.setValue(float(cell.V.value) + step)
            excess = cell.current() - control.value
        return float(max(charge, before) / self.scale)

    def _terminal_conductance(self, excess: float, allowed: float) -> float:
        """By how much the current falls per volt at the terminal, S."""
        cell, solver = self.cell, self.solvers.charge
        size = np.sqrt(cell.volume.size)
        cells, g = cell.network.collector
        known = -float(g @ cell.response.value[cells])
        # what the response leaves out of balance must not show in the potentials after a step of excess / known
        solver.tolerance = TIGHT
        solver.absolute_tolerance = max(0.1 * allowed * self.scale / size * known / excess, 0.0)
        cell.response_equation.solve(var=cell.response, solver=solver)
        return -float(g @ cell.response.value[cells])

    def _limited(self, phi_s: Floats, phi_e: Floats) -> float:
        """Share of the way from the given potentials to the solved ones that was gone, 1 where it is not too long."""
        cell = self.cell
        before = np.concatenate([phi_s, phi_e])
        change = cell.phi.value - before
        largest = float(np.abs(change).max())
        if not np.isfinite(largest):
            raise NotConvergedError("a potential is not finite")
        if largest <= LARGEST_POTENTIAL_STEP:
            return 1.0
        share = LARGEST_POTENTIAL_STEP / largest
        cell.phi.setValue(before + share * change)
        return share

    def _answers(
        self, reaction: InterfaceCurrent, dissolution: InterfaceCurrent, ionic: SaltFluxes
    ) -> tuple[Floats, Floats]:
        """Shares w, in (0, 1], of the reactive and of the counter faces."""
        cell, network, a = self.cell, self.cell.network, self.cell.a
        reactive, counter = network.reactive, network.counter
        x, _, _, _ = cell.local()
        active = cell.cell.parameters.active
        G = FARADAY * active.max_concentration * network.solid_faces.conductance * cell.closures.solid_diffusivity(x)
        per_x = admittance(a * cell.cell.solid_capacity, network.solid_faces, G)
        per_c = admittance(a * cell.cell.salt_capacity, network.ionic_faces, ionic.diffusive)
        by_x = np.bincount(reactive.solid, reactive.area * reaction.dj_dx, per_x.size) / per_x
        by_c_Li = np.bincount(counter.ionic, -counter.area * dissolution.dj_dc, per_c.size)
        by_c = (np.bincount(reactive.ionic, -reactive.area * reaction.dj_dc, per_c.size) + by_c_Li) / per_c
        s = np.maximum(by_x[reactive.solid], 0.0) + np.maximum(by_c[reactive.ionic], 0.0)
        return 1.0 / (1.0 + s), 1.0 / (1.0 + np.maximum(by_c[counter.ionic], 0.0))


def admittance(storage: Floats, faces: Faces, conductance: Floats) -> Floats:
    """Flow into a cell that raises its value by one during an implicit step, A per unit.

    The cell stores, and passes on to its neighbours, which do the same: taken as the end of an infinite chain of equal
    cells, Y = S + G Y / (G + Y), whose G is the mean conductance to a neighbour.

    Parameters
    ----------
    storage
        S = a C of each cell.
    faces
        Faces between the cells.
    conductance
        Of the faces, in the units of `storage`.
    """
    ends = np.concatenate([faces.owner, faces.neighbour])
    total = np.bincount(ends, np.tile(conductance, 2), storage.size)
    G = total / np.maximum(np.bincount(ends, minlength=storage.size), 1)
    Y: Floats = 0.5 * (storage + np.sqrt(storage**2 + 4.0 * storage * G))
    return Y


def _checked(name: str, coefficient: Floats) -> Floats:
    """A coefficient that FiPy may have: it would take a negative one without a word."""
    wrong = np.flatnonzero(~(coefficient >= 0.0) | ~np.isfinite(coefficient))
    if wrong.size:
        raise NotConvergedError(
            f"{name} is {coefficient[wrong[0]]:.3g} on {wrong.size} of {coefficient.size} faces; it must be finite and "
            "not negative: check the ranges in which the materials' functions hold"
        )
    return coefficient


def _stay_within(field: Any, cells: NDArray[np.intp] | slice, before: Floats, high: float) -> None:
    """Go back towards the values before, where the solved ones come too close to zero or to `high`."""
    value = np.array(field.value)
    change = value[cells] - before
    room = np.where(change < 0.0, before, high - before)
    with np.errstate(divide="ignore"):
        share = float(np.min(NEAREST_TO_EMPTY * room / np.abs(change), initial=1.0))
    if share < 1.0:
        value[cells] = before + share * change
        field.setValue(value)
