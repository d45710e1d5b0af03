"""Tables of the tortuosity benchmark, computed from its JSON alone."""

from statistics import median

ENDS = {"taufactor": "outer", "porespy": "centres", "pyamg": "outer", "pyamg classical": "outer"}
"""Where each peer fixes the values at the ends, in battsim's words."""
CODES = ("battsim", *ENDS)
NAMES = {
    "taufactor": "TauFactor",
    "porespy": "PoreSpy",
    "pyamg": "pyamg-CG, quick set-up",
    "pyamg classical": "pyamg-CG, classical defaults",
}
DEFAULT = "1e-04"
"""battsim's default tolerance, as the JSON writes it."""
TARGET = 1e-4
"""True error for the comparison with codes that have no default accuracy."""
BUSY = 0.2
"""Cores used by other processes from which a time is marked as disturbed."""


def error(run, reference):
    """True relative error of a run's D_eff."""
    return abs(run["D_eff"] / reference - 1.0)


def pair(row, code):
    """What one peer and battsim took on one image at equal true error and at battsim's default; None if not measured.

    `failed` says why there is no comparison.
    """
    peer, ours = row["codes"].get(code), row["codes"].get(f"battsim {ENDS[code]}")
    if peer is None or ours is None:
        return None
    default, exact = (ours, ours) if "failed" in ours else (ours["tolerances"][DEFAULT], ours["reference"])
    for run, name in ((peer, NAMES[code]), (default, "battsim"), (exact, "battsim, reference")):
        if "failed" in run:
            return {"failed": f"{name}: {run['failed']}"}
    reference = exact["D_eff"]
    result = {"peer": peer, "ours": ours, "default_s": default["median_s"], "default_error": error(default, reference)}
    if "steps" in peer:
        result["peer_s"], result["peer_error"] = first_step(peer, reference, TARGET)
        as_good, _ = first_step(peer, reference, result["default_error"])
        result |= at_equal_tolerance(ours, reference, TARGET)
    else:
        result["peer_s"], result["peer_error"] = peer["median_s"], error(peer, reference)
        as_good = result["peer_s"]
        result |= at_equal_tolerance(ours, reference, result["peer_error"])
    return result | {
        "equal_ratio": result["peer_s"] / result["equal_s"] if result.get("equal_s") else None,
        "default_ratio": as_good / result["default_s"],
    }


def first_step(peer, reference, wanted):
    """Seconds and true error of pyamg at its first step that is as good as wanted, or at its last one."""
    steps = [(wall, abs(D_eff / reference - 1.0)) for wall, D_eff in peer["steps"]]
    return next((step for step in steps if step[1] <= wanted), steps[-1])


def at_equal_tolerance(ours, reference, wanted):
    """Time of battsim at its loosest tolerance whose true error is not above the wanted one."""
    for tolerance, run in ours["tolerances"].items():  # from loose to tight
        if "failed" not in run and error(run, reference) <= wanted:
            return {"equal_s": run["median_s"], "equal_tolerance": tolerance}
    return {}


def disturbed(run):
    """Whether other processes kept the machine busy during a run, or during any run inside it."""
    inside = [value for value in run.values() if isinstance(value, dict)]
    return run.get("busy_elsewhere", 0.0) > BUSY or any(map(disturbed, inside))


def rows_of(report, group):
    """(image, code, pair) of one group of images, in the report's order."""
    for row in report["images"].values():
        if row["group"] == group:
            for code in ENDS:
                found = pair(row, code)
                if found is not None:
                    yield row["image"], code, found


def marked(ratio):
    """A ratio as text, bold where battsim loses."""
    if ratio is None:
        return "not reached"
    return f"**{ratio:.2f}, lost**" if ratio < 1.0 else f"{ratio:.1f}"


def line(image, code, found):
    """One line of the table of times."""
    if "failed" in found:
        return f"| {image} | {NAMES[code]} | {found['failed']} |" + " |" * 8
    note = "" if found["peer"].get("converged", True) else ", not converged"
    tolerances = found["ours"]["tolerances"]
    default, equal = tolerances[DEFAULT], "not reached"
    if found.get("equal_s"):
        key = found["equal_tolerance"]
        equal = f"{timed(found['equal_s'], tolerances[key])} ({float(key):.0e})"
    return (
        f"| {image} | {NAMES[code]} | {timed(found['peer_s'], found['peer'])} | {found['peer_error']:.1e}{note} "
        f"| {equal} | {marked(found['equal_ratio'])} "
        f"| {timed(found['default_s'], default)} | {found['default_error']:.1e} | {marked(found['default_ratio'])} "
        f"| {found['peer']['added_memory_MB']:.0f} / {default['added_memory_MB']:.0f} "
        f"| {default['peak_memory_MB']:.0f} |"
    )


def timed(seconds, run):
    """Seconds as text, with a star where other processes kept the machine busy."""
    return f"{seconds:.2f}{'*' if disturbed(run) else ''}"


