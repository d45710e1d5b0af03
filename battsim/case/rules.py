"""Rules that need several keys of a case, or its materials: what is contradictory, and what is impossible."""

from __future__ import annotations

from collections.abc import Iterator

from battsim.case.active import active_materials, chosen_materials, electrolyte_of
from battsim.case.full import CellCase, FullCellCase, images_of
from battsim.case.image import Image
from battsim.case.materials import OwnActive, is_bpx
from battsim.case.messages import named, shown, suggest
from battsim.case.p2d import LAYERS, P2DCase, Stoichiometries
from battsim.case.schema import Case, ResolvedCase, TortuosityCase
from battsim.case.start import initial_stoichiometries, open_circuit_voltage
from battsim.errors import CaseError, ImpossibleError
from battsim.materials.library import ACTIVE_MATERIALS, COUNTER_ELECTRODES, ELECTROLYTES
from meshing.errors import MeshError
from meshing.merge import given_up

HIGHEST = {"rate": (1000.0, "C"), "current": (1e6, "A/m2"), "power": (1e7, "W/m2")}
"""Magnitudes beyond which a request is a slip: the cell would be empty within seconds."""


def problems(case: Case) -> Iterator[str]:
    """Contradictions between keys, one line each."""
    if isinstance(case, ResolvedCase | FullCellCase):
        for key, image in images_of(case).items():
            yield from _image_problems(key, image)
        yield from _merge_problems(case)
    if isinstance(case, P2DCase):
        yield from _cell_problems(case)
    if isinstance(case, CellCase):
        yield from _material_problems(case)
        if len(set(case.output.fields)) != len(case.output.fields):
            yield f"output.fields = {shown(case.output.fields)} repeats a field; name each once"
    if isinstance(case, TortuosityCase):
        for name in case.transport.conductivity:
            if name not in case.image.phases:
                yield f"transport.conductivity.{name}: is no phase of the image; {suggest(name, case.image.phases)}"


def refuse_absurd(case: Case, file: str) -> None:
    """ImpossibleError for a current or power that no cell survives for the length of a time step."""
    for number, step in enumerate(case.protocol if isinstance(case, CellCase) else ()):
        for key, (highest, unit) in HIGHEST.items():
            value = getattr(step, key)
            if value is not None and value > highest:
                raise ImpossibleError(
                    f"{file}: protocol.{number}.{key} = {value:g} {unit} is beyond {highest:g} {unit}, "
                    "which no electrode can carry; check the unit, or lower it"
                )


def check_start(case: Case, file: str) -> None:
    """Build the materials once, so that formulas and curves are tried out, and find the start on them.

    Raises
    ------
    CaseError, InputError
        Where a material makes no sense or its table cannot be read, or the start lies outside its potential.
    ImpossibleError
        Where the first step with a current cannot begin.
    """
    if not isinstance(case, CellCase):
        return
    with named(file):
        materials = active_materials(case)
        electrolyte_of(case)
        x = initial_stoichiometries(case, materials)
    voltage = open_circuit_voltage(materials, x, case.conditions.temperature)
    if voltage <= 0.0 and case.model.cell == "full":
        raise CaseError(
            f"{file}: [positive] is at {voltage:.3f} V against [negative] at the start; the positive electrode is the "
            "one of higher potential: exchange the two tables, or correct [initial]"
        )
    _refuse_to_begin(case, voltage, file)


def _refuse_to_begin(case: CellCase, voltage: float, file: str) -> None:
    """ImpossibleError where the first step after the rests would end before it begins: its limit is passed already."""
    number, step = next(((n, s) for n, s in enumerate(case.protocol) if s.step != "rest"), (0, case.protocol[0]))
    limit = step.until.voltage
    if limit is None or (voltage > limit if step.step == "discharge" else voltage < limit):
        return
    start = next(key for key in ("soc", "stoichiometry", "voltage") if getattr(case.initial, key) is not None)
    side, way = ("below", "falls") if step.step == "discharge" else ("above", "rises")
    raise ImpossibleError(
        f"{file}: protocol.{number}.until.voltage = {limit:g} V: this {step.step} cannot begin, since the cell starts "
        f"at {voltage:.4g} V without current (initial.{start}) and its voltage {way} from there; choose a limit {side} "
        f"{voltage:.4g} V, or another start"
    )


