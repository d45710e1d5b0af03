"""The page of a search: what it came to in words, its pictures, and its table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.output import search_pictures as draw
from battsim.output import sweep_pictures
from battsim.output.labels import last_key, shown
from battsim.output.page import Picture
from battsim.output.search_page import write_page
from battsim.output.search_pictures import Course
from battsim.search.designs import Designer
from battsim.search.plan import Objective, SearchPlan
from battsim.search.results import Outcome, Row, best_so_far, points_of
from battsim.search.screening import told_of
from battsim.search.space import Choice
from battsim.search.study import Finished
from battsim.sweep.findings import coded
from battsim.sweep.sensitivity import pareto_front

Floats = NDArray[np.float64]


def write_search_page(
    path: Path, outcome: Outcome, designer: Designer, summary: Mapping[str, Any], rows: Sequence[Row]
) -> None:
    """Write search.html beside search.csv."""
    plan = designer.plan
    paths = [*plan.space, *plan.derived]
    names = [o.name for o in plan.objectives] + [c.name for c in plan.constraints if c.name not in paths]
    told = [f"{o.name} std" for o in plan.objectives] if len(plan.replicates) > 1 else []
    columns = {"trial": "trial", "purpose": "purpose", "model": "model", "state": "state"}
    columns |= {name: name for name in (*names, *told)} | {each: last_key(each) for each in paths}
    chosen = summary["pareto"] if "pareto" in summary else [summary["best"]] if summary["best"] else []
    best = {" ".join(each["members"]) for each in chosen}
    of_best = list({row["members"]: row for row in rows if row["members"] in best and row["state"] == "done"}.values())
    title = f"{designer.case.name}: search" if designer.case.name else "Search"
    pictures = list(_pictures(outcome, designer, summary))
    write_page(path, rows, columns, pictures, list(conclusions(summary, designer)), of_best, title=title)


def conclusions(summary: Mapping[str, Any], designer: Designer) -> Iterator[str]:
    """What a search came to, a sentence or two each."""
    plan = designer.plan
    aims = " and ".join(f"{o.name} {'large' if o.sign > 0 else 'small'}" for o in plan.objectives)
    yield (
        f"{summary['trials']} designs ({plan.sampler}) for {aims}: {summary['done']} within the limits, "
        f"{summary['infeasible']} outside, {summary['failed']} failed; {summary['evaluations']} members run."
    )
    by = " of those computed as the case says" if plan.screening else ""
    if "pareto" in summary:
        yield f"No other design{by} beats {len(summary['pareto'])} of them in all objectives at once."
    elif summary["best"] is not None:
        yield f"The best{by}: {best_in_words(summary['best'], plan.objectives[0])}."
    else:
        yield f"No design{by} met all the limits."
    finals = summary.get("screening", {}).get("finalists", [])
    checks = [each["case"]["members"] for each in finals if each["check"]]
    if summary.get("best") and summary["best"]["members"] in checks:
        yield "It is one of the checks, so that the screening led astray: ask for more finalists."
    if len(plan.replicates) > 1:
        yield (
            f"Each design was run {len(plan.replicates)} times; the search took the mean, made worse by "
            f"{plan.caution:g} standard errors of the mean. The mean of the best of many is still on the lucky side."
        )
    beside = summary.get("random")
    if beside and "best" in beside:
        objective, own = plan.objectives[0], summary["best_so_far"][-1]
        best = "none within the limits"
        if beside["best"] is not None:
            best = f"the best {best_in_words(beside['best'], objective)}"
            if own is not None:
                best += f"; as the search takes it {beside['best']['objectives'][objective.name]['told']:.5g}, against "
                best += f"{own:.5g} of the search's best by the same"
        yield f"{beside['trials']} designs at random, judged by the {beside['judged_by']}: {best}."
    if plan.screening:
        for name, found in summary["screening"]["rank_correlation"].items():
            rank = "not known" if found["spearman"] is None else f"{found['spearman']:.2f}"
            yield (
                f"Rank correlation (Spearman) of screening and case for {name}: {rank}, over {found['designs']} "
                "designs. Among the best alone it is lower than over the whole range."
            )


def best_in_words(best: Mapping[str, Any], objective: Objective) -> str:
    """A design with its value of an objective."""
    told = best["objectives"][objective.name]
    spread = f" ± {told['std']:.3g} (std of {told['count']:.0f})" if told["count"] > 1 else ""
    design = ", ".join(f"{last_key(path)} {shown(value)}" for path, value in best["design"].items())
    return f"{objective.name} = {told['mean']:.5g}{spread} with {design} (trial {best['trial']})"


def _pictures(outcome: Outcome, designer: Designer, summary: Mapping[str, Any]) -> Iterator[Picture]:
    """Those for which there is data."""
    plan = designer.plan
    names = {path: last_key(path) for path in plan.space}
    done = [trial for trial in outcome.trials if trial.state == "done"]
    if done:
        what = plan.objectives[0].name if len(plan.objectives) == 1 else "volume that the best compromises cover"
        courses = _courses(outcome, designer, summary)
        yield Picture(
            draw.best_so_far(courses, what), "Course", "Lines: the best up to each trial. Points: each trial."
        )
    if len(plan.objectives) > 1 and len(done) > 1:
        values, signs = told_of(done, plan), [objective.sign for objective in plan.objectives]
        titles = [f"{'-' * (o.sign < 0)}{o.name}" for o in plan.objectives]
        x, y = values[:, 0] * signs[0], values[:, 1] * signs[1]
        best = pareto_front(list(values.T))
        picture = sweep_pictures.front(x, y, best, (titles[0], titles[1]))
        yield Picture(picture, "Best compromises", "Feasible designs; no other one beats those that are joined.")
    if summary["importance"]:
        picture = draw.importance(summary["importance"], names)
        yield Picture(
            picture, "Importance", "PED-ANOVA over the feasible trials; what was searched most is known best."
        )
    tried = [trial for trial in outcome.trials if trial.answer.objectives is not None]
    if len(tried) > 1:
        parameters, levels = _parameters(tried, plan)
        feasible = np.array([trial.state == "done" for trial in tried])
        for k, objective in enumerate(plan.objectives):
            picture = draw.slices(
                parameters, levels, told_of(tried, plan)[:, k] * objective.sign, feasible, objective.name, names
            )
            yield Picture(
                picture, f"Where it looked: {objective.name}", "Dark: early, light: late; crosses: infeasible."
            )
    both = [final for final in outcome.finals if final.found.answer.objectives is not None]
    if len(both) > 1:
        check = np.array([final.check for final in both])
        for k, objective in enumerate(plan.objectives):
            one = told_of([final.screened for final in both], plan)[:, k] * objective.sign
            other = told_of([final.found for final in both], plan)[:, k] * objective.sign
            picture = draw.screening(one, other, check, objective.name)
            yield Picture(picture, f"Screening: {objective.name}", "On the line both say the same.")


def _courses(outcome: Outcome, designer: Designer, summary: Mapping[str, Any]) -> list[Course]:
    plan = designer.plan
    found = []
    for label, trials, covered in (
        ("search", outcome.trials, "hypervolume"),
        ("at random", outcome.random, "hypervolume_random"),
    ):
        if not trials:
            continue
        if len(plan.objectives) > 1:
            found.append(Course(label, np.empty(0), np.array(summary[covered])))
            continue
        points = points_of(trials, plan)
        sign = plan.objectives[0].sign
        values = np.array([np.nan if point is None else sign * point[0] for point in points])
        so_far = np.array([np.nan if value is None else value for value in best_so_far(trials, plan)])
        found.append(Course(label, values, so_far))
    return found


def _parameters(trials: Sequence[Finished], plan: SearchPlan) -> tuple[dict[str, Floats], dict[str, tuple[str, ...]]]:
    """Parameters as numbers in the unit they are written in, and the names of the values of those that are none."""
    columns = {path: [trial.params[path] for trial in trials] for path in plan.space}
    for path, variable in plan.space.items():
        if isinstance(variable, Choice):  # optuna has tables and lists as JSON
            columns[path] = [variable.written(value) for value in columns[path]]
    return coded(columns)
