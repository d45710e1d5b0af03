"""The protocol tables of the case file: what the cell is held at, step by step, and when each step ends."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from battsim.case.fields import CurrentDensity, Duration, PowerDensity, Rate, Table, Voltage, si

CONTROLS = ("rate", "current", "power")
EXAMPLE = 'rate = "1 C", current = "25 A/m^2" or power = "80 W/m^2"'


class Until(Table):
    """When a step ends: at whichever of these comes first; current and rate are magnitudes that the current meets."""

    voltage: Voltage | None = None
    time: Duration | None = None
    current: CurrentDensity | None = None
    rate: Rate | None = None
    capacity: Annotated[float, si("C/m^2"), Field(gt=0)] | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the ends."""
        return tuple(key for key in type(self).model_fields if getattr(self, key) is not None)

    @model_validator(mode="after")
    def _at_least_one(self) -> Until:
        if not self.given:
            raise ValueError('is empty: name at least one end, such as until = { voltage = "3.5 V" }')
        return self


class Step(Table):
    """One step of the protocol; magnitudes are positive, the word gives the sign.

    A discharge or charge is held at one of rate, current (A/m2) and power (W/m2), a hold at a voltage (V).
    """

    step: Literal["discharge", "charge", "rest", "hold"] = Field(examples=['"discharge"'])
    rate: Rate | None = None
    current: CurrentDensity | None = None
    power: PowerDensity | None = None
    voltage: Voltage | None = None
    until: Until = Field(examples=['{ voltage = "3.5 V" }'])

    @model_validator(mode="after")
    def _consistent(self) -> Step:
        given = [key for key in CONTROLS if getattr(self, key) is not None]
        {"rest": self._check_rest, "hold": self._check_hold}.get(self.step, self._check_driven)(given)
        return self

    def _check_rest(self, given: list[str]) -> None:
        """No current flows, so that only time passes."""
        if given or self.voltage is not None or self.until.given != ("time",):
            raise ValueError(
                "is a rest: it takes no rate, current, power or voltage and ends by time alone, "
                'such as until = { time = "1 h" }'
            )

    def _check_hold(self, given: list[str]) -> None:
        """The voltage stays, the current comes of itself."""
        if given:
            raise ValueError(
                f"is a hold, which takes no {' and no '.join(given)}: the voltage gives the current; delete it, "
                'or end the hold by it, such as until = { rate = "C/20" }'
            )
        if self.voltage is None:
            raise ValueError('is a hold and needs the voltage to hold, such as voltage = "4.2 V"')
        if self.until.voltage is not None:
            raise ValueError(
                "is a hold, whose voltage does not change, so until.voltage is never met; "
                'end it by time, current, rate or capacity, such as until = { rate = "C/20" }'
            )

    def _check_driven(self, given: list[str]) -> None:
        """A discharge or a charge: one control, and ends that it can meet."""
        if self.voltage is not None:
            raise ValueError(
                f'is a {self.step}, which takes no voltage; an end at a voltage is until = {{ voltage = "3.5 V" }}, '
                'a constant voltage is step = "hold"'
            )
        if len(given) != 1:
            raise ValueError(
                f"needs exactly one of rate, current and power, not {' and '.join(given) or 'none'}; write {EXAMPLE}"
            )
        ends = [f"until.{key}" for key in ("current", "rate") if getattr(self.until, key) is not None]
        if ends and self.power is None:
            raise ValueError(
                f"has {' and '.join(ends)} at a constant {given[0]}: it is met at once or never; "
                "end the step by voltage, time or capacity (a hold, or a step at constant power, may end at a current)"
            )
