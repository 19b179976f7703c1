"""Real clips, listed as for Open-Sora-Plan."""

import numpy as np
import pytest
import torch
import vidgen
from vidgen.interfaces import Context
from vidgen_opensora_plan_data import GroupedOptions, OpenSoraPlanDataOptions, grouped
from vidgen_opensora_plan_data.dataset import build

ENDINGS = [".mp4", ".mkv", ".avi"]

RECIPE = """
job: train
max_steps: 2
batch_size: 2
num_frames: 29
outputs: out
dataset:
  type: OpenSoraPlanData
  data: {data}
  {sizes}
  video_endings: [.mp4, .mkv, .avi]
  total_batch_size: 0
  train_fps: 16.0
  speed_factor: 1.25
bucketer: {{type: grouped, group_data: true}}
vae: {{type: pixel, patch: [1, 4, 4]}}
text_encoder: {{type: hashed-words, width: 7}}
model: {{type: STDiT3, hidden_size: 24, depth: 1, num_heads: 2, patch_size: [1, 2, 2]}}
scheduler: {{type: rflow}}
"""


def test_every_row_is_read_at_its_own_shape(clips):
    options = OpenSoraPlanDataOptions(
        data=clips / "data.txt",
        num_frames=45,
        max_hxw=16384,
        hw_stride=16,
        speed_factor=1.25,
        video_endings=ENDINGS,
        total_batch_size=0,
    )
    dataset = build(options, Context())
    table = dataset.table
    assert table.column("num_frames").to_pylist() == [45, 45, 45, 45, 1]  # the longest clip is too long
    plan = grouped.build(GroupedOptions(), Context(batch_size=1)).plan(table, 0, 1)
    for request in (request for batch in plan for request in batch):
        sample = dataset.get(request.row, request.num_frames, request.size, np.random.default_rng(0))
        assert sample.video.shape == (3, request.num_frames, *request.size)
        assert sample.video.float().std() > 10
        assert sample.fps == (0 if request.num_frames == 1 else pytest.approx(24 / 1.25))


@pytest.mark.parametrize(
    "sizes",
    [
        "force_resolution: true\n  max_height: 16\n  max_width: 24",
        "drop_short_ratio: 0\n  max_hxw: 1024\n  min_hxw: 64\n  hw_stride: 8",
    ],
    ids=["one size", "sizes by area"],
)
def test_a_model_is_trained_on_them(clips, tmp_path, monkeypatch, sizes):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    (tmp_path / "tiny.yaml").write_text(RECIPE.format(data=clips / "data.txt", sizes=sizes))
    vidgen.run(vidgen.load_recipe("tiny.yaml"))
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["epoch0-global_step2"]
