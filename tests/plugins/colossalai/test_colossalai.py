"""What of ColossalAI's engines can be seen without a GPU: names, options, settings, refusals, the script that installs
it, and the optimizer as it looks from outside. tests/gpu runs the engines."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
import vidgen_colossalai.library as library
from vidgen.context import Context
from vidgen.errors import RecipeError, UserError
from vidgen.mesh import connect
from vidgen.recipe.structure import Mistakes, Structurer
from vidgen.registry import Registry
from vidgen_colossalai import SEQUENCE_OPTIONS, ColossalOptions
from vidgen_colossalai.engine import Colossal, build_zero2, build_zero2_seq, zero_settings
from vidgen_colossalai.optimizer import Shared

HOME = Path(__file__).parents[3] / "plugins" / "parallel" / "colossalai"
GPU = torch.accelerator.is_available()
NAMES = ("colossalai/zero2", "colossalai/zero2-seq")


def pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


@pytest.mark.parametrize(("name", "sp_size"), list(zip(NAMES, (1, 2), strict=True)))
def test_recipes_know_the_engines(name: str, sp_size: int) -> None:
    selection = Structurer(Registry.discover(), Path()).selection("parallel", {"type": name, "bucket_size": 3})
    assert selection.options.sp_size == sp_size and selection.options.bucket_size == 3


@pytest.mark.parametrize("options", [{"sp_size": 0}, {"bucket_size": 0}, {"reduce_dtype": "fp16"}, {"stage": 3}])
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises((RecipeError, Mistakes)):
        Structurer(Registry.discover(), Path()).selection("parallel", {"type": NAMES[0], **options})


def test_options_become_colossalais_settings() -> None:
    plain = zero_settings(ColossalOptions())
    assert (plain["stage"], plain["precision"], plain["max_norm"]) == (2, "fp32", 0.0)
    assert not plain["master_weights"] and not plain["cpu_offload"] and plain["communication_dtype"] is None
    changed = zero_settings(
        ColossalOptions(cpu_offload=True, reduce_dtype="bf16", bucket_size=5, overlap_communication=False)
    )
    assert changed["master_weights"] and changed["cpu_offload"] and changed["communication_dtype"] is torch.bfloat16
    assert changed["reduce_bucket_size_in_m"] == 5 and not changed["overlap_communication"]


@pytest.mark.skipif(GPU, reason="a GPU is here, where the engines run")
@pytest.mark.parametrize("build", [build_zero2, build_zero2_seq])
def test_without_a_gpu_they_say_what_to_use(build: Any) -> None:
    with pytest.raises(UserError, match=r"needs CUDA .*here is only cpu. parallel.type=zero2"):
        build(ColossalOptions(sp_size=2), Context())


def test_fp16_and_a_group_of_one_are_refused() -> None:
    with pytest.raises(UserError, match=r"dtype: fp16 .*dtype=bf16, or parallel.type=zero2"):
        build_zero2(ColossalOptions(), Context(dtype="fp16"))
    with pytest.raises(UserError, match=r"parallel.sp_size: .* 2 or more"):
        build_zero2_seq(attrs.evolve(SEQUENCE_OPTIONS(), sp_size=1), Context())


def test_what_is_missing_is_named_with_what_installs_it() -> None:
    with pytest.raises(UserError, match=r"here: peft missing.*install.sh.*pip install --no-deps colossalai==0.5.0"):
        library.check({"colossalai": "0.5.0", "peft": None})


def test_another_series_is_refused_and_a_later_patch_is_not() -> None:
    with pytest.raises(UserError, match=r"ColossalAI 0.6.1 is installed; .*0.5.x. Use pip install --no-deps"):
        library.check({"colossalai": "0.6.1"})
    library.check({**library.TESTED, "colossalai": "0.5.1"})


def test_the_message_the_constraints_and_the_readme_name_the_same_set() -> None:
    assert pins(HOME / "constraints.txt") == library.TESTED
    assert all(f"{name}=={version}" in library.INSTALL for name, version in library.TESTED.items())
    assert f"ColossalAI {library.TESTED['colossalai']}" in (HOME / "README.md").read_text()


def test_the_set_agrees_with_the_repositorys_own() -> None:
    shared = pins(HOME.parents[2] / "constraints.txt")
    assert {name: shared.get(name, version) for name, version in library.TESTED.items()} == library.TESTED


def test_the_script_installs_the_set_without_its_requirements(tmp_path: Path) -> None:
    """With a Python that writes down what it is asked."""
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nprintf "%s " "$@" >> "$(dirname "$0")/calls"\necho >> "$(dirname "$0")/calls"\n')
    fake.chmod(0o755)
    subprocess.run(["sh", HOME / "install.sh", fake], check=True, cwd=tmp_path)
    calls = (tmp_path / "calls").read_text()
    shared, own = HOME.parents[2] / "constraints.txt", HOME / "constraints.txt"
    assert f"-m pip install -c {own} -c " in calls and shared.exists()
    assert f"-m pip install --no-deps -r {own}" in calls
    assert calls.index("--no-deps") > calls.index("einops") and "from vidgen_colossalai.library import load" in calls


def test_the_distribution_requires_no_colossalai() -> None:
    """Its requirements exclude today's torch: pip would find no set."""
    required = (HOME / "pyproject.toml").read_text().split("dependencies = [")[1].split("]")[0]
    assert "colossalai" not in required


def test_a_dry_run_is_alone_and_plans() -> None:
    engine = build_zero2(ColossalOptions(), Context(load_weights=False, dtype="bf16"))
    assert isinstance(engine, Colossal) and engine.world.size == 1 and engine.num_ranks == 1
    whole = {"weights": 8 << 30, "gradients": 8 << 30, "optimizer": 16 << 30, "average": 8 << 30}
    planned = engine.plan(whole, [1 << 20], 4)
    assert planned["weights"] == whole["weights"] and planned["optimizer"] == 4 << 30
    assert planned["gradients"] == (2 << 30) + 2 * (12 << 20) * 4


class Zero:
    """ColossalAI's optimizer as far as `Shared` asks it, on one rank."""

    def __init__(self, inner: torch.optim.Optimizer, parts: dict[int, torch.Tensor]) -> None:
        self.optim, self.steps = inner, 0
        self._parts = parts

    def get_working_to_master_map(self) -> dict[int, torch.Tensor]:
        return self._parts

    def step(self) -> None:
        self.steps += 1
        self.optim.step()


def test_outside_the_optimizer_is_one_of_whole_parameters() -> None:
    """Flat parts inside, filled up at the end; state, settings and learning rates by the model's parameters."""
    connect(torch.device("cpu"))
    weight, frozen = torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(5))
    flat = torch.ones(8)
    inner = torch.optim.AdamW([flat], lr=1.0)
    zero = Zero(inner, {id(weight): flat})
    shared = Shared(zero, [{"params": [weight], "lr": 1.0}], inner.defaults)
    assert shared.state.get(weight, {}) == {} and shared.state.get(frozen, {}) == {}
    flat.grad = torch.arange(8.0)
    shared.param_groups[0]["lr"] = 0.25
    shared.step()
    assert inner.param_groups[0]["lr"] == 0.25 and zero.steps == 1
    assert torch.equal(shared.state[weight]["exp_avg"], 0.1 * torch.arange(6.0).reshape(2, 3))
    assert shared.state[weight]["step"] == 1 and shared.state_dict()["param_groups"][0]["lr"] == 0.25


def test_torch_stays_unimported_until_a_run_needs_the_engine() -> None:
    code = "import sys, vidgen_colossalai; sys.exit('torch' in sys.modules or 'colossalai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
