"""What the README promises in its first two commands is what runs elsewhere."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def commands() -> list[str]:
    """The lines in the README's code blocks that set up an environment."""
    blocks = re.findall(r"```\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S)
    return [line for block in blocks for line in block.splitlines() if line.startswith("python3 -m venv")]


def test_two_commands_do_their_whole_set_up():
    run, check = commands()
    assert run.endswith(".venv/bin/battsim run cases/half-cell")
    assert check.endswith("sh .ci/check")


def test_ci_runs_the_readmes_test_command():
    assert commands()[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_pictures_and_linked_files_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    places = re.findall(r"\]\(([^)#]+)\)", text)
    assert len(places) >= 4
    assert [place for place in places if not (ROOT / place).is_file()] == []
