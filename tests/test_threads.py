import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from battsim import threads
from battsim.threads import Team


class Record:
    """A kernel that notes the ranges it was given, and the threads that brought them."""

    def __init__(self):
        self.ranges, self.names, self._lock = [], set(), threading.Lock()

    def __call__(self, start, stop, *arguments):
        with self._lock:
            self.ranges.append((start, stop, *arguments))
            self.names.add(threading.get_ident())


@pytest.mark.parametrize("team_size", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
def test_ranges_follow_each_other_over_all_of_the_count(team_size, count):
    record = Record()
    with Team(team_size) as team:
        team.run(record, count, 10**9)
    ranges = sorted(record.ranges)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == count
    assert [stop for _, stop in ranges[:-1]] == [start for start, _ in ranges[1:]]
    assert len(ranges) == max(1, min(team_size, count))


def test_arguments_go_to_every_part():
    record, vector = Record(), object()
    with Team(3) as team:
        team.run(record, 9, 10**9, vector, 2.0)
    assert sorted(record.ranges, key=lambda part: part[0]) == [
        (0, 3, vector, 2.0),
        (3, 6, vector, 2.0),
        (6, 9, vector, 2.0),
    ]


def test_little_work_stays_in_the_calling_thread():
    record = Record()
    with Team(4) as team:
        team.run(record, 100, 2 * threads.SMALLEST_SHARE - 1)
    assert record.ranges == [(0, 100)]
    assert record.names == {threading.get_ident()}


@pytest.mark.parametrize("failing", [0, 50], ids=["own part", "another thread's part"])
def test_failure_of_any_part_is_raised(failing):
    def kernel(start, stop):
        if start == failing:
            raise ZeroDivisionError(f"part {start} to {stop}")

    with Team(2) as team, pytest.raises(ZeroDivisionError, match=f"part {failing}"):
        team.run(kernel, 100, 10**9)


@pytest.mark.parametrize("team_size", [0, -1])
def test_no_thread_at_all_is_refused(team_size):
    with pytest.raises(ValueError, match=f"threads = {team_size}"):
        Team(team_size)


def test_an_error_in_any_part_reaches_the_caller_and_the_team_goes_on():
    def fail(start, stop):
        if start > 0:
            raise ZeroDivisionError(f"part {start} to {stop}")

    record = Record()
    with Team(3) as team:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError, match="part"):
                team.run(fail, 30, 10**9)
        with pytest.raises(ZeroDivisionError):
            team.map(lambda part: fail(part.start, part.stop), 10 * threads.PART)
        team.run(record, 30, 10**9)
    assert sorted(record.ranges) == [(0, 10), (10, 20), (20, 30)]


def test_map_returns_every_part_in_order():
    n = 5 * threads.PART + 17
    for size in (1, 2, 4):
        with Team(size) as team:
            parts = team.map(lambda part: (part.start, part.stop), n)
            assert team.map(lambda part: part.stop, 0) == [0]
        assert [start for start, _ in parts] == list(range(0, n, threads.PART))
        assert parts[-1][1] == n


def test_calls_reach_a_worker_that_fell_asleep_and_one_that_is_late_is_waited_for():
    record = Record()

    def slow(start, stop):
        time.sleep(0.05 if start > 0 else 0.0)  # far longer than anybody watches
        record(start, stop)

    with Team(2) as team:
        for _ in range(3):
            time.sleep(0.05)
            team.run(slow, 2, 10**9)
    assert sorted(record.ranges) == [(0, 1)] * 3 + [(1, 2)] * 3


def test_results_of_many_short_calls_are_all_there_when_they_return():
    total = np.zeros(2)

    def add(start, stop):
        total[start:stop] += 1.0

    with Team(2) as team:
        for k in range(20_000):
            team.run(add, 2, 10**9)
            assert total[0] == total[1] == k + 1


def test_joined_concatenates_every_field():
    @dataclass
    class Pair:
        a: np.ndarray
        b: np.ndarray

    one, two = Pair(np.arange(2), np.ones(2)), Pair(np.arange(3), np.zeros(3))
    both = threads.joined([one, two])
    assert both.a.tolist() == [0, 1, 0, 1, 2]
    assert both.b.tolist() == [1, 1, 0, 0, 0]
    assert threads.joined([one]) is one
