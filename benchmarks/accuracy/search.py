"""Does a search beat as many designs at random? An electrode for 3 C, over several seeds, with a sign test.

    python benchmarks/accuracy/search.py search.json --seeds 10 --trials 30 --markdown search.md

The problem: thickness, porosity and particle radius of a half cell (P2D), for the most energy per volume at 3 C, of
electrodes that give at least 20 Ah/m2. Both sides have the same number of trials, ranges and limits, and differ in who
asks for the designs. Seed by seed, the best feasible design of each side is compared. Ranges have steps, so that seeds
share the members that are alike, each of which is run once.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from battsim.search.plan import read_search
from battsim.search.search import dask_crew, run_search
from battsim.search.study import DATABASE
from battsim.sweep.engine import Workers

CASE = """
schema = 1
name = "NMC811 half cell at 3 C"
[model]
kind = "p2d"
cell = "half"
[electrode]
material = "nmc811-chen2020"
thickness = "75.6 um"
porosity = 0.335
active_volume_fraction = 0.615
particle_radius = "5.22 um"
bruggeman = 1.5
conductivity = "0.18 S/m"
[materials]
electrolyte = "lipf6-nyman2008"
counter = "lithium-xu2019"
[materials.separator]
thickness = "12 um"
porosity = 0.47
bruggeman = 1.5
[[protocol]]
step = "discharge"
rate = "3 C"
until = { voltage = "3.3 V" }
[solver]
time_rtol = 1e-2
[solver.p2d]
points = [5, 10]
radial = 8
"""
SEARCH: dict[str, Any] = {
    "schema": 1,
    "parameters": {
        "electrode.thickness": {"low": "30 um", "high": "130 um", "step": 5},
        "electrode.porosity": {"low": 0.15, "high": 0.55, "step": 0.025},
        "electrode.particle_radius": {"low": "3 um", "high": "9 um", "step": 1},
    },
    "derived": {"electrode.active_volume_fraction": "0.95 - electrode.porosity"},
    "objective": [{"value": "energy_Wh_m2 / (thickness_m + 20e-6)", "direction": "maximise"}],
    "constraint": [
        {"value": "capacity_Ah_m2", "min": 20},
        {"value": "3 * electrode.active_volume_fraction / electrode.particle_radius", "max": 6e5},
    ],
}
"""The second limit is on the surface per volume, 1/m, on which side reactions go on; it is known before a run."""


def main() -> None:
    """All seeds; what is known so far is written after each of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="JSON file")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    found: list[dict[str, Any]] = []
    limits = read_search(SEARCH | {"trials": 1}).limits
    with dask_crew(Workers(given.workers), limits) as crew, tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "case.toml").write_text(CASE, encoding="utf-8")
        for seed in range(1, given.seeds + 1):
            (directory / DATABASE).unlink(missing_ok=True)
            plan = read_search(
                SEARCH | {"trials": given.trials, "random": given.trials, "seed": seed, "sampler": given.sampler}
            )
            found.append(row_of(seed, run_search(directory, plan, lambda: nullcontext(crew), run=run_undrawn)))
            given.out.write_text(json.dumps(found, indent=2), encoding="utf-8")
            print(json.dumps(found[-1]), flush=True)
    text = table_of(found, given.trials, given.sampler)
    print(text)
    if given.markdown is not None:
        given.markdown.write_text(text, encoding="utf-8")


def run_undrawn(case: Any, **options: Any) -> dict[str, Any]:
    """A run without its picture, which takes as long as the run."""
    import battsim.run

    battsim.run.draw_p2d = lambda *_: None  # type: ignore[assignment]
    return battsim.run.run_case(case, **options)


def row_of(seed: int, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Both sides of one seed."""
    sides = {"search": summary, "random": summary["random"]}
    found: dict[str, Any] = {"seed": seed}
    for name, side in sides.items():
        best = side["best"]
        found[name] = {
            "best_Wh_m3": None if best is None else next(iter(best["objectives"].values()))["mean"],
            "design": None if best is None else best["design"],
            **{key: side[key] for key in ("trials", "done", "infeasible", "failed", "evaluations")},
        }
    return found


def table_of(found: Sequence[Mapping[str, Any]], trials: int, sampler: str) -> str:
    """The table, and the sign test under it."""
    lines = [
        f"{trials} designs each ({sampler}); best energy per volume, Wh/L; in brackets how many distinct ones were run",
        "",
        "| seed | search | at random | search more by |",
        "|---|---|---|---|",
    ]
    pairs = []
    for row in found:
        best = [row[side]["best_Wh_m3"] for side in ("search", "random")]
        runs = [row[side]["evaluations"] for side in ("search", "random")]
        if None in best:
            lines.append(f"| {row['seed']} | {best[0]} | {best[1]} | one has none |")
            continue
        pairs.append(best)
        lines.append(
            f"| {row['seed']} | {1e-3 * best[0]:.1f} ({runs[0]}) | {1e-3 * best[1]:.1f} ({runs[1]}) | "
            f"{100.0 * (best[0] / best[1] - 1.0):+.2f} % |"
        )
    better = sum(one > other for one, other in pairs)
    told = sum(one != other for one, other in pairs)
    mean = 100.0 * sum(one / other - 1.0 for one, other in pairs) / max(len(pairs), 1)
    p = binomtest(better, told, alternative="greater").pvalue if told else 1.0
    return "\n".join(
        [
            *lines,
            "",
            f"The search is better for {better} of {told} seeds (sign test, p = {p:.2g}); mean {mean:+.2f} %.\n",
        ]
    )


if __name__ == "__main__":
    main()
