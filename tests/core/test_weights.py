"""Weights from files: what is read, what is refused, and how it is told."""

import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from vidgen.errors import RunError, UserError, VidgenError
from vidgen.weights import Report, find_weights, fingerprint, load_into, read_state

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


def linear(seed: int = 0) -> nn.Linear:
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        for value in layer.parameters():
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(seed)))
    return layer


def same(module: nn.Module, state: dict[str, Tensor]) -> bool:
    own = module.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[name], state[name]) for name in own)


class Evil:
    """Unpickled with Python's own loader, this would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


# one file


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".bin"])
def test_a_state_dict_is_read_from_any_of_the_usual_files(tmp_path: Path, suffix: str):
    path = tmp_path / f"a{suffix}"
    save_file(linear().state_dict(), path) if suffix == ".safetensors" else torch.save(linear().state_dict(), path)
    assert same(linear(), read_state(path))


def test_files_of_old_torch_are_read(tmp_path: Path):
    """Before 1.6 they were no zip archives; published weights of that time are still around."""
    torch.save(linear().state_dict(), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert same(linear(), read_state(tmp_path / "a.pt"))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {"epoch": 1}, "ema": state},
        lambda state: {"state_dict": {"model": state}},
        lambda state: {"step": 3, "model": state},
    ],
)
def test_a_state_dict_is_found_in_its_usual_wrappings(tmp_path: Path, wrap: Callable[[Any], Any]):
    torch.save(wrap(linear().state_dict()), tmp_path / "a.pt")
    assert same(linear(), read_state(tmp_path / "a.pt"))


def _within_itself() -> dict[str, Any]:
    loop: dict[str, Any] = {"step": 3}
    loop["model"] = loop
    return loop


@pytest.mark.parametrize("content", [{}, [], {"epoch": 3}, torch.zeros(2), {"model": {"a": 3}}, _within_itself()])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: Any):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError) as caught:
        read_state(tmp_path / "a.pt")
    assert str(caught.value) == f"{tmp_path}/a.pt holds no state dict (a mapping of names to tensors)"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path, zipped: bool, wrapped: bool):
    """The reference unpickled whatever it was given."""
    evil = Evil(tmp_path / "was here")
    content = {**linear().state_dict(), "extra": evil} if wrapped else evil
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError) as caught:
        read_state(tmp_path / "a.pt")
    assert str(caught.value) == (
        f"{tmp_path}/a.pt holds more than weights: reading it would run code, so it is refused. Save its state dict as "
        ".safetensors with the program that made it."
    )
    assert not (tmp_path / "was here").exists()


def test_a_whole_pickled_module_is_refused(tmp_path: Path):
    torch.save(linear(), tmp_path / "a.pt")
    with pytest.raises(UserError, match="holds more than weights"):
        read_state(tmp_path / "a.pt")


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_bare_pickle_runs_nothing_and_no_advice_to_trust_it_is_passed_on(tmp_path: Path, protocol: int):
    (tmp_path / "a.pt").write_bytes(pickle.dumps(Evil(tmp_path / "was here"), protocol))
    with pytest.raises(VidgenError) as caught:
        read_state(tmp_path / "a.pt")
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize("name", ["a.ckpt", "a.npz", "a", "a.safetensors.index.json"])
def test_an_unknown_kind_of_file_is_refused_by_its_name(tmp_path: Path, name: str):
    (tmp_path / name).touch()
    with pytest.raises(UserError) as caught:
        read_state(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path}/{name}: weights are read from .safetensors, .pt, .pth, .bin, not {Path(name).suffix!r}"
    )


@pytest.mark.parametrize("kind", ["safetensors", "zip", "old"])
def test_a_file_cut_short_is_told_as_damaged(tmp_path: Path, kind: str):
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt")
    if kind == "safetensors":
        save_file(linear().state_dict(), path)
    else:
        torch.save(linear().state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(RunError) as caught:
            read_state(path)
        assert str(caught.value).startswith(f"{path} is damaged or cut short (")
        assert str(caught.value).endswith("). Copy it again, or use another checkpoint.")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "old"])
def test_no_damage_makes_reading_fail_in_any_other_way(tmp_path: Path, kind: str):
    """Bytes flipped by a fixed generator; a file that is still whole enough may be read."""
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt")
    if kind == "safetensors":
        save_file(linear().state_dict(), path)
    else:
        torch.save(linear().state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    whole, generator, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(100):
        damaged = bytearray(whole)
        for _ in range(5):
            damaged[generator.randrange(len(whole))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            read_state(path)
        except VidgenError:
            refused += 1
    assert refused > 10


def test_a_folder_or_a_missing_file_is_told_as_unreadable(tmp_path: Path):
    with pytest.raises(RunError, match=r"a\.pt cannot be read: .*No such file"):
        read_state(tmp_path / "a.pt")


# into a module


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
    report = load_into(module, tmp_path / "a.safetensors", allow_missing=["1.*"])
    assert torch.equal(module[0].weight, torch.ones(2, 3)) and torch.equal(module[1].weight, linear(seed=5).weight)
    assert report == Report(tmp_path / "a.safetensors", 2, 4, ("1.weight", "1.bias"))
    assert str(report).endswith("; 2 keep their initial values")


def test_published_layouts_are_converted(tmp_path: Path):
    save_file({"w": torch.ones(2, 3), "b": torch.zeros(2)}, tmp_path / "a.safetensors")
    module = linear()
    load_into(module, tmp_path / "a.safetensors", convert=lambda state: {"weight": state["w"], "bias": state["b"]})
    assert torch.equal(module.weight, torch.ones(2, 3))


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


# where they are


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for kind in ("model", "ema"):
        folder = tmp_path / "run/checkpoints/epoch0-global_step3" / kind
        folder.mkdir(parents=True)
        (folder / "model.safetensors").touch()
    return tmp_path / "run"


def test_weights_are_found_in_runs_and_checkpoints_averaged_first(run: Path):
    checkpoint = run / "checkpoints/epoch0-global_step3"
    for path in (run, checkpoint):
        assert find_weights(path) == checkpoint / "ema/model.safetensors"
        assert find_weights(path, ema=False) == checkpoint / "model/model.safetensors"
    (checkpoint / "ema/model.safetensors").unlink()
    assert find_weights(run) == checkpoint / "model/model.safetensors"
    (checkpoint / "model/model.safetensors").unlink()
    with pytest.raises(UserError, match=r"^no weights in .*/run: looked for model\.safetensors and for a checkpoint's"):
        find_weights(run)


@pytest.mark.parametrize("name", ["model.safetensors", "diffusion_pytorch_model.safetensors"])
def test_weights_are_found_in_a_folder_of_their_own(tmp_path: Path, name: str):
    (tmp_path / name).touch()
    assert find_weights(tmp_path) == tmp_path / name
    assert find_weights(tmp_path / name) == tmp_path / name


def test_a_home_folder_is_expanded(saved: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(saved.parent))
    assert load_into(linear(), "~/a.safetensors").path == saved


def test_where_nothing_is_nothing_is_found(tmp_path: Path):
    with pytest.raises(UserError, match=r"^no weights at nowhere: no such file or folder$"):
        find_weights(Path("nowhere"))
    with pytest.raises(UserError, match=r"^no checkpoint in "):
        find_weights(tmp_path)


# fingerprints


class Odd(nn.Module):
    """Buffers of every awkward kind: empty, one number, transposed, half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("empty", torch.zeros(0, 3))
        self.register_buffer("flag", torch.tensor(True))
        self.register_buffer("turned", torch.arange(6, dtype=torch.bfloat16).view(2, 3).T)
        self.register_buffer("count", torch.tensor([1, 2, 3]))


def test_a_fingerprint_names_values_shapes_and_names():
    assert fingerprint(linear(1)) == fingerprint(linear(1))
    turned = nn.Linear(2, 3)
    turned.weight.data = linear(1).weight.data.reshape(3, 2)
    other = linear(1)
    other.weight.data[1, 2] += 1e-6
    prints = [linear(1), linear(2), other, turned, nn.Sequential(linear(1)), linear(1).double(), Odd()]
    assert len({fingerprint(one) for one in prints}) == len(prints)
    assert len(fingerprint(Odd())) == 12 and fingerprint(Odd()) == fingerprint(Odd())
