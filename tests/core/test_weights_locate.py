"""Where weights are found: files, folders, runs, checkpoints, Hugging Face ids."""

from pathlib import Path

import pytest
from vidgen.errors import RunError, UserError
from vidgen.weights import find_weights, read_config


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
    with pytest.raises(
        UserError, match=r"^no weights in .*/run: looked for model, .* and for a checkpoint's model/, ema/ or ema\.pt$"
    ):
        find_weights(run)


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.safetensors.index.json",
        "pytorch_model.bin.index.json",
        "PixArt-XL-2-512x512.pth",
    ],
)
def test_weights_are_found_in_a_folder_of_their_own(tmp_path: Path, name: str):
    (tmp_path / name).touch()
    assert find_weights(tmp_path) == tmp_path / name
    assert find_weights(tmp_path / name) == tmp_path / name


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.safetensors").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_weights("~/a.safetensors") == tmp_path / "a.safetensors"


def test_where_nothing_is_nothing_is_found(tmp_path: Path):
    with pytest.raises(UserError, match=r"^no weights at nowhere: no such file or folder, and no Hugging Face id"):
        find_weights(Path("nowhere"))
    with pytest.raises(UserError, match=r"^no weights in "):
        find_weights(tmp_path)


def test_safetensors_go_before_files_of_torch(tmp_path: Path):
    for name in ("model.safetensors", "pytorch_model.bin"):
        (tmp_path / name).touch()
    assert find_weights(tmp_path) == tmp_path / "model.safetensors"


def test_of_several_files_of_unknown_names_none_is_guessed(tmp_path: Path):
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"holds several files of weights: a\.pth, b\.pth: name one of them"):
        find_weights(tmp_path)


def test_open_soras_checkpoints_are_read_by_shards_or_averaged(tmp_path: Path):
    """Its folders hold ema.pt and ColossalAI's shards with an index; the newest is taken from a folder of them."""
    for step in (5, 20):
        model = tmp_path / f"epoch1-global_step{step}" / "model"
        model.mkdir(parents=True)
        (model / "pytorch_model.bin.index.json").touch()
    newest = tmp_path / "epoch1-global_step20"
    assert find_weights(newest) == find_weights(tmp_path) == newest / "model/pytorch_model.bin.index.json"
    (newest / "ema.pt").touch()
    assert find_weights(newest) == newest / "ema.pt"
    assert find_weights(newest, ema=False) == newest / "model/pytorch_model.bin.index.json"


# the configuration beside them


def test_the_configuration_of_a_folder_is_read(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"depth": 3}')
    assert read_config(tmp_path) == {"depth": 3}


def test_a_file_or_folder_without_configuration_has_none(tmp_path: Path):
    (tmp_path / "a.pt").touch()
    assert read_config(tmp_path) == read_config(tmp_path / "a.pt") == {}


def test_a_damaged_configuration_is_told(tmp_path: Path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json is damaged"):
        read_config(tmp_path)


# Hugging Face ids


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with `tiny-org/tiny` in it, and no network."""
    home = tmp_path / "cache"
    snapshot = home / "models--tiny-org--tiny" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    (snapshot / "config.json").write_text('{"depth": 3}')
    refs = home / "models--tiny-org--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return snapshot


def test_an_id_is_taken_from_the_cache_when_offline(hub_cache: Path):
    assert find_weights("tiny-org/tiny") == hub_cache / "model.safetensors"
    assert find_weights(f"tiny-org/tiny@{'a' * 40}") == hub_cache / "model.safetensors"
    assert read_config("tiny-org/tiny") == {"depth": 3}


def test_an_id_that_is_not_in_the_cache_is_told_with_where_was_looked(hub_cache: Path):
    with pytest.raises(
        UserError, match=r"'tiny-org/other' is no path here, .*HF_HUB_OFFLINE is set, so only the cache"
    ):
        find_weights("tiny-org/other")


def test_a_folder_here_goes_before_an_id_unless_forced(hub_cache: Path, tmp_path: Path):
    (tmp_path / "tiny-org/tiny").mkdir(parents=True)
    (tmp_path / "tiny-org/tiny/model.safetensors").touch()
    assert find_weights("tiny-org/tiny") == Path("tiny-org/tiny/model.safetensors")
    assert find_weights("tiny-org/tiny", hub_id=True) == hub_cache / "model.safetensors"


def test_a_mistyped_path_is_no_id(hub_cache: Path, tmp_path: Path):
    """`outputs/quickstrat` beside a folder `outputs` must not be asked of the network."""
    (tmp_path / "outputs").mkdir()
    with pytest.raises(UserError, match=r"no such file or folder; taken for a path .* there is a folder outputs here$"):
        find_weights("outputs/quickstrat")


def test_what_cannot_be_an_id_is_not_asked_for(hub_cache: Path):
    for name in ("/no/such", "a/b/c", "./a/b", "weights/a.pth"):
        with pytest.raises(UserError, match="no such file or folder"):
            find_weights(name)
    with pytest.raises(UserError, match="is no path here and no Hugging Face id"):
        find_weights("not an id", hub_id=True)
