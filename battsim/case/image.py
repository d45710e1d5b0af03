"""The image tables of the case file: a file, or a recipe, and what is changed in either."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, StrictStr, model_validator

from battsim.case.fields import Count, FileName, NonEmpty, Shape, Table, VoxelSize
from battsim.case.messages import shown, suggest
from battsim.case.recipe import RECIPE_PHASES, AddBinder, Calender, Generate, Modify, Resize
from meshing.read import RAW_SUFFIXES


def _values_of_phase(labels: Any) -> Any:
    """Each label as a list, as the user may write a single value."""
    if not isinstance(labels, dict):
        return labels
    return {name: values if isinstance(values, list | tuple) else [values] for name, values in labels.items()}


def _nonempty_range(limits: tuple[int, int]) -> tuple[int, int]:
    if limits[0] >= limits[1]:
        raise ValueError("is empty: a range is half-open, [start, stop) with start < stop")
    return limits


def _permutation(axes: str) -> str:
    if sorted(axes) != ["x", "y", "z"]:
        raise ValueError("must name each of x, y, z once, in the order of the array's axes")
    return axes


Range = Annotated[
    tuple[Annotated[StrictInt, Field(ge=0)], Annotated[StrictInt, Field(ge=0)]], AfterValidator(_nonempty_range)
]
Labels = Annotated[dict[StrictStr, Annotated[tuple[StrictInt, ...], NonEmpty]], BeforeValidator(_values_of_phase)]


class Image(Table):
    """`[image]`: which voxels there are, what their values mean, and how they lie in the cell."""

    file: FileName | None = None
    generate: Generate | None = None
    modify: tuple[Modify, ...] = ()
    voxel_size: VoxelSize | None = None
    through_plane: Literal["x", "y", "z"] = Field("x", examples=['"x"'])
    separator_side: Literal["low", "high"] = "low"
    labels: Labels | None = None
    ignore: tuple[StrictInt, ...] = ()
    axes: Annotated[StrictStr, AfterValidator(_permutation)] = "xyz"
    crop: tuple[Range, Range, Range] | None = None
    coarsen: Count = 1
    shape: Shape | None = None
    dtype: StrictStr | None = None
    byte_order: Literal["little", "big"] = "little"
    order: Literal["C", "F"] = "C"
    offset: Annotated[StrictInt, Field(ge=0)] = 0

    @property
    def through_axis(self) -> int:
        """The axis of the array, before it is renamed, that goes through the electrode."""
        return self.axes.index(self.through_plane)

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases, in the order of the file or of the recipe; binder that is added comes last."""
        known = RECIPE_PHASES if self.labels is None else tuple(self.labels)
        added = any(isinstance(step, AddBinder) for step in self.modify)
        return (*known, "binder") if added and "binder" not in known else known

    @property
    def is_raw(self) -> bool:
        """True for a file without a header."""
        return self.file is not None and PurePosixPath(self.file).suffix.lower() in RAW_SUFFIXES

    @model_validator(mode="after")
    def _file_or_recipe(self) -> Image:
        if (self.file is None) == (self.generate is None):
            raise ValueError(
                'needs exactly one of file (such as file = "image/cathode.tif") and a recipe in [image.generate]'
            )
        check = self._check_recipe if self.file is None else self._check_file
        check()
        self._check_steps()
        return self

    def _check_steps(self) -> None:
        """Refuse a change to a phase that is not there."""
        for number, step in enumerate(self.modify):
            named = {"phase": step.phase, "other": step.other} if isinstance(step, Resize) else {}
            for key, name in named.items():
                if name not in self.phases:
                    raise ValueError(
                        f"has modify.{number}.{key} = {shown(name)}, which is no phase of it; "
                        f"{suggest(name, self.phases)}"
                    )
            missing = [name for name in ("pore", "active") if name not in self.phases]
            if missing and isinstance(step, Calender | AddBinder):
                raise ValueError(
                    f'has modify.{number}.kind = "{step.kind}", which needs phases named pore and active; labels names '
                    f"{', '.join(self.phases)}: correct the names"
                )

    def _check_recipe(self) -> None:
        """Refuse the keys that describe a file: the recipe says all of it."""
        described = ("voxel_size", "labels", "shape", "dtype")
        given = [key for key in described if getattr(self, key) is not None]
        given += [
            key for key in ("ignore", "axes", "byte_order", "order", "offset") if getattr(self, key) != _DEFAULTS[key]
        ]
        if given:
            raise ValueError(
                f"has {', '.join(given)}, which describe a file, beside [image.generate]; delete them: "
                "the recipe has its own shape and voxel_size, and its phases are pore, active and binder"
            )

    def _check_file(self) -> None:
        """The keys that a file cannot do without, and values that mean two things."""
        if self.voxel_size is None:
            raise ValueError(
                'needs voxel_size, the edge of a voxel (or three, in array order), such as voxel_size = "0.4 um"; '
                "it is never guessed from the file"
            )
        if not self.labels:
            raise ValueError(
                "needs labels, what each value means, such as labels = { pore = 0, active = 1, binder = 2 }"
            )
        if "ignored" in self.labels:
            raise ValueError("has a phase named 'ignored' in labels; list its values in ignore = [...] instead")
        values = [value for group in self.labels.values() for value in group] + list(self.ignore)
        repeated = sorted({value for value in values if values.count(value) > 1})
        if repeated:
            raise ValueError(
                f"names the value {', '.join(map(str, repeated))} more than once in labels and ignore; "
                "each value has one meaning"
            )
        self._check_raw()

    def _check_raw(self) -> None:
        """`dtype` and `shape` are the only header that a raw file has, and other files have their own."""
        if self.is_raw and (self.dtype is None or self.shape is None):
            raise ValueError(
                f"reads the raw file {self.file!r}, which has no header: add dtype and shape, "
                'such as dtype = "uint8" and shape = [251, 301, 301]'
            )
        raw_only = [key for key in ("byte_order", "order", "offset") if getattr(self, key) != _DEFAULTS[key]]
        if raw_only and not self.is_raw:
            raise ValueError(
                f"has {', '.join(raw_only)}, which only a raw file needs ({', '.join(RAW_SUFFIXES)}), "
                f"but {self.file!r} has a header of its own; delete them"
            )


_DEFAULTS = {key: field.get_default() for key, field in Image.model_fields.items()}
