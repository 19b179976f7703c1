"""Given frames in whole sampling runs, with every scheduler that is installed: kept ones are kept, loop after loop."""

from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from PIL import Image
from tiny_run import RECIPE, merged
from vidgen.engine import media
from vidgen.registry import Registry

TYPES = [offer.component.name for offer in Registry.discover().offers("scheduler")]
OPTIONS: dict[str, dict[str, Any]] = {
    "iddpm": {"learn_sigma": False},
    "iddpm-speed": {"learn_sigma": False},
    "diffusers/PNDMScheduler": {"config": {"skip_prk_steps": True}},
}
STDIT3 = {"type": "STDiT3", "hidden_size": 24, "depth": 1, "num_heads": 2, "patch_size": [1, 1, 1]}
COLOUR = (200, 40, 90)
STRATEGIES = {
    "begins": "0",
    "ends": "1,0,0,-1",
    "connects": "0;1,0,0,-1",
    "moves": "0,0,0,0,1,0.9",
}
"""Of a sample of two loops of 6 frames that share 2: 10 frames."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning:numpy")
@pytest.mark.parametrize("name", TYPES)
def test_given_frames_are_kept_in_every_loop(name: str, tmp_path: Path) -> None:
    Image.new("RGB", (16, 8), COLOUR).save(tmp_path / "picture.png")
    clips = sampled(tmp_path, {"type": name, "num_sampling_steps": 5, "cfg_scale": 2.0, **OPTIONS.get(name, {})})
    assert {clip.shape for clip in clips.values()} == {(3, 10, 8, 16)}
    kept = {key: [place for place in range(10) if is_picture(clip[:, place])] for key, clip in clips.items()}
    assert kept == {"begins": [0], "ends": [9], "connects": [0, 9], "moves": []}
    assert not torch.equal(clips["moves"], clips["begins"])


def sampled(folder: Path, scheduler: dict[str, Any]) -> dict[str, torch.Tensor]:
    """With a model of start values: what is given is kept by any."""
    parts = {key: RECIPE[key] for key in ("vae", "text_encoder", "image_size")}
    table = folder / "prompts.csv"
    rows = [f'a circle,{key},picture.png,"{strategy}"' for key, strategy in STRATEGIES.items()]
    table.write_text("\n".join(["prompt,name,references,mask_strategy", *rows, ""]))
    recipe = {"job": "sample", **parts, "model": STDIT3, "scheduler": scheduler, "num_frames": 6}
    recipe |= {"prompt_path": str(table), "batch_size": 2, "loop": 2, "condition_frame_length": 2}
    vidgen.run(vidgen.load_recipe(merged(recipe, {"outputs": str(folder / "made"), "trackers": []})))
    return {path.stem: media.read(path) for path in (folder / "made").glob("*.mp4")}


def is_picture(frame: torch.Tensor) -> bool:
    """frame: (3, H, W). Up to what the codec does, and iddpm, whose kept frames join in its last step."""
    error = frame.float() - torch.tensor(COLOUR).view(3, 1, 1)
    return float(error.abs().mean()) < 6
