"""Weights into modules: strictly, with a report, and without a second copy."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from vidgen.errors import UserError
from vidgen.weights import Converted, State, load_into, read_state


def linear(seed: int = 0) -> nn.Linear:
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        for value in layer.parameters():
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(seed)))
    return layer


def same(module: nn.Module, state: dict[str, Tensor]) -> bool:
    own = module.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], state[name]) for name in own)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    save_file(linear(seed=1).state_dict(), path)
    return path


def test_weights_are_loaded_and_counted(saved: Path):
    module = linear()
    report = load_into(module, str(saved))
    assert same(module, read_state(saved))
    assert str(report) == f"weights: 2 of 2 entries from {saved}"


def test_entries_that_may_be_missing_keep_their_values(tmp_path: Path):
    module = nn.Sequential(linear(), linear(seed=5))
    save_file({"0.weight": torch.ones(2, 3), "0.bias": torch.ones(2)}, tmp_path / "a.safetensors")
    report = load_into(module, tmp_path / "a.safetensors", allow_partial=["1.*"])
    assert torch.equal(module[0].weight, torch.ones(2, 3)) and torch.equal(module[1].weight, linear(seed=5).weight)
    assert (report.loaded, report.expected, report.fresh) == (2, 4, ("1.weight", "1.bias"))
    assert str(report).endswith("2 of 4 entries from " + str(report.path) + "; 2 keep their start values (* x2)")


def renamed(state: State) -> Converted:
    return Converted(
        state={"weight": state["w"], "table": state["b"]},
        layout="an older model",
        fresh=("bias",),
        dropped=("table",),
        notes=("w: renamed",),
    )


def test_published_layouts_are_converted(tmp_path: Path):
    save_file({"w": torch.ones(2, 3), "b": torch.zeros(2)}, tmp_path / "a.safetensors")
    module = linear()
    report = load_into(module, tmp_path / "a.safetensors", convert=renamed)
    assert torch.equal(module.weight, torch.ones(2, 3)) and torch.equal(module.bias, linear().bias)
    assert str(report) == (
        f"weights: 1 of 2 entries from {tmp_path}/a.safetensors; converted from an older model; "
        "1 keep their start values (bias); 1 of the file not used (table); w: renamed"
    )


def test_weights_take_the_modules_dtype(saved: Path):
    module = linear().to(torch.float64)
    load_into(module, saved)
    assert module.weight.dtype == torch.float64
    torch.testing.assert_close(module.weight, read_state(saved)["weight"].double())


def test_weights_of_another_model_are_told_by_their_first_differences(tmp_path: Path):
    state = {f"blocks.{n}.weight": torch.zeros(1) for n in range(7)} | {"weight": torch.zeros(2, 4)}
    save_file(state, tmp_path / "a.safetensors")
    module = linear(seed=3)
    with pytest.raises(UserError) as caught:
        load_into(module, tmp_path / "a.safetensors")
    assert str(caught.value) == (
        f"{tmp_path}/a.safetensors holds weights of another model than Linear:\n"
        "    not in the file (1): bias\n"
        "    not in the model (7): blocks.0.weight, blocks.1.weight, blocks.2.weight, blocks.3.weight, "
        "blocks.4.weight and 2 more\n"
        "    differ (1): weight: (2, 4) in the file, (2, 3) in the model"
    )
    assert same(module, linear(seed=3).state_dict())  # untouched


def test_a_partial_loading_takes_what_fits_by_name_and_shape(tmp_path: Path):
    save_file({"weight": torch.ones(2, 4), "bias": torch.ones(2), "more": torch.ones(1)}, tmp_path / "a.safetensors")
    module = linear()
    report = load_into(module, tmp_path / "a.safetensors", allow_partial=["*"])
    assert torch.equal(module.weight, linear().weight) and torch.equal(module.bias, torch.ones(2))
    assert (report.loaded, report.fresh, report.unused) == (1, ("weight",), ("more",))


def test_only_what_a_pattern_names_may_be_partial(tmp_path: Path):
    save_file({"weight": torch.ones(2, 4), "more": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"differ \(1\): weight: \(2, 4\)") as caught:
        load_into(linear(), tmp_path / "a.safetensors", allow_partial=["bias", "m*"])
    assert "not in the" not in str(caught.value)


def test_families_of_entries_are_reported_once(tmp_path: Path):
    module = nn.ModuleDict({"blocks": nn.ModuleList(linear() for _ in range(3)), "out": linear()})
    save_file({"out.weight": torch.zeros(2, 3)}, tmp_path / "a.safetensors")
    report = load_into(module, tmp_path / "a.safetensors", allow_partial=["*"])
    assert "7 keep their start values (blocks.* x6, out)" in str(report)


# without memory of its own


def on_meta() -> nn.Linear:
    with torch.device("meta"):
        return nn.Linear(3, 2).requires_grad_(False)


def test_a_module_without_memory_is_given_the_files(saved: Path):
    module = on_meta()
    load_into(module, saved)
    assert same(module, read_state(saved)) and not module.weight.requires_grad


def test_entries_that_are_not_loaded_stay_without_memory(tmp_path: Path):
    save_file({"weight": torch.ones(2, 3)}, tmp_path / "a.safetensors")
    module = on_meta()
    report = load_into(module, tmp_path / "a.safetensors", allow_partial=["bias"])
    assert module.bias.is_meta and not module.weight.is_meta and report.fresh == ("bias",)


def test_a_module_without_memory_keeps_its_dtype(saved: Path):
    module = on_meta().to(torch.bfloat16)
    load_into(module, saved)
    assert module.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_training_what_was_loaded_leaves_the_file_as_it_was(tmp_path: Path, suffix: str):
    """The weights lie in the file, mapped; what is written to them must stay in memory."""
    path = tmp_path / f"a{suffix}"
    save_file(linear(1).state_dict(), path) if suffix == ".safetensors" else torch.save(linear(1).state_dict(), path)
    module = on_meta()
    load_into(module, path)
    module.weight.zero_()
    assert same(linear(1), read_state(path))


MEASURE = """
import sys, torch
from torch import nn
from vidgen import weights

def held():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["RssAnon"].split()[0])

with torch.device("meta"):
    module = nn.Sequential(*(nn.Linear(1000, 1000, bias=False) for _ in range(30)))
before = held()
weights.load_into(module, sys.argv[1])
print(held() - before, sum(float(one.weight[0, 0]) for one in module))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_loading_needs_no_second_copy(tmp_path: Path, suffix: str):
    """120 MB of weights; what loading adds to the memory of the process is a small part of them."""
    state = {f"{number}.weight": torch.full((1000, 1000), float(number)) for number in range(30)}
    path = tmp_path / f"a{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    added, total = done.stdout.split()
    assert float(total) == sum(range(30))
    assert int(added) < 12_000  # kB: a tenth
