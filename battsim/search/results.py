"""What a search found: its table, search.csv, and its summary, search.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from battsim.errors import CaseError
from battsim.output.record import write_text
from battsim.search.designs import Designer
from battsim.search.front import hypervolume_so_far, worst_of
from battsim.search.plan import SearchPlan
from battsim.search.screening import FOLDER, told_of
from battsim.search.study import Answer, Finished
from battsim.sweep.collect import columns_of, csv_text
from battsim.sweep.members import RUNS
from battsim.sweep.sensitivity import pareto_front

TABLE_FILE, SUMMARY_FILE = "search.csv", "search.json"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Final:
    """A design of the screening that was computed as the case says.

    Attributes
    ----------
    screened
        Its trial.
    check
        Whether it is one of the others, and not of the best by the screening.
    found
        The same design, with what the case itself says of it.
    """

    screened: Finished
    check: bool
    found: Finished


@dataclass(frozen=True, slots=True)
class Outcome:
    """All trials of a search, those at random beside it, and the finalists; `given_up` where too many failed."""

    trials: tuple[Finished, ...]
    random: tuple[Finished, ...]
    finals: tuple[Final, ...]
    given_up: bool


def rows_of(outcome: Outcome, designer: Designer) -> list[Row]:
    """A row per trial, and per finalist: what it is, its design, objectives, constraints and members."""
    plan = designer.plan
    model = "screening" if plan.screening else "case"
    rows = [_row(trial, trial.purpose, model, designer) for trial in (*outcome.trials, *outcome.random)]
    rows += [_row(each.found, "check" if each.check else "finalist", "case", designer) for each in outcome.finals]
    return rows


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write search.csv; a reader sees the old file or the new one."""
    write_text(path, csv_text(rows, columns_of(rows)))


def _row(trial: Finished, purpose: str, model: str, designer: Designer) -> Row:
    row: Row = {"trial": trial.number, "purpose": purpose, "model": model, "state": trial.state}
    row |= {"error": trial.answer.error} | design_of(trial, designer)
    for name, told in (trial.answer.objectives or {}).items():
        row.setdefault(name, told["mean"])  # a parameter of that name stands there as it is written
        if len(designer.plan.replicates) > 1:
            row |= {f"{name} std": told["std"], f"{name} told": told["told"]}
    row |= {name: value for name, value in (trial.answer.constraints or {}).items() if name not in row}
    folder = RUNS if model == "case" else FOLDER
    return row | {"members": " ".join(f"{folder}/{key}" for key in trial.answer.members)}


def design_of(trial: Finished, designer: Designer) -> dict[str, Any]:
    """The design of a trial as it stands in its cases; of one that was ended too early only what it had."""
    plan = designer.plan
    own = {path: plan.space[path].written(value) for path, value in trial.params.items() if path in plan.space}
    if len(own) < len(plan.space):
        return own
    try:
        return own | designer.derived(own)
    except CaseError:
        return own


def summary_of(outcome: Outcome, designer: Designer, wall: float) -> dict[str, Any]:
    """Content of search.json."""
    plan = designer.plan
    states = [trial.state for trial in outcome.trials]
    judges = [final.found for final in outcome.finals] if plan.screening else list(outcome.trials)
    feasible = [trial for trial in judges if trial.state == "done"]
    found: dict[str, Any] = {
        "kind": "search",
        "trials": len(states),
        "done": states.count("done"),
        "infeasible": states.count("infeasible"),
        "failed": states.count("failed"),
        "given_up": outcome.given_up,
        "first_error": next((trial.answer.error for trial in (*outcome.trials, *judges) if trial.answer.error), None),
        "evaluations": evaluations(outcome.trials),
        "wall_s": wall,
        "sampler": plan.sampler,
        "objectives": [{"value": o.name, "direction": o.direction} for o in plan.objectives],
    }
    if len(plan.objectives) == 1:
        best = best_of(feasible, plan)
        found["best"] = None if best is None else _told(best, designer)
        found["best_so_far"] = best_so_far(outcome.trials, plan)
    else:
        found["pareto"] = [_told(trial, designer) for trial in front_of(feasible, plan)]
        found |= _covered(outcome, plan)
    if plan.random:
        found["random"] = _at_random(outcome, designer)
    if plan.screening:
        found["screening"] = _screened(outcome, designer)
    if not feasible:
        found["nearest"] = _nearest(judges, designer)
    return found


def evaluations(trials: Sequence[Finished]) -> int:
    """Distinct members that trials had run."""
    return len({key for trial in trials if trial.answer.ran for key in trial.answer.members})


def best_of(trials: Sequence[Finished], plan: SearchPlan) -> Finished | None:
    """The best feasible trial by the first objective, the first of equals; None where there is none."""
    done = [trial for trial in trials if trial.state == "done"]
    return done[int(np.argmax(told_of(done, plan)[:, 0]))] if done else None


