import pytest

from battsim.cli.show import print_rows, print_summary

GAP = {"capacity_ratio": 1.0235563, "losses": {"kinetics": {"mean_V": 0.0148219, "difference_V": -0.0023}}}


def printed(capsys: pytest.CaptureFixture[str], summary: dict[str, object]) -> list[str]:
    print_summary(summary)
    return capsys.readouterr().out.splitlines()


def test_plain_entries_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    summary = {
        "kind": "p2d",
        "stop": {"reason": "voltage", "step": 0, "message": None},
        "cells": 60,
        "shape": {"n": [1, 2.123456789]},
    }
    assert printed(capsys, summary) == [
        "kind: p2d",
        "stop: reason voltage, step 0, message -",
        "cells: 60",
        "shape: n [1, 2.1235]",
    ]


def test_entries_that_are_alike_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    image = {"capacity_ratio": None, "losses": {"kinetics": {"mean_V": 0.015, "difference_V": None}}, "extra": 7}
    assert printed(capsys, {"baselines": {"p2d_bruggeman": GAP, "p2d_image": image}}) == [
        "baselines                            p2d_bruggeman      p2d_image",
        "  capacity_ratio                     1.0236             -",
        "  losses",
        "    kinetics (mean_V, difference_V)  0.014822, -0.0023  0.015, -",
        "  extra                              -                  7",
    ]


def test_a_list_of_entries_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    ladder = [{"rung": "bruggeman", "V": 3.81087, "dV": None}, {"rung": "+b", "V": 3.80242, "dV": -0.00845529}]
    assert printed(capsys, {"ladder": ladder}) == [
        "ladder:",
        "  rung       V       dV",
        "  bruggeman  3.8109  -",
        "  +b         3.8024  -0.0084553",
    ]


def test_mixed_entries_are_indented(capsys: pytest.CaptureFixture[str]) -> None:
    homogenised = {
        "b": 0.163818,
        "sizes": [{"radius_m": 3.5e-6, "share": 0.2}],
        "stops": {"+b": "voltage", "+a": "time"},
    }
    assert printed(capsys, {"homogenised": homogenised}) == [
        "homogenised:",
        "  b: 0.16382",
        "  sizes:",
        "    radius_m  share",
        "    3.5e-06   0.2",
        "  stops: +b voltage, +a time",
    ]


def test_what_is_empty_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, {"baselines": {}, "ladder": [], "plain": [1, 2]}) == []


def test_a_table_has_no_blanks_at_the_end_of_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([["a", "long"], ["bcd", ""]])
    assert capsys.readouterr().out == "a    long\nbcd\n"
