"""Step caches measured on a run: what is lost, against exact clips from the same noise."""

import json
from math import inf
from pathlib import Path

import pytest
import torch
import vidgen
from click.testing import CliRunner
from tiny_run import RECIPE, merged
from vidgen_bench.command import bench
from vidgen_bench.step_caches import Figure, Setting, own_prompts, psnr, settings
from vidgen_bench.step_caches_report import draw

PROMPTS = ["a red circle moving left", "a blue square moving up"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("bench") / "run"
    changes = {"max_steps": 1, "scheduler.num_sampling_steps": 4, "sample": {"prompts": PROMPTS}}
    vidgen.run(vidgen.load_recipe(merged({**RECIPE, "outputs": str(outputs)}, changes)))
    return outputs


def test_psnr_is_that_of_each_clip():
    """One step of 255 in a quarter of the pixels: a mean square of 255^2 / 4, 6.02 dB."""
    exact = torch.zeros(2, 1, 1, 2, 2, dtype=torch.uint8)
    pixels = exact.clone()
    pixels[0, 0, 0, 0, 0] = 255
    assert psnr(pixels, exact) == [pytest.approx(6.0206, abs=1e-3), inf]


def test_speed_compares_the_fastest_repeats():
    exact, one = (Figure(setting=Setting(family="exact", name="a"), seconds=times) for times in ([9, 4, 3], [1, 2, 7]))
    assert one.speed(exact) == 3


def test_a_run_is_measured_with_its_own_prompts(trained: Path, tmp_path: Path):
    call = [
        "sample",
        "--checkpoint",
        str(trained),
        "--repeats",
        "1",
        "--only",
        "0.5",
        "--json",
        str(tmp_path / "f.json"),
    ]
    done = CliRunner().invoke(bench, call, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    exact, *others = json.loads((tmp_path / "f.json").read_text())
    assert exact["setting"]["family"] == "exact" and exact["psnr"] == [None, None]  # infinite
    assert others and all(len(one["psnr"]) == 2 and len(one["seconds"]) == 1 for one in others)


def test_figures_are_drawn(tmp_path: Path):
    figures = [Figure(setting=one, seconds=[1.0], psnr=[30.0, 28.0]) for one in settings()]
    draw(figures, tmp_path / "new" / "figure.png")
    assert (tmp_path / "new" / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_every_cache_that_is_tried_can_be_built():
    kinds = [one.cache for one in settings() if one.cache is not None]
    assert len(kinds) > 10
    for given in kinds:
        options = dict(given)
        vidgen.build("step_cache", options.pop("type"), **options)


def test_prompts_are_asked_for_where_the_run_has_none(tmp_path: Path):
    outputs = tmp_path / "run"
    vidgen.run(vidgen.load_recipe(merged({**RECIPE, "outputs": str(outputs)}, {"max_steps": 1})))
    with pytest.raises(vidgen.UserError, match="give prompts, --prompt TEXT"):
        own_prompts(outputs)
