"""Options of `battsim tortuosity IMAGE`, as they are written."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """What the command line says about an image, where a case says it in case.toml; one field per option."""

    phase: str | None = None
    conductivity: str | None = None
    porosity: str | None = None
    voxel_size: str = "1 um"
    axis: str = "all"
    sides: str = "no-flux"
    length: str = "outer"
    tolerance: float = 1e-4
    threads: int = 2
    error_bars: bool = False
    tensor: str | None = None
    electrode: bool = False
    fields: Path | None = None

    @property
    def given(self) -> list[str]:
        """Options that differ from their defaults, as they are written."""
        changed = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        return [f"--{name.replace('_', '-')}" for name in changed]
