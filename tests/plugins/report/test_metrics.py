"""Reading and smoothing metrics.csv."""

from pathlib import Path

import numpy as np
from vidgen_report.metrics import read_metrics, smooth


def test_no_file_and_no_rows_are_no_metrics(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    assert read_metrics(path) is None
    path.write_text("")
    assert read_metrics(path) is None
    path.write_text("loss\n0.5\n")
    assert read_metrics(path) is None


def test_the_last_of_rows_with_one_step_counts_and_steps_are_sorted(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,lr\n10,3,1e-4\n30,1,\n20,2,3e-4\n30,0.5,\n4")
    metrics = read_metrics(path)
    assert metrics is not None
    assert metrics.steps.tolist() == [4, 10, 20, 30]
    steps, loss = metrics.known("loss")
    assert (steps.tolist(), loss.tolist()) == ([10, 20, 30], [3, 2, 0.5])
    assert metrics.known("lr")[0].tolist() == [10, 20]
    assert metrics.known("grad_norm")[0].tolist() == []


def test_the_running_mean_averages_neighbours_and_keeps_a_constant() -> None:
    np.testing.assert_allclose(smooth(np.array([1.0, 2, 6, 2, 9, 4])), [3, 2.75, 4, 4.6, 5.25, 5])
    np.testing.assert_allclose(smooth(np.full(700, 0.3)), 0.3)
    noise = np.random.default_rng(3).normal(size=3000)
    assert smooth(noise).std() < 0.15
