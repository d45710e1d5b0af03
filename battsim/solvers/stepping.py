"""What the time integrator asks of a model, how it is steered, and what it hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Protocol

import numpy as np
from numpy.typing import NDArray

from battsim.solvers.newton import E, NewtonProblem, NewtonSettings

Floats = NDArray[np.float64]


class Controlled(Protocol):
    """What a cell is held at."""

    @property
    def kind(self) -> str:
        """Either "current" or "voltage"."""
        ...

    @property
    def value(self) -> float:
        """A or V."""
        ...


class TransientModel(Protocol[E]):
    """A model that the integrator can step."""

    def problem(self, a: float, u_star: Floats, reference: float, control: Controlled) -> NewtonProblem[E]:
        """Non-linear system of one implicit step du/dt = a (u - u_star)."""
        ...

    def held_at(self, voltage: float) -> Controlled:
        """Control that holds the terminal at a voltage."""
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

    def admissible(self, guess: Floats, last: Floats) -> Floats:
        """Predictor kept inside the physical range."""
        ...

    def conserved(self, u: Floats, evaluation: E) -> Floats:
        """A converged state with what Newton's tolerance left in its conserved sums taken out."""
        ...

    def error(self, difference: Floats) -> float:
        """Size of an error."""
        ...

    def exhausted(self, u: Floats, evaluation: E) -> str | None:
        """Physical end at which a state is, or None."""
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
    """Where a stretch of integration ends, and where steps must land on the way.

    Attributes
    ----------
    time
        End, s.
    voltage
        The stretch ends when the voltage crosses this value, from above in discharge and from below in charge, V;
        without a current it has no effect.
    every
        A step ends at each multiple of this time, s.
    """

    time: float = np.inf
    voltage: float | None = None
    every: float = np.inf

    def next_landing(self, now: float) -> float:
        """The first time after now at which a step must end, s."""
        if np.isinf(self.every):
            return self.time
        return float(min(self.time, (np.floor(now / self.every * (1.0 + 1e-12)) + 1.0) * self.every))


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
    stop
        Why the integration ends here, or None.
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
