"""What a worker does with a member, without a cluster around it."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from battsim.cli.guard import Terminated
from battsim.errors import ImpossibleError
from battsim.output.record import write_json
from battsim.run import run_case
from battsim.sweep.engine import batches, prepare
from battsim.sweep.members import Standing, begun, locked, members_of, put_late, put_standing, standing_of
from battsim.sweep.plan import read_plan
from battsim.sweep.worker import Kept, Orders, Outcome, run_member

TORTUOSITY = Path(__file__).with_name("tortuosity.toml").read_text(encoding="utf-8")
HALF_CELL = """
schema = 1
[image]
through_plane = "x"
[image.generate]
kind = "spheres"
shape = [12, 6, 6]
voxel_size = "1 um"
active_volume_fraction = 0.5
binder_volume_fraction = 0.1
diameter = { median = "5 um" }
[materials]
active = "nmc811-chen2020"
electrolyte = "lipf6-nyman2008"
separator = { thickness = "6 um", porosity = 0.47, bruggeman = 1.5, layers = 3 }
[model]
kind = "resolved"
[[protocol]]
step = "discharge"
rate = "1 C"
until = { voltage = "4.0 V", time = "120 s" }
[solver]
threads = 1
"""
SEED = "image.generate.seed"
Run = Callable[..., dict[str, Any]]


def prepared(tmp_path: Path, text: str = TORTUOSITY, **parameters: list[Any]) -> tuple[Path, list[Any]]:
    (tmp_path / "case.toml").write_text(text, encoding="utf-8")
    paths = {path.replace("__", "."): values for path, values in parameters.items()} or {SEED: [1]}
    members = members_of(tmp_path, read_plan({"method": "grid", "parameters": paths}))
    runs = tmp_path / "runs"
    prepare(members, runs)
    return runs, members


def finishes(log: Path) -> Run:
    """Stands for run_case: leaves finished results, and a line for each time that it was called."""

    def run(case: Any, *, results: Path, **_: Any) -> dict[str, Any]:
        with log.open("a") as stream:
            stream.write(f"{results.parent.name}\n")
        write_json(results / "run.json", {"state": "done", "threads": case.solver.threads})
        write_json(results / "summary.json", {"kind": "stub"})
        return {}

    return run


def raises(error: BaseException) -> Run:
    def run(_case: Any, **_: Any) -> dict[str, Any]:
        raise error

    return run


def without_times(content: Any) -> Any:
    """The same without what a clock said."""
    if isinstance(content, dict):
        return {name: without_times(inner) for name, inner in content.items() if not name.endswith("_s")}
    return content


def one(runs: Path, member: Any, run: Run = run_case, tries: int = 3) -> Outcome:
    return run_member(runs / member.key, Orders(tries, run=run, time="1 h", memory="4 GiB"), Kept(), "tcp://here")


def test_a_member_is_run_once(tmp_path: Path) -> None:
    runs, (member,) = prepared(tmp_path)
    log = tmp_path / "log"
    assert one(runs, member, finishes(log)) == Outcome(member.key, "done", None, "tcp://here")
    assert one(runs, member, finishes(log)).state == "done"
    assert log.read_text() == f"{member.key}\n"
    standing = standing_of(runs / member.key)
    assert (standing.state, standing.tries, standing.worker) == ("done", 1, "tcp://here")
    assert json.loads((runs / member.key / "results" / "run.json").read_text())["threads"] == 1  # the case says 2


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImpossibleError("no percolation"), "no percolation"),
        (MemoryError(), "out of memory"),
        (
            OSError(28, "No space left on device", "/results/steps.csv"),
            "no space left on the disk for /results/steps.csv",
        ),
        (ValueError("odd"), "ValueError: odd"),
    ],
)
def test_what_a_member_raises_is_its_failure_and_is_not_tried_again(
    error: Exception, words: str, tmp_path: Path
) -> None:
    runs, (member,) = prepared(tmp_path)
    found = one(runs, member, raises(error))
    assert found.state == "failed"
    assert words in str(found.error)
    assert standing_of(runs / member.key).tries == 1
    again = one(runs, member, finishes(tmp_path / "log"))
    assert (again.state, again.error) == ("failed", found.error)
    log = (runs / member.key / "results" / "run.log").read_text()
    assert ("Traceback" in log) == (not isinstance(error, ImpossibleError))


def test_a_member_whose_process_died_is_tried_again_and_then_given_up(tmp_path: Path) -> None:
    runs, (member,) = prepared(tmp_path)
    for number in (1, 2):
        with pytest.raises(Terminated):  # as if the process ended: nothing is written behind it
            one(runs, member, raises(Terminated(143)), tries=2)
        assert (standing_of(runs / member.key).state, standing_of(runs / member.key).tries) == ("running", number)
    found = one(runs, member, finishes(tmp_path / "log"), tries=2)
    assert found.state == "failed"
    assert "ended its process in 2 of 2 tries" in str(found.error)
    assert "4 GiB" in str(found.error)
    assert not (tmp_path / "log").exists()


def test_a_member_that_was_late_is_said_to_have_been(tmp_path: Path) -> None:
    runs, (member,) = prepared(tmp_path)
    standing = Standing("pending")
    for number in (1, 2):
        standing = begun(standing, "tcp://there")
        put_standing(runs / member.key, standing)
        if number == 1:
            put_late(runs / member.key, number)
    found = one(runs, member, tries=2)
    assert "exceeded the time limit of 1 h in 1 of 2 tries and ended its process in 1 of 2 tries" in str(found.error)


def test_preparing_gives_tries_back_and_keeps_what_is_done(tmp_path: Path) -> None:
    runs, (first, second) = prepared(tmp_path, image__generate__seed=[1, 2])
    assert one(runs, first, finishes(tmp_path / "log")).state == "done"
    assert one(runs, second, raises(ValueError("odd"))).state == "failed"
    prepare([first, second], runs)
    assert standing_of(runs / first.key).state == "done"
    assert standing_of(runs / second.key) == Standing("pending")


def test_a_member_that_another_process_works_on_is_left_alone(tmp_path: Path) -> None:
    runs, (member,) = prepared(tmp_path)
    with locked(runs / member.key):
        assert one(runs, member, finishes(tmp_path / "log")).state == "busy"
        prepare([member], runs)  # does not wait either
    assert not (tmp_path / "log").exists()


def test_a_directory_that_is_not_there_is_no_failure_of_the_member(tmp_path: Path) -> None:
    orders = Orders(3, run=finishes(tmp_path / "log"))
    assert run_member(tmp_path / "none", orders, Kept()).state == "unseen"


def test_a_real_member_is_the_case_run_by_itself(tmp_path: Path) -> None:
    from battsim.case import load_case

    runs, (member,) = prepared(tmp_path, transport__tolerance=[1e-5])
    assert one(runs, member).state == "done"
    alone = tmp_path / "alone"
    case = load_case(runs / member.key)
    run_case(case, results=alone)
    ours = json.loads((runs / member.key / "results" / "summary.json").read_text())
    theirs = json.loads((alone / "summary.json").read_text())
    assert without_times(ours) == without_times(theirs)
    assert "x" in ours["directions"]


def test_a_case_without_a_solution_fails_with_its_own_words(tmp_path: Path) -> None:
    text = TORTUOSITY.replace(
        "active_volume_fraction = 0.5", "active_volume_fraction = 0.5\nbinder_volume_fraction = 0.499"
    )
    runs, (member,) = prepared(tmp_path, text, image__generate__seed=[1])
    found = one(runs, member)
    assert found.state == "failed"
    assert "percolates along none" in str(found.error)


def test_members_on_one_image_share_its_mesh_and_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import battsim.run as run_room
    import battsim.sweep.worker as worker

    built: list[bool] = []
    real = worker.built_cell

    def counted(case: Any, report: Any, measured: Any = None) -> Any:
        built.append(measured is not None)
        return real(case, report, measured)

    monkeypatch.setattr(worker, "built_cell", counted)
    monkeypatch.setattr(run_room, "built_cell", counted)
    runs, members = prepared(tmp_path, HALF_CELL, protocol__0__rate=["1 C", "2 C"], image__generate__seed=[1, 2])
    kept, orders = Kept(), Orders(3)
    for member in members:
        assert run_member(runs / member.key, orders, kept).state == "done"
    assert built == [False, False]  # once for each image
    kept.drop()
    prepare(members, runs)
    for name in ("run.json", "summary.json"):
        (runs / members[1].key / "results" / name).unlink()
    before = (runs / members[1].key / "results" / "timeseries.csv").read_bytes()
    microstructure = (runs / members[1].key / "results" / "microstructure.json").read_bytes()
    put_standing(runs / members[1].key, Standing("pending"))
    assert run_member(runs / members[1].key, orders, Kept()).state == "done"
    assert built == [False, False, True]  # by another worker, with what the first has measured
    assert (runs / members[1].key / "results" / "timeseries.csv").read_bytes() == before
    assert (runs / members[1].key / "results" / "microstructure.json").read_bytes() == microstructure


def test_batches_keep_what_shares_a_mesh_together_while_all_workers_have_some(tmp_path: Path) -> None:
    _, members = prepared(tmp_path, HALF_CELL, protocol__0__rate=[1, 2, 3], image__generate__seed=list(range(1, 9)))
    assert [len(batch) for batch in batches(members, 2)] == [3] * 8
    assert all(len({member.shares for member in batch}) == 1 for batch in batches(members, 2))
    assert [len(batch) for batch in batches(members, 6)] == [1] * 24  # 24 members, 4 for each worker
    assert functools.reduce(operator.iadd, batches(members, 3), []) == members
    _, alone = prepared(tmp_path, TORTUOSITY, image__generate__seed=[1, 2, 3, 4, 5, 6, 7, 8])
    assert [len(batch) for batch in batches(alone, 1)] == [1] * 8
