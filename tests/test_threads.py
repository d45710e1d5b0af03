import threading

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
