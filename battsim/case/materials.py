"""The material tables of the case file: a published set by name, a BPX file by path, or a table of one's own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeGuard

from pydantic import AfterValidator, Field, StrictStr, model_validator

from battsim.case.fields import (
    AreaResistance,
    ByForm,
    Concentration,
    Conductivity,
    Count,
    Density,
    Diffusivity,
    FileName,
    Length,
    Positive,
    PositiveShare,
    Share,
    SubTable,
    Table,
    Value,
    si,
)

BPX_SUFFIX = ".json"
"""What the name of a BPX file ends in; no published set does."""


def is_bpx(name: object) -> TypeGuard[str]:
    """Whether a name is that of a BPX file."""
    return isinstance(name, str) and name.lower().endswith(BPX_SUFFIX)


def _set_or_file(name: str) -> str:
    if "\0" in name:
        raise ValueError("is not the name of a set or of a file")
    return name


Name = Annotated[StrictStr, Field(min_length=1, max_length=1000), AfterValidator(_set_or_file)]
"""A published set, or a BPX file by its path in the case."""
Formula = Annotated[StrictStr, Field(min_length=1, max_length=5000)]
OpenShare = Annotated[float, si(""), Field(gt=0, lt=1)]
TransferCoefficient = Annotated[float, si(""), Field(gt=0, lt=2)]

_OWN_DEFAULTS = {"entropic": 0.0, "transfer_coefficients": (0.5, 0.5), "film_resistance": 0.0}
_OWN_REQUIRED = (
    "max_concentration",
    "stoichiometry",
    "ocp",
    "diffusivity",
    "exchange_current",
    "conductivity",
    "density",
)


class Expression(Table):
    """A formula in x and T."""

    expr: Formula = Field(examples=['"4e-15*exp(-x)"'])


class Curve(Table):
    """A function of x: a CSV file with two columns, or a formula."""

    file: FileName | None = None
    expr: Formula | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Curve:
        if (self.file is None) == (self.expr is None):
            raise ValueError(
                'needs exactly one of file (such as "params/ocp.csv") and expr (such as "4.4875 - 0.809*x")'
            )
        return self


class Stoichiometry(Table):
    """x at full and at no charge, and the range in which the potential was fitted."""

    soc100: OpenShare | None = None
    soc0: OpenShare | None = None
    fitted: tuple[Share, Share] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Stoichiometry:
        if self.soc0 is not None and self.soc0 == self.soc100:
            raise ValueError(f"has soc0 = soc100 = {self.soc0:g}, a material without capacity; they must differ")
        if self.fitted is not None and self.fitted[0] >= self.fitted[1]:
            raise ValueError(f"has fitted = {list(self.fitted)}; write [low, high] with low < high")
        return self


class RateConstant(Table):
    """Exchange current: a rate constant times a formula in c_e, c_s, c_max and T; A/m2 with mol/m3."""

    rate_constant: Positive = Field(examples=["3.42e-6"])
    form: Formula = "sqrt(c_e*c_s*(c_max-c_s))"


class OwnActive(Table):
    """An active material of one's own; with `base`, keys left out are that set's or that BPX file's.

    `electrode` and `particle` (component of a blend) choose from the file; without them, the place in the case does.
    """

    base: Name | None = None
    electrode: Literal["negative", "positive"] | None = None
    particle: Name | None = None
    max_concentration: Concentration | None = None
    stoichiometry: Stoichiometry | None = None
    ocp: Curve | None = None
    entropic: Annotated[Annotated[Annotated[float, si("V/K")], Value] | Annotated[Curve, SubTable], ByForm] | None = (
        None
    )
    diffusivity: Annotated[Annotated[Diffusivity, Value] | Annotated[Expression, SubTable], ByForm] | None = None
    exchange_current: RateConstant | None = None
    transfer_coefficients: tuple[TransferCoefficient, TransferCoefficient] | None = None
    conductivity: Conductivity | None = None
    density: Density | None = None
    film_resistance: AreaResistance | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        """Without a base there is nothing to take a value from but the default."""
        if not isinstance(data, dict) or data.get("base") is not None:
            return data
        return {**data, **{key: value for key, value in _OWN_DEFAULTS.items() if data.get(key) is None}}

    @model_validator(mode="after")
    def _chosen_from_a_file(self) -> OwnActive:
        given = [key for key in ("electrode", "particle") if getattr(self, key) is not None]
        if given and not is_bpx(self.base):
            raise ValueError(
                f"has {' and '.join(given)} to choose from a BPX file, but its base is none; delete that, or name the "
                'file, such as base = "params/cell.json"'
            )
        return self

    @model_validator(mode="after")
    def _complete(self) -> OwnActive:
        if self.base is not None:
            return self
        missing = [key for key in _OWN_REQUIRED if getattr(self, key) is None]
        if self.stoichiometry is not None:
            optional = ("fitted",) if self.ocp is not None and self.ocp.file is not None else ()
            keys = [key for key in ("soc100", "soc0", "fitted") if key not in optional]
            missing += [f"stoichiometry.{key}" for key in keys if getattr(self.stoichiometry, key) is None]
        if missing:
            raise ValueError(
                f'has neither {", ".join(missing)} nor a base; add them, or base = "NAME" of a set that has them'
            )
        return self


class Binder(Table):
    """`[materials.binder]`: how the carbon-binder domain is read; defaults where the table is left out."""

    transport: Literal["nanoporous", "impermeable", "as-pore", "as-solid"] = "nanoporous"
    porosity: PositiveShare = 0.5
    tortuosity: Annotated[float, si(""), Field(ge=1)] = 4.0
    conductivity: Conductivity = 100.0
    active_coverage: Share = 1.0
    contact_resistance: AreaResistance = 0.0


class PorousLayer(Table):
    """A layer as the homogenised equations know it: how much electrolyte is in it, and how well that conducts."""

    thickness: Length = Field(examples=['"12 um"'])
    porosity: PositiveShare = Field(examples=["0.47"])
    bruggeman: Annotated[float, si(""), Field(ge=1)] | None = None
    tortuosity: Annotated[float, si(""), Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> PorousLayer:
        if (self.bruggeman is None) == (self.tortuosity is None):
            raise ValueError(
                "needs exactly one of bruggeman (the exponent, such as 1.5) and tortuosity (the factor, such as 2.5)"
            )
        return self

    @property
    def transport_factor(self) -> float:
        """D_eff / D_bulk of the layer's electrolyte: porosity^bruggeman, or porosity / tortuosity."""
        if self.bruggeman is not None:
            return float(self.porosity**self.bruggeman)
        assert self.tortuosity is not None
        return self.porosity / self.tortuosity


