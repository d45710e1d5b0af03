"""The case as a whole: one model per kind, frozen, all SI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, PrivateAttr, StrictBool, StrictStr, model_validator

from battsim.case.fields import (
    Capacity,
    Concentration,
    Count,
    Duration,
    Merge,
    NonEmpty,
    Number,
    PositiveShare,
    Share,
    Table,
    Temperature,
    Voltage,
    si,
)
from battsim.case.image import Image
from battsim.case.materials import Materials, OpenShare
from battsim.case.protocol import Step

Field3D = Literal["c_e", "phi_e", "c_s", "phi_s", "j", "heat"]
TransportField = Literal["potential", "flux"]
Axis = Literal["x", "y", "z"]


class Conditions(Table):
    """Temperature (K) and initial salt concentration (mol/m3) of the whole cell."""

    temperature: Temperature = 298.15
    salt: Concentration = 1000.0


class Start(Table):
    """Where the cell stands at the start, given in exactly one way; whose stoichiometry it is depends on the cell."""

    soc: Share | None = None
    voltage: Voltage | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Start:
        given = [key for key in ("soc", "stoichiometry", "voltage") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"needs exactly one of soc, stoichiometry and voltage, not {' and '.join(given) or 'none'}; "
                "keep one, such as soc = 1.0"
            )
        return self


class Initial(Start):
    """`[initial]` of a resolved half cell."""

    stoichiometry: OpenShare | None = None


class Cell(Table):
    """What 1 C means, C/m2; None: what the connected active material can take up between its limits."""

    capacity: Capacity | None = None


class HalfCellModel(Table):
    """`[model]` of a resolved half cell."""

    kind: Literal["resolved"]
    cell: Literal["half"] = "half"
    baseline: StrictBool = False
    engine: Literal["newton", "fipy"] = "newton"


class TortuosityModel(Table):
    """`[model]` of a tortuosity."""

    kind: Literal["tortuosity"]


class Solver(Table):
    """`[solver]` of a steady problem."""

    threads: Annotated[Count, Field(le=1024)] = 2


class TimeSolver(Solver):
    """`[solver]` of a run in time."""

    time_rtol: Annotated[Number, Field(gt=0, le=0.1)] = 1e-3


class ResolvedSolver(TimeSolver):
    """`[solver]` of a resolved cell; `merge`: how often its cells merge 2 x 2 x 2 away from every change of phase."""

    merge: Merge = 0


class Output(Table):
    """`[output]`: fields to save, and how often (s); `every` None: at the start, and at the end of each step."""

    fields: tuple[Field3D, ...] = ("c_e", "phi_e", "c_s", "phi_s", "j")
    every: Duration | None = 300.0


def _relative_or_siemens(values: Any) -> Any:
    """Conductivities as numbers; relative ones and ones in S/m do not mix."""
    if not isinstance(values, dict):
        return values
    if len({isinstance(value, str) for value in values.values()}) > 1:
        raise ValueError(
            'mixes numbers, which are relative to the bulk, with strings such as "0.1 S/m"; write all in the same way'
        )
    return values


def _kind_of_tensor(value: Any) -> Any:
    """Refuse what is neither false nor a name: true does not say how the sides are closed, and 0 is no false here."""
    if value is True or (isinstance(value, int | float) and not isinstance(value, bool)):
        raise ValueError(
            f"does not say how the sides are closed; write false, or one of {', '.join(get_args(TensorKind))}, such as "
            'tensor = "periodic"'
        )
    return value


PhaseConductivity = Annotated[float, si("S/m"), Field(gt=0)]
TensorKind = Literal["periodic", "mirrored", "linear", "uniform-flux"]


class Transport(Table):
    """`[transport]`: which phases conduct, along which axes the tortuosity is asked for, and what beside it.

    `tensor`: the whole effective tensor, by its sides; `electrode`: transport into a blocking electrode;
    `representative`, `discretisation`: how far the size of the image and that of its voxels may move the numbers.
    """

    conductivity: Annotated[dict[StrictStr, PhaseConductivity], NonEmpty, BeforeValidator(_relative_or_siemens)] = (
        Field(examples=["{ pore = 1.0 }"])
    )
    porosity: dict[StrictStr, PositiveShare] = Field(default_factory=dict)
    axes: Annotated[tuple[Axis, ...], NonEmpty] = ("x", "y", "z")
    sides: Literal["no-flux", "periodic"] = "no-flux"
    length: Literal["outer", "centres"] = "outer"
    tolerance: Annotated[Number, Field(ge=1e-11, le=0.1)] = 1e-4
    tensor: Annotated[Literal[False] | TensorKind, BeforeValidator(_kind_of_tensor)] = False
    electrode: StrictBool = False
    representative: StrictBool = False
    discretisation: StrictBool = False

    @model_validator(mode="before")
    @classmethod
    def _fill_porosity(cls, data: Any) -> Any:
        """Every conducting phase with its porosity, 1 where none was given."""
        if not (isinstance(data, dict) and isinstance(data.get("conductivity"), dict)):
            return data
        given = data.get("porosity", {})
        return (
            {**data, "porosity": {**dict.fromkeys(data["conductivity"], 1.0), **given}}
            if isinstance(given, dict)
            else data
        )

    @model_validator(mode="after")
    def _consistent(self) -> Transport:
        strangers = [name for name in self.porosity if name not in self.conductivity]
        if strangers:
            raise ValueError(
                f"has a porosity for {', '.join(strangers)}, which does not conduct; "
                "name it in conductivity too, or delete it"
            )
        if len(set(self.axes)) != len(self.axes):
            raise ValueError(f"has axes = {list(self.axes)}; name each axis once")
        return self


class Case(Table):
    """A case file after reading: what every kind has; each kind adds its `model` and the tables that it needs."""

    schema_: Literal[1] = Field(1, alias="schema")
    name: StrictStr = ""
    _directory: Path = PrivateAttr(default_factory=Path)

    @property
    def directory(self) -> Path:
        """The case directory, absolute."""
        return self._directory

    @property
    def kind(self) -> str:
        """Of the model: resolved, p2d or tortuosity."""
        return str(self.resolved()["model"]["kind"])

    def locate(self, name: str) -> Path:
        """Absolute path of a file that the case names relative to itself."""
        return (self._directory / name).resolve()

    def resolved(self) -> dict[str, Any]:
        """Every key with its value or default, SI, ready for JSON; reading it again gives the same case."""
        return self.model_dump(mode="json", by_alias=True)


class ImageCase(Case):
    """A case that starts from an image."""

    image: Image = Field(examples=['{ file = "image/cathode.tif", ... }'])

    @property
    def image_file(self) -> Path | None:
        """The image file, absolute; None for a recipe."""
        return None if self.image.file is None else self.locate(self.image.file)


class ResolvedCase(ImageCase):
    """A half cell on the voxels of an image, discharged or charged."""

    materials: Materials
    conditions: Conditions = Conditions()
    initial: Initial = Initial(soc=1.0)
    cell: Cell = Cell()
    model: HalfCellModel
    protocol: Annotated[tuple[Step, ...], NonEmpty] = Field(
        examples=['[{ step = "discharge", rate = "1 C", until = { voltage = "3.5 V" } }]']
    )
    solver: ResolvedSolver = ResolvedSolver()
    output: Output = Output()


class TransportOutput(Table):
    """`[output]` of a tortuosity: fields to save of each axis; none, no table and no picture, unless asked for."""

    fields: tuple[TransportField, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> TransportOutput:
        if len(set(self.fields)) != len(self.fields):
            raise ValueError(f"has fields = {list(self.fields)}; name each field once")
        return self


class TortuosityCase(ImageCase):
    """Effective transport through an image."""

    model: TortuosityModel
    transport: Transport = Field(examples=["{ conductivity = { pore = 1.0 } }"])
    solver: Solver = Solver()
    output: TransportOutput = TransportOutput()