def front_of(trials: Sequence[Finished], plan: SearchPlan) -> list[Finished]:
    """Feasible trials that no other beats in all objectives, the best in the first one first; of equal designs one."""
    done = list({trial.answer.members: trial for trial in reversed(trials) if trial.state == "done"}.values())
    if not done:
        return []
    values = told_of(done, plan)
    chosen = np.flatnonzero(pareto_front(list(values.T)))
    return [done[k] for k in chosen[np.argsort(-values[chosen, 0], kind="stable")]]


def best_so_far(trials: Sequence[Finished], plan: SearchPlan) -> list[float | None]:
    """After each trial, the best value of the single objective among the feasible ones; None before the first."""
    sign, best, found = plan.objectives[0].sign, None, list[float | None]()
    for trial in trials:
        if trial.state == "done":
            value = float(told_of([trial], plan)[0, 0])
            best = value if best is None else max(best, value)
        found.append(None if best is None else sign * best)
    return found


def _covered(outcome: Outcome, plan: SearchPlan) -> dict[str, Any]:
    """What the best compromises cover after each trial, of the search and at random, above the worst of both."""
    search, beside = points_of(outcome.trials, plan), points_of(outcome.random, plan)
    reference = worst_of([*search, *beside])
    return {
        "hypervolume": hypervolume_so_far(search, reference),
        "hypervolume_random": hypervolume_so_far(beside, reference),
        "hypervolume_reference": None
        if reference is None
        else [o.sign * float(value) for o, value in zip(plan.objectives, reference, strict=True)],
    }


def points_of(trials: Sequence[Finished], plan: SearchPlan) -> list[Any]:
    """Objectives of each trial as the search took them, all to be large; None of one that is not feasible."""
    return [told_of([trial], plan)[0] if trial.state == "done" else None for trial in trials]


def _told(trial: Finished, designer: Designer) -> dict[str, Any]:
    """A design with its numbers."""
    folder = FOLDER if designer.screened and trial.purpose != "final" else RUNS
    return {
        "trial": trial.number,
        "design": design_of(trial, designer),
        "objectives": {name: dict(told) for name, told in (trial.answer.objectives or {}).items()},
        "constraints": dict(trial.answer.constraints or {}),
        "members": [f"{folder}/{key}" for key in trial.answer.members],
    }


def _at_random(outcome: Outcome, designer: Designer) -> dict[str, Any]:
    """The designs at random beside the search, judged by the same."""
    plan, states = designer.plan, [trial.state for trial in outcome.random]
    found: dict[str, Any] = {
        "trials": len(states),
        "done": states.count("done"),
        "infeasible": states.count("infeasible"),
        "failed": states.count("failed"),
        "evaluations": evaluations(outcome.random),
        "judged_by": "screening" if plan.screening else "case",
    }
    if len(plan.objectives) > 1:
        return found | {"pareto": [_told(trial, designer) for trial in front_of(outcome.random, plan)]}
    best, own = best_of(outcome.random, plan), best_of(outcome.trials, plan)
    beaten = None
    if best is not None and own is not None:
        beaten = bool(told_of([own], plan)[0, 0] > told_of([best], plan)[0, 0])
    return found | {"best": None if best is None else _told(best, designer), "search_is_better": beaten}


def _screened(outcome: Outcome, designer: Designer) -> dict[str, Any]:
    """The finalists, and whether the screening and the case put them into the same order."""
    return {
        "finalists": [
            {
                "check": final.check,
                "state": final.found.state,
                "error": final.found.answer.error,
                "screening": _told(final.screened, designer),
                "case": _told(final.found, designer),
            }
            for final in outcome.finals
        ],
        "rank_correlation": dict(rank_correlation(outcome.finals, designer.plan)),
    }


def rank_correlation(finals: Sequence[Final], plan: SearchPlan) -> Iterator[tuple[str, dict[str, Any]]]:
    """Spearman's, by objective, over designs that both have numbers of; None below three, or where all are equal."""
    both = [final for final in finals if final.found.answer.objectives and final.screened.answer.objectives]
    for k, objective in enumerate(plan.objectives):
        one = told_of([final.screened for final in both], plan)[:, k]
        other = told_of([final.found for final in both], plan)[:, k]
        known = len(both) > 2 and np.ptp(one) > 0.0 and np.ptp(other) > 0.0
        yield objective.name, {"designs": len(both), "spearman": float(spearmanr(one, other)[0]) if known else None}


def _nearest(trials: Sequence[Finished], designer: Designer) -> dict[str, Any] | None:
    """The infeasible design that is least outside its worst limit, as a share of the limit."""
    plan = designer.plan

    def outside(answer: Answer) -> float:
        values: Mapping[str, float] = answer.constraints or {}
        return max((each.excess(values[each.name]) for each in plan.constraints if each.name in values), default=np.inf)

    missed = [trial for trial in trials if trial.state == "infeasible"]
    return _told(min(missed, key=lambda trial: outside(trial.answer)), designer) if missed else None
