"""What is asked of Hugging Face: what is needed, and nothing else of a repository."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub.utils import filter_repo_objects
from vidgen.errors import RunError, UserError
from vidgen.weights import find_weights, hub, is_hub_id, local_folder, read_config

PIPELINE = [
    "model_index.json",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.bin",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json",
    "text_encoder/model-00001-of-00002.safetensors",
    "text_encoder/model-00002-of-00002.safetensors",
    "text_encoder/model.safetensors.index.json",
    "text_encoder/old/model.safetensors",
]


class Hub:
    """Stands in for the network: `remote` is the repository, `cache` what was downloaded of it."""

    def __init__(self, folder: Path) -> None:
        self.remote, self.cache = folder / "remote", folder / "cache"
        self.revisions: list[str | None] = []

    def put(self, *names: str) -> None:
        for name in names:
            (self.remote / name).parent.mkdir(parents=True, exist_ok=True)
            (self.remote / name).write_text("{}")

    def snapshot_download(
        self, repository: str, *, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> str:
        assert repository == "tiny-org/tiny"
        self.revisions.append(revision)
        self.cache.mkdir(exist_ok=True)
        there = [path.relative_to(self.remote).as_posix() for path in self.remote.rglob("*") if path.is_file()]
        for name in filter_repo_objects(there, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
            (self.cache / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.remote / name, self.cache / name)
        return str(self.cache)

    def downloaded(self) -> set[str]:
        return {path.relative_to(self.cache).as_posix() for path in self.cache.rglob("*") if path.is_file()}


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", made.snapshot_download)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.mark.parametrize("subfolder", ["vae", "vae/", "./vae"])
def test_of_a_pipeline_one_folder_is_downloaded_in_one_format(remote: Hub, subfolder: str):
    remote.put(*PIPELINE)
    folder = local_folder("tiny-org/tiny@1b2c", subfolder)
    assert folder == remote.cache / "vae"
    assert remote.downloaded() == {"vae/config.json", "vae/diffusion_pytorch_model.safetensors"}
    assert set(remote.revisions) == {"1b2c"}
    assert find_weights(folder) == folder / "diffusion_pytorch_model.safetensors"


def test_all_shards_are_downloaded_but_no_folder_below(remote: Hub):
    remote.put(*PIPELINE)
    local_folder("tiny-org/tiny", "text_encoder")
    wanted = {name for name in PIPELINE if name.startswith("text_encoder/") and "/old/" not in name}
    assert remote.downloaded() == wanted


def test_without_weights_the_configuration_alone_is_downloaded(remote: Hub):
    remote.put(*PIPELINE)
    assert local_folder("tiny-org/tiny", "vae", weighted=False) == remote.cache / "vae"
    assert remote.downloaded() == {"vae/config.json"}


def test_a_configuration_is_read_without_the_weights_beside_it(remote: Hub):
    remote.put("config.json", "model.safetensors")
    assert read_config("tiny-org/tiny") == {}
    assert remote.downloaded() == {"config.json"}


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["pytorch_model.bin", "other/model.safetensors"], "pytorch_model.bin"),
        (["PixArt-XL-2-512x512.pth"], "PixArt-XL-2-512x512.pth"),
        (
            ["a/epoch1-global_step2/model/model.safetensors", "a/epoch1-global_step2/optimizer/optimizer.safetensors"],
            "a/epoch1-global_step2/model/model.safetensors",
        ),
    ],
)
def test_weights_are_found_under_other_names_and_in_checkpoints(remote: Hub, there: list[str], taken: str):
    remote.put(*there)
    hub.download("tiny-org/tiny")
    assert remote.downloaded() == {taken}


def test_a_repository_without_weights_is_told_with_what_was_looked_for(remote: Hub):
    remote.put("config.json", "unet/diffusion_pytorch_model.safetensors")
    with pytest.raises(RunError, match=r"^tiny-org/tiny on Hugging Face holds no weights at its top: looked for model"):
        hub.download("tiny-org/tiny")
    with pytest.raises(RunError, match=r"holds no weights in its folder 'vae': looked for model, .* need a subfolder"):
        hub.download("tiny-org/tiny", subfolder="vae")
    assert not {name for name in remote.downloaded() if name.startswith("unet")}


def test_a_folder_that_a_repository_lacks_is_told(remote: Hub):
    remote.put(*PIPELINE)
    with pytest.raises(UserError, match=r"^tiny-org/tiny has no folder 'vea' \(looked for .*/vea; folders there: none"):
        local_folder("tiny-org/tiny", "vea", weighted=False)


def test_a_cache_that_lacks_the_weights_is_told_when_offline(remote: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    remote.put("vae/config.json")
    with pytest.raises(
        UserError,
        match=r"^tiny-org/tiny is in the cache \(.*\), but without weights in its folder 'vae': looked for model, .*"
        r"HF_HUB_OFFLINE is set, so nothing else was asked; run once where the id can be reached\.$",
    ):
        hub.download("tiny-org/tiny", subfolder="vae")


def test_what_went_wrong_on_the_way_is_told(remote: Hub, monkeypatch: pytest.MonkeyPatch):
    def refuse(repository: str, **asked: object) -> str:
        raise OSError("404: no such repository\nand much else")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(UserError, match=r"^'tiny-org/tiny' is no path here, .*\(404: no such repository; only the"):
        hub.download("tiny-org/tiny")


def test_an_id_is_no_path_that_is_here(remote: Hub):
    assert is_hub_id("tiny-org/tiny") and is_hub_id("tiny-org/tiny@refs/pr/1")
    Path("tiny-org").mkdir()
    assert not any(map(is_hub_id, ("tiny-org/tiny", "a/b/c", "./a/b", "weights/a.pth", "alone")))
