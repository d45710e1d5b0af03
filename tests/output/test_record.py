import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from battsim.errors import NotConvergedError
from battsim.output.record import (
    clear,
    git_commit,
    plain,
    recorded,
    runs_elsewhere,
    sha256,
    state_of,
    write_json,
)
from meshing.errors import MeshError


def read(results: Path) -> dict[str, object]:
    content = json.loads((results / "run.json").read_text())
    assert isinstance(content, dict)
    return content


def test_json_has_no_nan_and_no_numpy(tmp_path: Path) -> None:
    content = {
        "nan": float("nan"),
        "inf": np.float64("-inf"),
        "scalar": np.int32(3),
        "flag": np.bool_(True),
        "array": np.array([[1.0, np.nan]]),
        "pair": (1, Path("a") / "b"),
        3: None,
    }
    write_json(tmp_path / "x.json", content)
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {
        "nan": None,
        "inf": None,
        "scalar": 3,
        "flag": True,
        "array": [[1.0, None]],
        "pair": [1, "a/b"],
        "3": None,
    }
    assert plain(np.float32(0.5)) == 0.5


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    write_json(file, {"old": 1})
    with pytest.raises(TypeError):
        write_json(file, {"new": object()})
    assert json.loads(file.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_write_that_breaks_late_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "x.json", {})
    assert list(tmp_path.iterdir()) == []


def test_run_is_recorded_at_start_and_end(tmp_path: Path) -> None:
    source = tmp_path / "case.toml"
    source.write_bytes(b"abc")
    results = tmp_path / "results"
    with recorded(results, inputs={"case.toml": source}, seed=7, threads=2):
        during = read(results)
        np.ones(10**6)
    after = read(results)
    assert (during["state"], after["state"]) == ("running", "done")
    assert after["resumed_from_s"] is None
    assert state_of(results) == "done"
    assert during["wall_s"] is None
    # the digest of "abc" is a test vector of FIPS 180
    assert after["inputs"] == {"case.toml": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    assert (after["seed"], after["threads"]) == (7, 2)
    assert after["libraries"]["numpy"] == np.__version__  # type: ignore[index]
    assert after["wall_s"] > 0  # type: ignore[operator]
    assert after["cpu_s"] > 0  # type: ignore[operator]
    # a Python process with numpy holds more than 10 MB, and this one less than 100 GB: the unit is right
    assert 1e7 < after["peak_memory_bytes"] < 1e11  # type: ignore[operator]


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (NotConvergedError("step 3 did not converge"), "failed", "step 3 did not converge"),
        (MeshError("no pore"), "failed", "no pore"),
        (ZeroDivisionError("oops"), "failed", "ZeroDivisionError: oops"),
        (KeyboardInterrupt(), "stopped", "interrupted"),
        (SystemExit(143), "stopped", "interrupted"),
    ],
)
def test_how_a_run_ended_is_recorded(tmp_path: Path, error: BaseException, state: str, message: str) -> None:
    with pytest.raises(type(error)), recorded(tmp_path, inputs={}, seed=None, threads=1):
        raise error
    assert (read(tmp_path)["state"], read(tmp_path)["error"]) == (state, message)


def test_a_run_that_goes_on_says_from_when_and_clears_up(tmp_path: Path) -> None:
    (tmp_path / ".run.json.abc.part").write_text("half")
    with recorded(tmp_path, inputs={}, seed=None, threads=1, resumed_from_s=12.5):
        assert read(tmp_path)["resumed_from_s"] == 12.5
    assert read(tmp_path)["resumed_from_s"] == 12.5
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_record_tells_whether_its_process_still_runs(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with recorded(tmp_path, inputs={}, seed=None, threads=1):
        record = read(tmp_path)
        assert not runs_elsewhere(tmp_path)  # that is this process
        write_json(tmp_path / "run.json", {**record, "pid": other.pid})
        assert runs_elsewhere(tmp_path)
        # the number was given to another process since
        write_json(tmp_path / "run.json", {**record, "pid": other.pid, "started": "2020-01-01T00:00:00+00:00"})
        assert not runs_elsewhere(tmp_path)
        write_json(tmp_path / "run.json", {**record, "pid": other.pid})
        other.kill()
        while psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert not runs_elsewhere(tmp_path)
        other.communicate()
        assert not runs_elsewhere(tmp_path)
    write_json(tmp_path / "run.json", {**read(tmp_path), "pid": os.getppid()})
    assert not runs_elsewhere(tmp_path)  # it is done
    assert not runs_elsewhere(tmp_path / "nowhere")


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"state": "odd"}', '{"state": 3}'])
def test_state_of_a_broken_record_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    assert state_of(tmp_path) is None


def test_clear_removes_what_the_engine_wrote_and_nothing_else(tmp_path: Path) -> None:
    results, elsewhere = tmp_path / "results", tmp_path / "elsewhere"
    (results / "fields").mkdir(parents=True)
    elsewhere.mkdir()
    owned = [
        "run.json",
        "summary.json",
        "timeseries.csv",
        "timeseries_p2d_image.csv",
        "fields/fields.pvd",
        "fields/0.vti",
    ]
    kept = ["notes.txt", "fields/plot.png"]
    for name in owned + kept:
        (results / name).write_text("x")
    (results / "fields" / "folder.vti").mkdir()
    (elsewhere / "precious").write_text("x")
    (results / "checkpoints").symlink_to(elsewhere)
    clear(results)
    left = sorted(p.relative_to(results).as_posix() for p in results.rglob("*") if p.is_file())
    assert left == sorted(kept)
    assert (elsewhere / "precious").exists()


def test_clear_removes_emptied_folders(tmp_path: Path) -> None:
    (tmp_path / "fields").mkdir()
    (tmp_path / "fields" / "a.vtu").write_text("x")
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_git_commit_of_a_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    try:
        git("init", "-q")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    assert git_commit(tmp_path) is None
    git("commit", "-q", "--allow-empty", "--no-verify", "-m", "one")
    head = git("rev-parse", "HEAD")
    assert git_commit(tmp_path) == head
    git("pack-refs", "--all")
    assert git_commit(tmp_path) == head
    git("checkout", "-q", "--detach")
    assert git_commit(tmp_path) == head
    git("worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"))
    assert git_commit(tmp_path / "tree") == head


def test_no_commit_without_a_checkout(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None


def test_sha256_of_a_folder_tells_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "slices"
    folder.mkdir()
    (folder / "0.png").write_bytes(b"a")
    first = sha256(folder)
    assert sha256(folder) == first
    (folder / "0.png").rename(folder / "1.png")
    second = sha256(folder)
    (folder / "1.png").write_bytes(b"b")
    assert len({first, second, sha256(folder)}) == 3


def test_sha256_of_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
