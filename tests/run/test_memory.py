"""The memory of a cell is told before it is taken: within 25 %, with the crop that fits."""

import json
import re
import subprocess
import sys

import numpy as np
import psutil
import pytest

from battsim.case import load_case
from battsim.errors import ResourceError
from battsim.run import run_case
from battsim.run.build import build_image
from battsim.run.memory import memory_of, most_unknowns, refuse_too_large

CASE = """
schema = 1
[image.generate]
kind = "spheres"
shape = {shape}
voxel_size = "1 um"
active_volume_fraction = 0.45
binder_volume_fraction = 0.10
diameter = {{ median = "8 um", sigma = 0.2 }}
[materials]
active = "nmc811-chen2020"
electrolyte = "lipf6-chen2020"
counter = "lithium-xu2019"
[materials.separator]
thickness = "12 um"
porosity = 0.47
bruggeman = 1.5
[model]
kind = "resolved"
[[protocol]]
step = "discharge"
rate = "1 C"
until = {{ time = "1 s" }}
"""


def case_of(folder, shape, merge=0):
    text = CASE.format(shape=list(shape)) + f"[solver]\nmerge = {merge}\n"
    if merge:  # wide grains, so that half of the voxels merge
        text = text.replace('"8 um", sigma = 0.2', '"18 um", sigma = 0.0')
    (folder / "case.toml").write_text(text)
    return load_case(folder)


@pytest.mark.parametrize("merge", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_estimate_is_near_what_a_run_takes(tmp_path, merge):
    case = case_of(tmp_path, (50, 50, 50), merge)
    command = [sys.executable, "-c", "from battsim.cli import main; main()", "run", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    peak = json.loads((tmp_path / "results" / "run.json").read_text())["peak_memory_bytes"]
    found = json.loads((tmp_path / "results" / "summary.json").read_text())["unknowns"]
    expected = most_unknowns(case, build_image(case))
    assert found <= expected <= 1.02 * found  # clusters that take no part are not known before
    assert memory_of(expected) == pytest.approx(peak, rel=0.25)
    voxels = case.model_copy(update={"solver": case.solver.model_copy(update={"merge": 0})})
    assert merge == 0 or expected < 0.7 * most_unknowns(voxels, build_image(case))


def test_too_large_is_refused_before_the_mesh_with_the_crop_that_fits(tmp_path, monkeypatch):
    case = case_of(tmp_path, (30, 20, 24))
    image = build_image(case)
    free = memory_of(most_unknowns(case, image)) - 1
    available = type("Memory", (), {"available": free})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: available)
    with pytest.raises(ResourceError, match=r"30 x 20 x 24 voxels.*GiB are free") as refused:
        run_case(case, results=tmp_path / "results")
    width = int(re.search(r"A crop of 30 x (\d+) x \1 fits", str(refused.value))[1])
    assert 17 <= width <= 20  # of 20 x 24 voxels nearly all fit
    available.available = free + 1
    refuse_too_large(case, image)
    available.available = 10**6
    with pytest.raises(ResourceError, match="Not even a column of one voxel"):
        refuse_too_large(case, image)


def test_binder_counts_by_how_it_is_read(tmp_path):
    case = case_of(tmp_path, (20, 18, 16))
    image = build_image(case)
    binder = case.materials.binder.model_copy(update={"transport": "impermeable"})
    materials = case.materials.model_copy(update={"binder": binder})
    without = most_unknowns(case.model_copy(update={"materials": materials}), image)
    assert most_unknowns(case, image) - without == 2 * np.count_nonzero(image.mask("binder"))