class Separator(PorousLayer):
    """`[materials.separator]`: a layer without structure; `layers`: of cells, in front of an image.

    `base`: a BPX file, whose separator has the keys that are left out.
    """

    base: Name | None = None
    layers: Count = 10

    @model_validator(mode="before")
    @classmethod
    def _no_other_base(cls, data: Any) -> Any:
        """There are no published sets of separators."""
        base = data.get("base") if isinstance(data, dict) else data
        if isinstance(base, str) and not is_bpx(base):
            raise ValueError(
                f"names {base!r}, which is no BPX file: a separator is a table with thickness, porosity and bruggeman, "
                f"or the path of a BPX file, which ends in {BPX_SUFFIX}"
            )
        return data


ActiveChoice = Annotated[Annotated[Name, Value] | Annotated[OwnActive, SubTable], ByForm]
"""A set by its name, a BPX file by its path, or a table of one's own."""


class Materials(Table):
    """`[materials]` of a half cell."""

    active: ActiveChoice = Field(examples=['"nmc811-chen2020"'])
    electrolyte: Name = Field(examples=['"lipf6-nyman2008"'])
    counter: Name = "lithium-xu2019"
    binder: Binder = Binder()
    separator: Separator = Field(examples=['{ thickness = "12 um", porosity = 0.47, bruggeman = 1.5 }'])
