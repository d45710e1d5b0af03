"""What the time integrator asks of a model, how it is steered, and what it hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Protocol

import numpy as np
from numpy.typing import NDArray

from battsim.solvers.bdf import extrapolate
from battsim.solvers.newton import E, NewtonProblem, NewtonSettings

Floats = NDArray[np.float64]


class Controlled(Protocol):
    """What a cell is held at."""

    @property
    def kind(self) -> str:
        """One of "current", "voltage" and "power"."""
        ...

    @property
    def value(self) -> float:
        """A or W, positive in discharge, or V."""
        ...


class TransientModel(Protocol[E]):
    """A model that the integrator can step."""

    def problem(self, a: float, u_star: Floats, reference: float, control: Controlled) -> NewtonProblem[E]:
        """Non-linear system of one implicit step du/dt = a (u - u_star)."""
        ...

    def held_at(self, kind: str, value: float) -> Controlled:
        """Control that holds the terminal at a voltage (V) or the cell at a current (A)."""
        ...

    def meeting(self, control: Controlled, u: Floats, reference: float) -> Floats:
        """The guess u with what a control fixes put in place."""
        ...

    def reference_shift(self, u: Floats) -> float:
        """Shift of the reference potential that keeps potentials small, V."""
        ...

    def shifted(self, u: Floats, shift: float) -> Floats:
        """State with its reference raised by `shift`."""
        ...

    def voltage(self, u: Floats, reference: float) -> float:
        """Terminal voltage, V."""
        ...

    def current(self, evaluation: E) -> float:
        """Cell current, A, positive in discharge."""
        ...

    def charge(self, u: Floats) -> float:
        """Charge that the terminal's electrode has taken up, C, from a zero of its own: it grows in discharge."""
        ...

    def admissible(self, guess: Floats, last: Floats) -> Floats:
        """Predictor kept inside the physical range."""
        ...

    def conserved(self, u: Floats, evaluation: E) -> Floats:
        """A converged state with what Newton's tolerance left in its conserved sums taken out."""
        ...

    def error(self, difference: Floats) -> float:
        """Size of an error."""
        ...

    def exhausted(self, u: Floats, evaluation: E) -> tuple[str, str] | None:
        """Physical end at which a state is, and where it is worst, in words; None where it is at none."""
        ...

    def worst(self, evaluation: E) -> str:
        """Where the residual is largest: field and place, in words."""
        ...

    def farthest(self, difference: Floats) -> str:
        """Where a difference of two states is largest in the model's measure: field and place, in words."""
        ...

    def reset(self) -> None:
        """Forget what earlier evaluations left to start from: the next one depends on its state alone."""
        ...


@dataclass(frozen=True, slots=True)
class IntegrationSettings:
    """Step control.

    Attributes
    ----------
    tolerance
        Local error per step, in the model's measure.
    first_step, smallest_step, largest_step
        s.
    newton
        Tolerances of the non-linear solves.
    """

    tolerance: float = 1e-3
    first_step: float = 0.02
    smallest_step: float = 1e-4
    largest_step: float = np.inf
    newton: NewtonSettings = field(default_factory=NewtonSettings)


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a stretch of integration ends, whichever comes first, and where steps must land on the way.

    Attributes
    ----------
    time
        End, s.
    voltage
        The stretch ends when the voltage crosses this value, from above in discharge and from below in charge, V;
        without a current it has no effect.
    current
        Under a held voltage, the stretch ends when the current has fallen to this value; under a held power, when it
        has risen to it. A, positive in discharge, of the sign that the current has.
    charge
        The stretch ends when `TransientModel.charge` reaches this value, C.
    every
        A step ends at each multiple of this time, s: for results that are compared at equal steps. States at other
        times cost no steps: `Standing.at`.
    """

    time: float = np.inf
    voltage: float | None = None
    current: float | None = None
    charge: float | None = None
    every: float = np.inf

    def next_landing(self, now: float) -> float:
        """The first time after now at which a step must end, s."""
        if np.isinf(self.every):
            return self.time
        return float(min(self.time, (np.floor(now / self.every * (1.0 + 1e-12)) + 1.0) * self.every))


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Where an integration stands between two steps: all that the next one depends on.

    Only the linear solver and the model may hold more, as a matter of speed; after a reset of both an integration goes
    on from here as from any copy of this, bit for bit.

    Attributes
    ----------
    times, states
        The last one, two or three, s, all relative to one reference potential.
    voltages
        Terminal voltage of each, V, as it was when the state was new.
    reference
        V.
    dt
        Wanted length of the next step, s.
    steps, longest
        Accepted since the start of the stretch, and the length of the longest of them, s.
    recent
        Length (s) and failed attempts of the last few steps.
    """

    times: tuple[float, ...]
    states: tuple[Floats, ...]
    voltages: tuple[float, ...]
    reference: float
    dt: float
    steps: int = 0
    longest: float = 0.0
    recent: tuple[tuple[float, int], ...] = ()

    def at(self, time: float) -> Floats:
        """Dense output: the state at a time (s) within the last step, relative to `reference`.

        The polynomial through the last three states (two after the first step), whose slope at the last one is that of
        BDF2: its distance from the solution falls with the third power of the step, and so no slower than the local
        error that a step is accepted with. It conserves whatever is linear in the state. Fields that an algebraic
        equation ties to others are interpolated like these, and meet the equation to the same order only.
        """
        return extrapolate(self.times, self.states, time)


@dataclass(frozen=True, slots=True, eq=False)
class Step(Generic[E]):
    """An accepted step.

    Attributes
    ----------
    time, dt
        End of the step and its length, s.
    u, reference
        State, and its reference potential (V).
    a, u_star
        The implicit rate that the state satisfies.
    current
        A, positive in discharge.
    error
        Local error over tolerance.
    rejected, failed
        Attempts before this step that were too inaccurate, and that did not converge.
    stop, place
        Why the integration ends here, or None; and where a physical end was met, in words.
    standing
        Where the integration stands after the step.
    """

    time: float
    dt: float
    u: Floats
    reference: float
    a: float
    u_star: Floats
    evaluation: E
    current: float
    newton_iterations: int
    linear_iterations: int
    residual: float
    error: float
    rejected: int
    failed: int
    stop: str | None
    place: str
    standing: Standing
