"""Asks for designs and tells what they came to, while the members that judge them run on workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from battsim.errors import BattsimError, CaseError
from battsim.run.sinks import Report
from battsim.search.designs import Designer
from battsim.search.numbers import Spread, result_numbers, spread_of, value_of
from battsim.search.plan import LEAST_ENDED, Constraint, Objective, SearchPlan
from battsim.search.study import (
    Answer,
    Finished,
    Purpose,
    State,
    asked,
    finished,
    interrupted,
    params_of,
    tell,
)
from battsim.sweep.engine import prepare
from battsim.sweep.members import Member, standing_of
from battsim.sweep.worker import Outcome

if TYPE_CHECKING:
    from optuna import Study, Trial

SHOWN_ERROR = 300
"""Characters of an error that the database keeps for a trial; the member's directory has all."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What the members of a design say of it.

    Attributes
    ----------
    objectives, constraints
        Over the replicates, by name.
    told
        Each objective as the search takes it: its mean, less `caution` standard errors where large is good.
    excess
        By constraint; positive where it is not met.
    """

    objectives: Mapping[str, Spread]
    constraints: Mapping[str, float]
    told: tuple[float, ...]
    excess: Mapping[str, float]

    @property
    def feasible(self) -> bool:
        """Whether all constraints are met."""
        return all(value <= 0.0 for value in self.excess.values())

    def answer(self, members: Sequence[Member]) -> Answer:
        """The same for the database and the tables."""
        objectives = {
            name: asdict(spread) | {"told": told}
            for (name, spread), told in zip(self.objectives.items(), self.told, strict=True)
        }
        return Answer(tuple(m.key for m in members), True, None, objectives, dict(self.constraints))


def judged(members: Sequence[Member], runs: Path, plan: SearchPlan) -> Judged:
    """What members that are done say of their design.

    Raises
    ------
    CaseError
        Where an objective or a constraint is no number of the results.
    ImpossibleError
        Where it is null.
    """
    results = [result_numbers(runs, member) for member in members]

    def over(each: Objective | Constraint) -> Spread:
        found = [value_of(each.formula, member, one) for member, one in zip(members, results, strict=True)]
        return spread_of([value for value in found if value is not None])

    objectives = {objective.name: over(objective) for objective in plan.objectives}
    told = tuple(
        spread.mean - objective.sign * plan.caution * spread.error
        for objective, spread in zip(plan.objectives, objectives.values(), strict=True)
    )
    constraints = {constraint.name: over(constraint).mean for constraint in plan.constraints}
    return Judged(objectives, constraints, told, _excess(plan, constraints))


def judged_by_inputs(members: Sequence[Member], plan: SearchPlan) -> dict[str, float]:
    """Constraints that are about inputs alone, by name."""
    found: dict[str, float] = {}
    for constraint in plan.constraints:
        values = [value_of(constraint.formula, member, None) for member in members]
        known = [value for value in values if value is not None]
        if len(known) == len(members):
            found[constraint.name] = spread_of(known).mean
    return found


def _excess(plan: SearchPlan, values: Mapping[str, float]) -> dict[str, float]:
    return {each.name: each.excess(values[each.name]) for each in plan.constraints if each.name in values}


@dataclass(frozen=True, slots=True, eq=False)
class _UnderWay:
    trial: Trial
    members: tuple[Member, ...]


@dataclass(slots=True)
class Loop:
    """The trials of a study, up to `count`; `more` is what the engine asks for members.

    A trial that fails is told so and costs one of the count. Too many that fail end it (`limits.failed`).
    """

    designer: Designer
    study: Study
    purpose: Purpose
    count: int
    runs: Path
    report: Report
    under_way: list[_UnderWay] = field(default_factory=list)
    settled: dict[str, str | None] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    to_resume: Iterator[Trial] = field(init=False)
    n_asked: int = field(init=False)
    n_ended: int = 0
    n_failed: int = 0
    has_numbers: bool = False

    def __post_init__(self) -> None:
        before = finished(self.study, self.purpose)
        self.n_asked = len(before)
        for trial in before:
            self._count(trial.state)
            self.has_numbers |= trial.answer.objectives is not None
            if trial.state == "failed":
                self.settled |= _failures(trial, self.runs)
        self.to_resume = interrupted(self.study, self.designer.plan, self.purpose)

    @property
    def given_up(self) -> bool:
        """Whether too many trials have failed to go on."""
        return self.n_ended >= LEAST_ENDED and self.n_failed > self.designer.plan.limits.failed * self.n_ended

    @property
    def has_work(self) -> bool:
        """Whether there are trials to be asked for, or to be taken up again."""
        return self.n_ended < self.n_asked or (self.n_asked < self.count and not self.given_up)

    def more(self, outcomes: Mapping[str, Outcome], workers: int) -> list[Member]:
        """Members to run, so that all workers have one, from how those so far were left."""
        self.settled |= {key: outcomes[key].error for key in self.begun & outcomes.keys() - self.settled.keys()}
        self._tell_settled()
        new: list[Member] = []
        while len(self._open()) < workers and (trial := self._next()) is not None:
            new += self._begin(trial)
            self._tell_settled()
        self._say()
        return new

    def _next(self) -> Trial | None:
        """The next trial: one that was interrupted, or a new one; None where there are enough."""
        left = next(self.to_resume, None)
        if left is not None:
            return left
        if self.n_asked >= self.count or self.given_up:
            return None
        self.n_asked += 1
        return asked(self.study, self.designer.plan, self.purpose)

    def _begin(self, trial: Trial) -> list[Member]:
        """Members of a trial that are to be run; none where it is known already what it comes to."""
        try:
            design = self.designer.design(params_of(trial, self.designer.plan))
            members = self.designer.members(design)
        except BattsimError as error:  # no case, as of fractions whose sum is above 1
            self._end(trial, "failed", Answer(error=_cut(str(error))))
            return []
        inputs = judged_by_inputs(members, self.designer.plan)
        excess = _excess(self.designer.plan, inputs)
        if any(value > 0.0 for value in excess.values()):
            answer = Answer(tuple(member.key for member in members), constraints=inputs)
            self._end(trial, "infeasible", answer, excess=excess)
            return []
        self.under_way.append(_UnderWay(trial, members))
        fresh = list({member.key: member for member in members if self._is_new(member)}.values())
        self.begun |= {member.key for member in fresh}
        prepare(fresh, self.runs)
        return fresh

    def _is_new(self, member: Member) -> bool:
        if member.key in self.settled or member.key in self.begun:
            return False
        if standing_of(self.runs / member.key).state == "done":
            self.settled[member.key] = None
            return False
        return True

    def _open(self) -> set[str]:
        """Members under way."""
        return {member.key for each in self.under_way for member in each.members} - self.settled.keys()

    def _tell_settled(self) -> None:
        """Tells trials whose members have all ended, in the order of their numbers."""
        for each in sorted(self.under_way, key=lambda each: each.trial.number):
            if all(member.key in self.settled for member in each.members):
                self.under_way.remove(each)
                self._judge(each)

    def _judge(self, each: _UnderWay) -> None:
        keys = tuple(member.key for member in each.members)
        errors = [error for member in each.members if (error := self.settled[member.key]) is not None]
        if errors:
            self._end(each.trial, "failed", Answer(keys, True, _cut(errors[0])))
            return
        try:
            found = judged(each.members, self.runs, self.designer.plan)
        except BattsimError as error:
            if isinstance(error, CaseError) and not self.has_numbers:  # it is no number of any design
                raise
            self._end(each.trial, "failed", Answer(keys, True, _cut(str(error))))
            return
        self.has_numbers = True
        self._end(
            each.trial,
            "done" if found.feasible else "infeasible",
            found.answer(each.members),
            found.told,
            found.excess,
        )

    def _end(
        self,
        trial: Trial,
        state: State,
        answer: Answer,
        told: Sequence[float] = (),
        excess: Mapping[str, float] | None = None,
    ) -> None:
        tell(self.study, trial, state, answer, told, excess)
        self._count(state)

    def _count(self, state: State) -> None:
        self.n_ended += state != "running"
        self.n_failed += state == "failed"

    def _say(self) -> None:
        what = "trials" if self.purpose == "search" else "designs at random"
        failed = f", {self.n_failed} failed" if self.n_failed else ""
        self.report(self.n_ended / max(self.count, 1), f"{self.n_ended} of {self.count} {what}{failed}")


def once(members: Sequence[Member], report: Report) -> Callable[[Mapping[str, Outcome], int], list[Member]]:
    """For the engine: these members, and no more."""
    left = list(members)

    def more(outcomes: Mapping[str, Outcome], _workers: int) -> list[Member]:
        report(len(outcomes) / max(len(members), 1), f"{len(outcomes)} of {len(members)} finalists")
        new, left[:] = list(left), []
        return new

    return more


def _failures(trial: Finished, runs: Path) -> dict[str, str | None]:
    """Errors of the members that made a trial fail, which are not run again for another one."""
    standings: dict[str, Any] = {key: standing_of(runs / key) for key in trial.answer.members}
    return {key: standing.error for key, standing in standings.items() if standing.state == "failed"}


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_ERROR else f"{text[: SHOWN_ERROR - 3]}..."