def table(report, group):
    """Times, true errors, ratios and memory of one group."""
    lines = [
        "| image | peer | peer, s | its true error | battsim at equal error, s (tolerance) | ratio "
        "| battsim default, s | its true error | ratio | added memory, peer / battsim, MB | battsim's process, MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [line(*entry) for entry in rows_of(report, group)])


def summary(report, groups):
    """Median and worst ratio of each peer and group, how many cases were lost, and how many gave no ratio."""
    lines = [
        "| images | peer | cases | failed | median ratio at equal error | worst | lost "
        "| median ratio at default | worst | lost |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for group in groups:
        for code in ENDS:
            pairs = [found for _, other, found in rows_of(report, group) if other == code]
            failed = sum("failed" in found for found in pairs)
            cells = [group, NAMES[code], str(len(pairs)), str(failed)]
            for key in ("equal_ratio", "default_ratio"):
                ratios = [found[key] for found in pairs if found.get(key) is not None]
                lost = sum(ratio < 1.0 for ratio in ratios)
                cells += [marked(median(ratios)), marked(min(ratios)), str(lost)] if ratios else ["", "", ""]
            if pairs:
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def battsim_table(report):
    """Parts of battsim's own time at its default, per image and ends, and the tolerances that it missed."""
    lines = [
        "| images | image | ends | battsim default, s | labelling, s | set-up, s | the rest, s | steps | not reached |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row, ends, ours in battsim_runs(report):
        run = ours["tolerances"][DEFAULT]
        missed = [
            key for key, other in [*ours["tolerances"].items(), ("1e-11", ours["reference"])] if "failed" in other
        ]
        if "failed" not in run:
            rest = run["wall_s"][0] - run["labelling_s"] - run["set_up_s"]  # the parts are those of the first call
            lines.append(
                f"| {row['group']} | {row['image']} | {ends} | {timed(run['median_s'], run)} "
                f"| {run['labelling_s']:.3f} | {run['set_up_s']:.3f} | {rest:.3f} | {run['iterations']} "
                f"| {', '.join(missed)} |"
            )
    return "\n".join(lines)


def battsim_runs(report):
    """(row, ends, answer) of each image and kind of ends that battsim has measured."""
    for row in report["images"].values():
        for ends in ("outer", "centres"):
            ours = row["codes"].get(f"battsim {ends}", {"failed": ""})
            if "failed" not in ours:
                yield row, ends, ours


def check_of_reference(report):
    """Largest difference of battsim's reference to pyamg's last D_eff, as a sentence."""
    differences = [
        error(row["codes"][code], ours["reference"]["D_eff"])
        for row, ends, ours in battsim_runs(report)
        for code in ENDS
        if ENDS[code] == ends and "steps" in row["codes"].get(code, {}) and "failed" not in ours["reference"]
    ]
    if not differences:
        return ""
    return (
        f"Check of the reference: over {len(differences)} solves battsim at 1e-11 and pyamg at a residual of 1e-8 "
        f"differ by at most {max(differences):.1e} in D_eff."
    )


def start_up_text(report):
    """Seconds of battsim's first call without and with compiled kernels, as sentences."""
    answers = report.get("start_up", {})
    if not answers or any("failed" in answer for answer in answers.values()):
        return ""
    return "\n".join(
        f"battsim in a new process, kernels {state}: import {a['import_s']:.2f} s, first call (40^3) "
        f"{a['first_s']:.2f} s, again {a['again_s']:.3f} s."
        for state, a in answers.items()
    )


def markdown(report):
    """All tables of the comparison."""
    groups = list(dict.fromkeys(row["group"] for row in report["images"].values()))
    if not groups:
        return ""
    settings = report["settings"]
    head = (
        f"Threads: {settings['threads']}; median of {settings['repeats']}; {report['machine']['cores']} cores. "
        f"A star: other processes used more than {BUSY} cores meanwhile."
    )
    parts = [head, summary(report, groups)]
    parts += [f"**{group}**\n\n{table(report, group)}" for group in groups]
    parts += [battsim_table(report), check_of_reference(report), start_up_text(report)]
    return "\n\n".join(part for part in parts if part)


def iteration_table(report):
    """Steps of battsim's solver to one residual by image and size."""
    rows = list(report["iterations"].values())
    if not rows:
        return ""
    groups, names = (list(dict.fromkeys(row[key] for row in rows)) for key in ("group", "image"))
    lines = [
        f"| steps to a residual of {rows[0]['wanted']:.0e} (s, process MB) | {' | '.join(groups)} |",
        "|---" * (len(groups) + 1) + "|",
    ]
    for name in names:
        cells = {row["group"]: cell_of(row) for row in rows if row["image"] == name}
        lines.append(f"| {name} | " + " | ".join(cells.get(group, "") for group in groups) + " |")
    return "\n".join(lines)


def cell_of(row):
    """Steps, seconds and memory of one solve, or why there are none."""
    if "failed" in row:
        return row["failed"]
    note = "" if row["residual"] <= row["wanted"] else f", {row['status']}"
    return f"{row['iterations']}{note} ({timed(row['median_s'], row)}, {row['peak_memory_MB']:.0f})"
