"""The picture of a study: means over the rate, whatever order the rates were run in."""

import numpy as np
from matplotlib.figure import Figure

from battsim.output.study_pictures import draw_study


def entry(rate, gap, std):
    gaps = {"mean_voltage_difference_V": {"mean": gap, "std": std}}
    return {"rate_C": rate, "capacity_Ah_m2": {"mean": 10.0 / rate, "std": 1.0}, "baselines": {"p2d_image": gaps}}


def drawn(tmp_path, monkeypatch, summary):
    """Right half of the picture."""
    kept = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (kept.append(self.axes[1]), save(self, *a, **k)))
    draw_study(tmp_path, summary, title="a study")
    assert (tmp_path / "study.png").stat().st_size > 1000
    return kept[0]


def test_marks_are_joined_in_the_order_of_the_rates(tmp_path, monkeypatch):
    spread = [entry(1.0, 0.06, 0.04), entry(2.0, 0.1, 0.03), entry(0.2, 0.01, 0.004), entry(4.0, None, None)]
    axes = drawn(tmp_path, monkeypatch, {"runs": [], "spread": spread})
    (line,) = (line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata()) == 3)
    assert (np.diff(line.get_xdata()) > 0.0).all()
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), [10.0, 60.0, 100.0])


def test_without_baselines_it_shows_the_capacity(tmp_path, monkeypatch):
    spread = [entry(rate, 0.0, 0.0) | {"baselines": {}} for rate in (2.0, 1.0)]
    axes = drawn(tmp_path, monkeypatch, {"runs": [], "spread": spread})
    assert "capacity" in axes.get_ylabel()
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata(), float), [1.0, 0.5])
