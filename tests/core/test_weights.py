"""Weight files: what is read, what is refused, and how it is told."""

import json
import os
import pickle
import random
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from vidgen.errors import RunError, UserError, VidgenError
from vidgen.weights import fingerprint, read_state

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


@pytest.mark.parametrize("name", ["a.npz", "a", "a.json"])
def test_an_unknown_kind_of_file_is_refused_by_its_name(tmp_path: Path, name: str):
    (tmp_path / name).touch()
    with pytest.raises(UserError) as caught:
        read_state(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path}/{name}: weights are read from .safetensors, .pt, .pth, .bin, .ckpt, not {Path(name).suffix!r}"
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


def test_averaged_weights_are_taken_from_a_trainers_file_with_its_arguments(tmp_path: Path):
    """So facebook's DiT saves them; reading a namespace runs nothing."""
    content = {"model": linear(1).state_dict(), "ema": linear(2).state_dict(), "args": Namespace(lr=1e-4)}
    torch.save(content, tmp_path / "a.pt")
    assert same(linear(2), read_state(tmp_path / "a.pt"))


def test_names_lose_the_prefix_of_a_data_parallel_wrapper(tmp_path: Path):
    torch.save({f"module.{name}": value for name, value in linear().state_dict().items()}, tmp_path / "a.pt")
    assert same(linear(), read_state(tmp_path / "a.pt"))


# several files with an index


@pytest.fixture(params=[".safetensors", ".bin"])
def index(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """`weight` and `bias` in a file each."""
    homes = {}
    for number, (name, value) in enumerate(linear().state_dict().items()):
        homes[name] = f"model-{number}{request.param}"
        one = {name: value}
        save_file(one, tmp_path / homes[name]) if request.param == ".safetensors" else torch.save(
            one, tmp_path / homes[name]
        )
    path = tmp_path / f"model{request.param}.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 32}, "weight_map": homes}))
    return path


def test_a_sharded_checkpoint_is_read_through_its_index(index: Path):
    assert same(linear(), read_state(index))


def test_a_lacking_shard_is_named(index: Path):
    shard = next(index.parent.glob("model-1*"))
    shard.unlink()
    with pytest.raises(RunError, match=rf"names files that are not there: {shard.name}\. Copy the whole folder"):
        read_state(index)


def test_an_entry_that_no_shard_holds_is_named(index: Path):
    homes = json.loads(index.read_text())
    homes["weight_map"]["scale"] = homes["weight_map"]["bias"]
    index.write_text(json.dumps(homes))
    with pytest.raises(RunError, match="names entries that its files lack: scale"):
        read_state(index)


def test_an_index_leads_to_no_file_outside_its_folder(index: Path):
    homes = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": {name: f"../elsewhere/{home}" for name, home in homes.items()}}))
    assert same(linear(), read_state(index))  # those beside it


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}'])
def test_a_damaged_index_is_told(tmp_path: Path, text: str):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(RunError, match=r"model\.safetensors\.index\.json is damaged: no `weight_map`"):
        read_state(tmp_path / "model.safetensors.index.json")


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


def test_settings_that_are_no_weights_have_a_name_of_their_own() -> None:
    """The same weights with other groups, or another scale, make other features."""
    from vidgen.weights import fingerprint, structure

    one, same, other = (torch.nn.Sequential(torch.nn.GroupNorm(groups, 4)) for groups in (2, 2, 4))
    assert structure(one) == structure(same) != structure(other)
    assert fingerprint(one) == fingerprint(other)
    same.scale = 0.5
    assert structure(one) != structure(same)
    one.eval()
    assert structure(one) == structure(torch.nn.Sequential(torch.nn.GroupNorm(2, 4)))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [4, 5])
def test_a_pickle_that_cannot_be_looked_through_is_refused_as_such(tmp_path: Path, protocol: int):
    torch.save({"a": torch.zeros(2)}, tmp_path / "a.pt", pickle_protocol=protocol)
    with pytest.raises(UserError, match="is a pickle of protocol 4 or 5"):
        read_state(tmp_path / "a.pt")
