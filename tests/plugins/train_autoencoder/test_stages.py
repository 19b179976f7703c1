"""The published stages, one after the other, as small as can be: what each trains and learns from."""

import csv
from pathlib import Path

import pytest
import torch
import vidgen
import yaml
from tiny_run import tensors_of

RECIPES = Path(__file__).parents[3] / "recipes" / "autoencoder"
SPATIAL = {
    "block_out_channels": [4, 4],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 1,
    "norm_num_groups": 2,
}
TINY = [
    "dataset={type: moving-shapes, rows: 4}",
    f"vae.vae_2d={yaml.safe_dump({'config': SPATIAL}, default_flow_style=True)}",
    "vae.vae_temporal={filters: 4, num_res_blocks: 1, channel_multipliers: [1, 1, 1, 1], num_groups: 2}",
    "image_size=[16, 24]",
    "max_steps=3",
    "num_workers=0",
    "log.every=1",
    "checkpoint.every=1",
    "trackers=[{type: csv}]",
    "evaluate.clips=1",
]
NO_LPIPS = ["perceptual_loss_weight=0.0", "perceptual_weights=[]"]


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders of all three, each begun with the weights of the one before."""
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    Path("clips/meta.csv").write_text("path,text\n")
    for stage, more in ((1, ["num_frames=5"]), (2, ["num_frames=5"]), (3, NO_LPIPS)):
        vidgen.run(vidgen.load_recipe(RECIPES / f"stage{stage}.yaml", [*TINY, *more]))
    return [tmp_path / "outputs" / f"stage{stage}" for stage in (1, 2, 3)]


def told(outputs: Path) -> list[str]:
    """Names of the logged losses."""
    with (outputs / "metrics.csv").open(newline="") as file:
        names = next(csv.reader(file))
    return names[names.index("loss") + 1 : names.index("l1")]


def trained(outputs: Path) -> set[str]:
    """Parts whose weights moved between the first step and the last."""
    first, last = tensors_of(outputs, 1), tensors_of(outputs, 3)
    moved = [name for name in first if name.startswith("model/") and not torch.equal(first[name], last[name])]
    return {name.removeprefix("model/").split(".")[0] for name in moved}


def test_each_stage_trains_and_learns_from_what_was_published(stages: list[Path]) -> None:
    assert [told(outputs) for outputs in stages] == [["latents", "identity"], ["latents"], ["pixels", "kl"]]
    both = {"spatial_vae", "temporal_vae"}
    assert [trained(outputs) for outputs in stages] == [{"temporal_vae"}, both, both]
    log = (stages[1] / "log.txt").read_text()
    assert "entries from outputs/stage1/checkpoints/" in log


def test_the_published_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    Path("clips/meta.csv").write_text("path,text\n")
    options = [vidgen.load_recipe(RECIPES / f"stage{stage}.yaml").job.options for stage in (1, 2, 3)]
    assert [one.max_steps for one in options] == [380_000, 260_000, 540_000]
    assert [one.num_frames for one in options] == [17, 17, 33]
    assert [one.vae.options.freeze_vae_2d for one in options] == [True, False, False]
    assert [one.mixed_strategy for one in options] == ["mixed_video_image"] * 2 + ["mixed_video_random"]
    assert [one.mixed_image_ratio for one in options] == [0.2, 0.2, 0.0]
    for one in options:
        assert (one.optimizer.lr, one.optimizer.weight_decay, one.optimizer.grad_clip) == (1e-5, 0.0, 1.0)
        assert (one.dtype, one.batch_size, one.image_size, one.discriminator) == ("bf16", 1, (256, 256), None)
        assert (one.vae.options.micro_frame_size, one.vae.options.scale, one.vae.options.shift) == (None, 1.0, 0.0)
        assert one.kl_loss_weight == 1e-6
    assert options[2].perceptual_loss_weight == 0.1