def _merge_problems(case: ResolvedCase | FullCellCase) -> Iterator[str]:
    """What cells cannot merge in: another code's mesh, and voxels far from cubes."""
    if case.solver.merge == 0:
        return
    if case.model.engine == "fipy":
        yield 'solver.merge = 1: model.engine = "fipy" solves on whole voxels; set merge = 0, or engine = "newton"'
    for key, image in images_of(case).items():
        described, at = (image, key) if image.generate is None else (image.generate, f"{key}.generate")
        size = getattr(described, "voxel_size", None)
        assert size is not None
        try:
            given_up(size)
        except MeshError as error:
            yield f"solver.merge = 1 with {at}.voxel_size: {error}"


def _image_problems(key: str, image: Image) -> Iterator[str]:
    """An electrode needs its phases by their names, and a direction; `key` is the path of the image's table."""
    known, owner = ("pore", "active", "binder"), "a half cell" if key == "image" else "an electrode"
    for name in ("pore", "active"):
        if name not in image.phases:
            yield (
                f"{key}.labels.{name}: is required and missing; {owner} needs pore and active, "
                "such as labels = { pore = 0, active = 1 }"
            )
    for name in image.phases:
        if name not in known:
            hint = f"{suggest(name, known)}; or list its value in {key}.ignore"
            yield f"{key}.labels.{name}: is no phase of {owner}; {hint}"
    if image.file is not None and "through_plane" not in image.model_fields_set:
        yield (
            f"{key}.through_plane: is required and missing; add the axis from separator to collector, "
            'such as through_plane = "x"'
        )


def _cell_problems(case: P2DCase) -> Iterator[str]:
    """A half cell has one porous electrode and a counter electrode, a full cell has two porous ones."""
    cell, other = case.model.cell, "full" if case.model.cell == "half" else "half"
    layers = LAYERS[cell]
    wanted = [name for name in layers if name != "separator"]
    tables = " and ".join(f"[{name}]" for name in wanted)
    for name in wanted:
        if name not in case.electrodes:
            yield f'{name}: is required and missing; a {cell} cell (model.cell = "{cell}") has {tables}: add [{name}]'
    for name in case.electrodes:
        if name not in wanted:
            yield f'{name}: is no part of a {cell} cell, which has {tables}; delete the table, or set cell = "{other}"'
    if cell == "full" and case.materials.counter is not None:
        yield "materials.counter: a full cell has no counter electrode; delete it, [negative] takes its place"
    yield from _grid_problems(case)
    x = case.initial.stoichiometry
    if cell == "full" and isinstance(x, float):
        yield (
            f"initial.stoichiometry = {x:g}: a full cell has two; write stoichiometry = {{ negative = 0.9, "
            "positive = 0.27 }, or soc = 1.0"
        )
    if cell == "half" and isinstance(x, Stoichiometries):
        yield (
            f"initial.stoichiometry = {shown(x.model_dump())}: a half cell has one; write a number, such as "
            f"stoichiometry = {x.positive:g}"
        )


def _grid_problems(case: P2DCase) -> Iterator[str]:
    points, layers = case.solver.p2d.points, LAYERS[case.model.cell]
    if points is not None and len(points) != len(layers):
        yield (
            f"solver.p2d.points = {list(points)}: a {case.model.cell} cell needs {len(layers)} numbers, cells across "
            f"{', '.join(layers)} in this order; correct the list, or leave it out"
        )


def _material_problems(case: CellCase) -> Iterator[str]:
    """Names that are neither a published set nor a BPX file."""
    listed: list[tuple[str, str | None, list[str]]] = [
        (f"{key}.base", chosen.base, sorted(ACTIVE_MATERIALS))
        if isinstance(chosen, OwnActive)
        else (key, chosen, sorted(ACTIVE_MATERIALS))
        for key, chosen in chosen_materials(case).items()
    ]
    listed.append(("materials.electrolyte", case.materials.electrolyte, sorted(ELECTROLYTES)))
    if not isinstance(case, FullCellCase):
        listed.append(("materials.counter", case.materials.counter, sorted(COUNTER_ELECTRODES)))
    for key, name, known in listed:
        if name is None or name in known or (is_bpx(name) and key != "materials.counter"):
            continue
        file = "" if key == "materials.counter" else "; or the path of a BPX file, which ends in .json"
        yield f"{key} = {shown(name)} is no set that is known here; {suggest(name, known)}{file}"
