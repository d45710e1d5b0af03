"""What a sweep costs beside its members, and what a second worker brings.

    python benchmarks/speed/sweep.py

Overhead: members that do nothing, and members whose own time run.json has, on one worker that is there already.
Workers: the same tortuosity members on one and on two, each in a cluster that is there already; start apart.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from battsim.output.record import write_json
from battsim.run import run_case
from battsim.sweep.engine import Workers, connected, prepare, run_on
from battsim.sweep.members import Member, members_of
from battsim.sweep.plan import read_plan
from battsim.sweep.worker import RunCase

CASE = """
schema = 1
[image.generate]
kind = "spheres"
shape = [{size}, {size}, {size}]
voxel_size = "1 um"
active_volume_fraction = 0.5
binder_volume_fraction = 0.1
diameter = {{ median = "8 um" }}
[model]
kind = "tortuosity"
[transport]
conductivity = {{ pore = 1.0 }}
"""


def main() -> None:
    """All of it, in words."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100, help="for the overhead")
    parser.add_argument("--size", type=int, default=64, help="edge of the image of a tortuosity member, voxels")
    parser.add_argument("--tortuosities", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        overhead(Path(folder), given.members)
    with tempfile.TemporaryDirectory() as folder:
        workers(Path(folder), given.size, given.tortuosities, given.repeats)


def overhead(folder: Path, count: int) -> None:
    """Time for each member of the smallest image, beside what it took itself."""
    plan, members = sweep_of(folder, 8, count)
    for name, run in (("nothing", idle), ("a tortuosity of 8^3 voxels", run_case)):
        with connected(Workers(1), plan.limits) as client:
            timed(client, members[:2], folder, plan, run)  # the worker imports what it needs
            wall = timed(client, members[2:], folder, plan, run)
        own = sum(record(folder, member).get("wall_s") or 0.0 for member in members[2:])
        per_member = 1e3 * (wall - own) / (count - 2)
        print(f"members that do {name}: {1e3 * wall / (count - 2):.1f} ms each, {per_member:.1f} ms beside their own")


def workers(folder: Path, size: int, count: int, repeats: int) -> None:
    """The same members on one worker and on two, in turn."""
    plan, members = sweep_of(folder, size, count + 4)
    walls: dict[int, list[float]] = {1: [], 2: []}
    starts = []
    for _ in range(repeats):
        for n, found in walls.items():
            began = time.perf_counter()
            with connected(Workers(n), plan.limits) as client:
                starts.append(time.perf_counter() - began)
                timed(client, members[:4], folder, plan, run_case)
                found.append(timed(client, members[4:], folder, plan, run_case))
    best = {n: min(found) for n, found in walls.items()}
    print(f"{count} tortuosities of {size}^3 voxels: {best[1]:.2f} s on one worker, {best[2]:.2f} s on two")
    print(f"ratio {best[1] / best[2]:.2f}; all: {walls}; start of a cluster {min(starts):.1f} s")


def sweep_of(folder: Path, size: int, count: int) -> tuple[Any, list[Member]]:
    """A plan over seeds, and its members."""
    (folder / "case.toml").write_text(CASE.format(size=size), encoding="utf-8")
    plan = read_plan({"method": "grid", "parameters": {"image.generate.seed": list(range(count))}})
    return plan, members_of(folder, plan)


def timed(client: Any, members: Sequence[Member], folder: Path, plan: Any, run: RunCase) -> float:
    """Wall time of members from their beginning, s."""
    runs = folder / "runs"
    for member in members:
        shutil.rmtree(runs / member.key, ignore_errors=True)
    prepare(members, runs)
    began = time.perf_counter()
    outcomes = run_on(client, members, runs, plan.limits, lambda _share, _message: None, run)
    wall = time.perf_counter() - began
    assert all(outcome.state == "done" for outcome in outcomes.values())
    return wall


def idle(_case: Any, *, results: Path, **_: Any) -> dict[str, Any]:
    """Stands for a run that takes no time."""
    write_json(results / "summary.json", {})
    write_json(results / "run.json", {"state": "done"})
    return {}


def record(folder: Path, member: Member) -> dict[str, Any]:
    """run.json of a member."""
    found = json.loads((folder / "runs" / member.key / "results" / "run.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


if __name__ == "__main__":
    main()
