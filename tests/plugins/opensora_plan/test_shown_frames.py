"""OpenSoraInpaint_v1_3 in whole runs: what it is shown while it is trained, measured and sampled."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from PIL import Image
from tiny_run import RECIPE, assert_same_state, merged
from torch import Tensor
from vidgen import RunError, UserError
from vidgen.engine import media
from vidgen.engine.references import References
from vidgen_opensora_plan.inpaint import OpenSoraInpaint

FRAMES, SIZE = 9, (16, 32)  # 3 latent frames of 2 x 4, 4 video frames in each but the first
WFVAE = {
    "type": "WFVAE",
    "latent_dim": 3,
    "base_channels": 8,
    "encoder_energy_flow_hidden_size": 8,
    "decoder_energy_flow_hidden_size": 8,
    "encoder_num_resblocks": 1,
    "decoder_num_resblocks": 1,
    "norm_type": "layernorm",
}
CHANGES = {
    "model": {
        "type": "OpenSoraInpaint_v1_3",
        "num_layers": 2,
        "num_attention_heads": 1,
        "attention_head_dim": 12,
        "class_dropout_prob": 0.0,
    },
    "vae": WFVAE,
    "scheduler": {"type": "euler-ancestral", "prediction_type": "v_prediction", "num_sampling_steps": 2},
    "num_frames": FRAMES,
    "image_size": list(SIZE),
    "max_steps": 1,
    "frame_masks": {"ratios": {"i2v": 1.0, "transition": 1.0, "t2iv": 1.0}},
}
Run = Callable[..., Path]
Shown = list[tuple[Tensor, Tensor]]


@pytest.fixture
def train(tmp_path: Path) -> Run:
    def run(name: str = "run", **changes: Any) -> Path:
        dotted = {key.replace("__", "."): value for key, value in changes.items()}
        vidgen.run(vidgen.load_recipe(merged({**RECIPE, "outputs": str(tmp_path / name)}, {**CHANGES, **dotted})))
        return tmp_path / name

    return run


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """`masked_video` and `video_mask` of every call of the model, the mask as (B, S, T)."""
    calls: Shown = []
    forward = OpenSoraInpaint.forward

    def recorded(self: OpenSoraInpaint, *given: Any, **conditioning: Any) -> Tensor:
        mask = conditioning["video_mask"]
        assert torch.equal(mask, mask[..., :1, :1].expand_as(mask))
        calls.append((conditioning["masked_video"].detach().clone(), mask[..., 0, 0].clone()))
        return forward(self, *given, **conditioning)

    monkeypatch.setattr(OpenSoraInpaint, "forward", recorded)
    return calls


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (SIZE[1], SIZE[0]), (200, 40, 90)).save(path)
    return path


def frames_of(mask: Tensor) -> list[int]:
    """Video frames that are shown. mask: (S, T) of a clip."""
    return (mask.T.flatten()[3:] == 0).nonzero().flatten().tolist()


def test_training_shows_the_frames_that_are_drawn(train: Run, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    from vidgen.engine.encoding import Encoding

    seen: list[tuple[Tensor, list[Tensor], Tensor]] = []
    original = Encoding.shown

    def kept(self: Encoding, batch: Any, masks: list[Tensor]) -> dict[str, Tensor]:
        told = original(self, batch, masks)
        (group,) = batch.groups
        video = media.to_unit(group.video)
        for row, mask in enumerate(masks):
            video[row][:, mask] = 0
        seen.append((self._encoders.vae.encode(video), masks, told["masked_video"]))
        return told

    monkeypatch.setattr(Encoding, "shown", kept)
    train(max_steps=4)
    kinds = set()
    for (latents, masks, told), (masked_video, video_mask) in zip(seen, shown, strict=True):
        assert torch.equal(told, masked_video)
        torch.testing.assert_close(latents, masked_video, rtol=1e-4, atol=1e-5)
        for mask, of_clip in zip(masks, video_mask, strict=True):
            assert frames_of(of_clip) == (~mask).nonzero().flatten().tolist()
            kinds.add(tuple(frames_of(of_clip)))
    assert kinds == {(), (0,), (0, FRAMES - 1)}


def test_a_resumed_run_shows_the_same(train: Run) -> None:
    whole = train("whole", max_steps=4, checkpoint__every=2)
    halves = train("halves", max_steps=2)
    train("halves", max_steps=4, resume="latest", force=True)
    assert_same_state(whole, halves, 4)


def test_clips_of_several_sizes_are_shown_their_own(train: Run, shown: Shown, tmp_path: Path) -> None:
    for number, (frames, height) in enumerate([(11, 16), (7, 24), (1, 16)]):
        video = torch.randint(0, 255, (3, frames, height, 32), dtype=torch.uint8)
        media.write(tmp_path / "clips" / f"{number}", video, 8.0, {})
    files = sorted((tmp_path / "clips").iterdir(), key=lambda path: path.stem)
    sizes = zip(files, ("11,16", "7,24", "1,16"), strict=True)
    rows = "".join(f"{path.name},a clip,{size},32,8\n" for path, size in sizes)
    (tmp_path / "clips" / "data.csv").write_text(f"path,text,num_frames,height,width,fps\n{rows}")
    train(
        dataset={"type": "VariableVideoText", "data_path": str(tmp_path / "clips" / "data.csv")},
        bucketer={"type": "pad", "num_frames": [9, 5, 1], "max_pixels": 768, "size_multiple": 8},
        num_frames=None,
        image_size=None,
        frame_masks={"ratios": {"clear": 1.0}},
        scheduler__num_sampling_steps=1,
    )
    ((masked_video, video_mask),) = shown
    assert masked_video.shape == (3, 3, 3, 3, 4) and video_mask.shape == (3, 4, 3)
    assert not video_mask.any(), "all is shown"


@pytest.fixture
def sample(train: Run, tmp_path: Path, shown: Shown) -> Callable[..., dict[str, Tensor]]:
    """Sample from a run of one step; the clips by file name."""
    trained = train()
    shown.clear()

    def run(outputs: str = "samples", **changes: Any) -> dict[str, Tensor]:
        recipe = {"job": "sample", "checkpoint": str(trained), "prompts": ["a red circle"], "seed": 5, **changes}
        vidgen.run(vidgen.load_recipe({**recipe, "outputs": str(tmp_path / outputs)}))
        return {path.stem: media.read(path) for path in sorted((tmp_path / outputs).glob("*.*4"))}

    return run


def test_a_picture_is_shown_at_exactly_its_frame_to_both_halves_of_guidance(
    sample: Callable[..., Any], picture: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[Tensor] = []
    encode = References.encode_in_pieces
    monkeypatch.setattr(References, "encode_in_pieces", lambda self, one: encoded.append(one) or encode(self, one))
    sample(conditions=[{"image": str(picture), "at": 0}, {"image": str(picture), "at": -1}])
    clip = torch.zeros(1, 3, FRAMES, *SIZE)
    clip[:, :, [0, -1]] = torch.tensor([200.0, 40, 90]).div(127.5).sub(1).view(1, 3, 1, 1, 1)
    assert len(shown) == 2 and torch.equal(encoded[0], clip)
    for masked_video, video_mask in shown:
        assert [frames_of(one) for one in video_mask] == [[0, FRAMES - 1]] * 2
        assert torch.equal(masked_video[0], masked_video[1])


def test_without_conditions_a_grey_clip_is_shown(sample: Callable[..., Any], shown: Shown) -> None:
    """As in training where nothing is shown; latents of grey are not zero."""
    sample()
    for masked_video, video_mask in shown:
        assert [frames_of(one) for one in video_mask] == [[]] * 2
        assert masked_video.any()


def test_both_forms_count_video_frames(sample: Callable[..., dict[str, Tensor]], tmp_path: Path, shown: Shown) -> None:
    frames = (25 * torch.arange(7)).to(torch.uint8).view(1, 7, 1, 1).expand(3, 7, *SIZE)
    path = str(media.write(tmp_path / "video", frames, 8.0, {}))
    sample("named", conditions=[{"video": path, "frames": "-3..", "at": 2}])
    sample("texts", reference_path=[path], mask_strategy=["0,0,-3,2,3"])
    assert [frames_of(mask[0]) for _, mask in shown] == [[2, 3, 4]] * 4
    assert torch.equal(shown[0][0], shown[2][0])


def test_clips_of_a_long_video_are_shown_the_end_of_the_one_before(
    sample: Callable[..., dict[str, Tensor]], shown: Shown
) -> None:
    made = sample(loop=3, condition_frame_length=3)["sample_0000"]
    assert made.shape[1] == 3 * (FRAMES - 3) + 3
    assert [frames_of(mask[0]) for _, mask in shown] == [[]] * 2 + [[0, 1, 2]] * 4


def test_a_dry_run_draws_video_frames(train: Run, picture: Path) -> None:
    recipe = {"job": "sample", "checkpoint": str(train()), "prompts": ["a red circle"]}
    loaded = vidgen.load_recipe({**recipe, "conditions": [{"image": str(picture), "at": 3}]})
    job = loaded.registry.build(loaded.job, vidgen.interfaces.Context(registry=loaded.registry, recipe=loaded.plain()))
    drawing = job.dry_run()["given frames"]
    assert drawing.startswith("loop 0  ...#.....\n") and "one character a video frame" in drawing


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"conditions": [{"image": "picture.png", "edit": 0.4}]}, "cannot be asked to change them by 0.4"),
        (
            {"loop": 2, "condition_frame_length": 3, "condition_frame_edit": 0.5},
            "cannot be asked to change them by 0.5",
        ),
        ({"loop": 2, "condition_frame_length": 9}, "are all of a clip of 9 video frames"),
        ({"conditions": [{"image": "picture.png", "at": 9}]}, "there is no frame 9 in the clip, which has 9: -9..8"),
        ({"reference_path": ["picture.png"], "mask_strategy": ["0,0,2"]}, "begins at frame 2 of reference 0"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_mistake_in_sampling_is_told(
    sample: Callable[..., Any],
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        sample(**changes)


def test_a_mistake_of_the_last_prompt_is_told_before_the_first_is_made(
    sample: Callable[..., Any], picture: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    for files, strategies, told in (
        (
            [str(picture)] * 2,
            ["0", "0,0,3"],
            "prompt 'b': .*begins at frame 3 of reference 0, which has 1 video frames",
        ),
        ([str(picture), str(broken)], ["0", "0"], "prompt 'b': .*broken.mp4 cannot be read"),
    ):
        with pytest.raises((UserError, RunError), match=told):
            sample(prompts=["a", "b"], reference_path=files, mask_strategy=strategies)
        assert not list(tmp_path.glob("samples/*.mp4"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mask_ratios": {"image_head": 0.5}}, "takes no `x_mask`. Leave mask_ratios out, or say frame_masks instead"),
        ({"model": RECIPE["model"]}, "takes no `video_mask`. Leave frame_masks out, or say mask_ratios instead"),
        ({"model": {**RECIPE["model"], "type": "Latte"}}, "use a model that is, such as OpenSoraInpaint_v1_3"),
        (
            {"features": {"mode": "write-through", "cache": "kept"}},
            "so that their pixels are needed: leave features out",
        ),
        ({"frame_masks": {"ratios": {"i2w": 1.0}}}, "there are no masks called 'i2w'; known: t2iv"),
    ],
    ids=["x_mask", "STDiT", "Latte", "features", "kind"],
)
def test_a_mistake_in_training_is_told(train: Run, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        train(**changes)
