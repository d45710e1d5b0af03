"""What keys of a case and columns of results are called on axes, in legends and in headings, with their units."""

from __future__ import annotations

from collections.abc import Sequence

UNITS = {
    "_Wh_kg_active": "Wh/kg of active material",
    "_Wh_m2": "Wh/m²",
    "_Ah_m2": "Ah/m²",
    "_mAh_g": "mAh/g",
    "_W_m2": "W/m²",
    "_A_m2": "A/m²",
    "_mol_m3": "mol/m³",
    "_S_m": "S/m",
    "_1_m": "1/m",
    "_m2": "m²",
    "_bytes": "byte",
    "_V": "V",
    "_C": "1/h",
    "_K": "K",
    "_s": "s",
    "_m": "m",
}
"""By the end of a name, the longest first where one is the end of another."""
NAMES = {
    "rate": "C-rate (1/h)",
    "b": "b = D_eff / D of the pores",
    "D_eff": "D_eff / D of the bulk",
    "eps_e": "electrolyte volume fraction",
    "eps_s": "active volume fraction",
    "sigma_eff": "effective conductivity",
}
"""Last keys, without their unit, that are symbols or that say too little."""
TOO_SHORT = frozenset({"mean", "difference", "median", "sigma", "current", "x", "y", "z"})
"""Last keys, without their unit, that say nothing without the one before."""
SIGNED = ("difference", "imbalance", "drift", "mismatch", "heat", "voltage", "potential", "mean_V", "loss")
"""What occurs in the name of a number that can be below 0, or that has no natural 0."""
AXES = "xyz"
BY_AXIS = ("shape", "voxel_size")
"""Keys with a value for each axis of the image."""


def label_of(path: str) -> str:
    """The name of a key or column, with its unit in parentheses where its end tells it.

    The last part of a dotted path, the one before where that alone says nothing, and an axis where there is one.
    """
    return _label(path, 1)


def labels_of(paths: Sequence[str]) -> dict[str, str]:
    """Names of keys or columns, no two alike: those that would be have more of their path."""
    depths = dict.fromkeys(paths, 1)
    for depth in range(2, max((path.count(".") for path in paths), default=0) + 2):
        found = [_label(path, depths[path]) for path in depths]
        for path in [path for path, label in zip(depths, found, strict=True) if found.count(label) > 1]:
            depths[path] = depth
    return {path: _label(path, depth) for path, depth in depths.items()}


def can_be_negative(path: str) -> bool:
    """Whether a number can be below 0, by its name; capacities, energies, fractions and areas cannot."""
    return any(part in path for part in SIGNED)


def last_key(path: str) -> str:
    """The part of a dotted path that says what it is, as it is written."""
    parts = [part for part in path.split(".") if not part.isdigit()]
    return ".".join(parts[-2:]) if parts[-1] in ("median", "sigma", "seed") else parts[-1]


def shown(value: object) -> str:
    """A value, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _label(path: str, depth: int) -> str:
    """With `depth` parts of the path at least."""
    parts = path.split(".")
    axis = ""
    if len(parts) > 1 and parts[-2] in BY_AXIS and parts[-1] in ("0", "1", "2"):
        axis = f", {AXES[int(parts.pop())]}"
    elif len(parts) > 1 and parts[-2] in tuple(AXES):
        axis = f", {parts.pop(-2)}"
    words = [part for part in parts if not part.isdigit()] or parts
    stem, unit = _split(words[-1])
    if stem in NAMES:
        stem, _, told = NAMES[stem].partition(" (")
        unit = told.removesuffix(")") or unit
    if stem in TOO_SHORT:
        depth += 1
    before = words[-depth:-1]
    if axis and words[-1] == "shape":
        stem, unit = "size", "voxels"
    named = stem if " " in stem else stem.replace("_", " ")
    text = " ".join([*(word.replace("_", " ") for word in before), named])
    return f"{text}{axis}" + (f" ({unit})" if unit else "")


def _split(name: str) -> tuple[str, str]:
    """A name without its unit, and the unit."""
    for end, unit in UNITS.items():
        if name not in NAMES and name.endswith(end) and len(name) > len(end):
            return name.removesuffix(end), unit
    return name, ""
