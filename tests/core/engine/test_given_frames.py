"""Sampling with frames given: what is kept is kept, clips that follow each other share their ends, files are whole."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from PIL import Image
from tiny_run import RECIPE, merged
from vidgen import RecipeError, RunError, UserError
from vidgen.engine import media

PROMPT = "a red circle moving left"
STDIT3 = {"type": "STDiT3", "hidden_size": 24, "depth": 1, "num_heads": 2, "patch_size": [1, 1, 1]}
CHANGES = {"model": STDIT3, "num_frames": 6, "max_steps": 1, "vae.patch": [1, 4, 4]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step; what is given is kept by any weights."""
    outputs = tmp_path_factory.mktemp("given") / "run"
    vidgen.run(vidgen.load_recipe(merged({**RECIPE, "outputs": str(outputs)}, CHANGES)))
    return outputs


@pytest.fixture
def sample(trained: Path, tmp_path: Path) -> Callable[..., dict[str, torch.Tensor]]:
    """Sample from the trained run; the clips by file name."""

    def run(outputs: str = "samples", **changes: Any) -> dict[str, torch.Tensor]:
        recipe = {"job": "sample", "checkpoint": str(trained), "prompts": [PROMPT], "seed": 5, **changes}
        vidgen.run(vidgen.load_recipe({**recipe, "outputs": str(tmp_path / outputs)}))
        return {path.stem: media.read(path) for path in sorted((tmp_path / outputs).glob("*.*4"))}

    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (16, 8), (200, 40, 90)).save(path)
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    frames = (40 * torch.arange(6)).to(torch.uint8).view(1, 6, 1, 1).expand(3, 6, 8, 16)
    return media.write(tmp_path / "video", frames, 8.0, {})


def alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Up to the last bit of arithmetic, which may depend on where in memory numbers lie, after the video codec."""
    return int((one.int() - other.int()).abs().max()) <= 4


def greys(clip: torch.Tensor) -> list[float]:
    return [round(value, -1) for value in clip.float().mean(dim=(0, 2, 3)).tolist()]


@pytest.mark.parametrize(
    ("at", "strategy", "frame"), [(0, "0", 0), (-1, "0,0,0,-1", 5), (2, "0,0,0,2,1,0", 2)], ids=str
)
def test_a_picture_stands_where_it_is_put_in_both_forms(
    sample: Callable[..., dict[str, torch.Tensor]], picture: Path, at: int, strategy: str, frame: int
) -> None:
    named = sample("named", conditions=[{"image": str(picture), "at": at}])["sample_0000"]
    texts = sample("texts", reference_path=[str(picture)], mask_strategy=[strategy])["sample_0000"]
    suffix = f'{PROMPT}{{"reference_path": "{picture}", "mask_strategy": "{strategy}"}}'
    behind = sample("suffix", prompts=[suffix])["sample_0000"]
    red = named[0].float().mean(dim=(1, 2))
    assert (red[frame] - 200).abs() < 8 and all((red[i] - 200).abs() > 8 for i in range(6) if i != frame)
    assert alike(named, texts)
    assert (behind[:, frame].float().mean(dim=(1, 2)) - torch.tensor([200.0, 40, 90])).abs().max() < 8


def test_the_end_of_a_video_goes_on(sample: Callable[..., dict[str, torch.Tensor]], video: Path) -> None:
    clip = sample(conditions=[{"video": str(video), "frames": "-2..", "at": 0}])["sample_0000"]
    assert greys(clip)[:2] == [160, 200]


def test_clips_of_a_long_video_share_their_ends(sample: Callable[..., dict[str, torch.Tensor]]) -> None:
    """Length: loops * (frames - shared) + shared. The first clip is the one that is made alone."""
    alone = sample("alone")["sample_0000"]
    long = sample("long", loop=3, condition_frame_length=2)["sample_0000"]
    assert long.shape[1] == 3 * (6 - 2) + 2
    assert alike(long[:, :6], alone)
    other = sample("other", loop=3, condition_frame_length=4)["sample_0000"]
    assert other.shape[1] == 3 * (6 - 4) + 4


def test_a_clip_may_be_given_frames_of_an_earlier_one(sample: Callable[..., dict[str, torch.Tensor]]) -> None:
    """Ends of clips are references behind the prompt's own: loop 2 is given the first frame of the end of clip 0."""
    long = {"loop": 3, "condition_frame_length": 2}
    clip = sample("asked", mask_strategy=["2,0,0,4,1"], **long)["sample_0000"]
    plain = sample("plain", **long)["sample_0000"]
    assert alike(clip[:, 12], clip[:, 4]) and not alike(plain[:, 12], plain[:, 4])


def test_ends_of_clips_take_no_memory_once_they_are_used() -> None:
    from vidgen.conditioning.strategy import Given
    from vidgen.engine.generation import _forget
    from vidgen.engine.given import InPlace

    ends = [torch.full((2, 3, 4, 5), float(number)) for number in range(4)]
    references, emptied = list(ends), partial(InPlace.emptied, None)
    told = [Given(loop=1, reference=1), Given(loop=3, reference=2), Given(loop=3, reference=3)]
    _forget(references, told, 3, own=1, emptied=emptied)
    assert [one.shape for one in references] == [one.shape for one in ends]
    held = [one.untyped_storage().nbytes() for one in references]
    assert held == [480, 4, 480, 480], "the prompt's own, one that is used no more, one that is asked for, the last"
    _forget(references, [Given(loop=3, reference=-2)], 3, own=1, emptied=emptied)
    assert references[2] is ends[2], "what is counted from the end may be any"


def test_every_loop_has_its_text_with_the_scores(trained: Path, tmp_path: Path) -> None:
    from vidgen.engine.tasks import plan

    recipe = {"job": "sample", "checkpoint": str(trained), "prompts": ["|0|a lake|2|a storm"], "loop": 3, "aes": 6.5}
    options = vidgen.load_recipe({**recipe, "camera_motion": "pan left"}).job.options
    (task,) = plan(options, options, tmp_path)
    calm, storm = (f"a {what} aesthetic score: 6.5. camera motion: pan left." for what in ("lake", "storm"))
    assert task.texts == (calm, calm, storm)


def test_prompts_of_a_file_have_sizes_seeds_and_names_of_their_own(
    sample: Callable[..., dict[str, torch.Tensor]], tmp_path: Path, picture: Path
) -> None:
    (tmp_path / "prompts.csv").write_text(
        "prompt,size,num_frames,seed,name,references,mask_strategy\n"
        f'{PROMPT},8x16,6,5,as/usual,"{picture.name}",0\n{PROMPT},16x8,4,6,tall,,\n'
    )
    made = sample(prompts=[], prompt_path=str(tmp_path / "prompts.csv"))
    assert {name: tuple(clip.shape[1:]) for name, clip in made.items()} == {
        next(name for name in made if name.startswith("as_usual~")): (6, 8, 16),
        "tall": (4, 16, 8),
    }


def test_part_of_the_prompts_can_be_made_and_each_is_the_same_as_among_all(
    sample: Callable[..., dict[str, torch.Tensor]],
) -> None:
    prompts = ["a red circle", "a blue square", "a green triangle"]
    everything = sample("all", prompts=prompts)
    part = sample("part", prompts=prompts, start_index=1, end_index=2)
    assert list(part) == ["sample_0001"] and alike(part["sample_0001"], everything["sample_0001"])


def test_files_may_be_called_by_their_prompts(sample: Callable[..., dict[str, torch.Tensor]], tmp_path: Path) -> None:
    made = sample(prompts=["../../a red circle", "a blue square"], prompt_as_path=True)
    assert set(made) == {"a blue square", next(name for name in made if name != "a blue square")}
    assert all((tmp_path / "samples" / f"{name}.mp4").is_file() for name in made)
    with pytest.raises(UserError, match="2 samples would be called 'a blue square': give each prompt once"):
        sample(prompts=["a blue square"] * 2, prompt_as_path=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"mask_strategy": ["0,0,x"], "reference_path": ["p.png"]},
            "mask_strategy: the reference start must be a whole",
        ),
        ({"prompts": ['a cat{"mask_stratgy": "0"}']}, r"there is no key 'mask_stratgy'; did you mean mask_strategy"),
        ({"mask_strategy": ["2"], "reference_path": ["p.png"]}, "is for loop 2, but only 0..0 are sampled"),
        ({"mask_strategy": ["0,3"], "reference_path": ["p.png"]}, "reference 3"),
        (
            {"mask_strategy": ["0,0,0,0,2"], "reference_path": ["p.png"], "mask_strategy_format": "v1.1"},
            "wants 2 latent frames, but from there on reference 0 has 1",
        ),
        ({"sample_name": "x/y"}, "a part of a file's name, without /"),
        ({"reference_path": ["gone.png"], "mask_strategy": ["0"]}, "reference gone.png: no such file"),
        ({"reference_path": ["https://a.example/b.png"]}, "lies on another machine: set allow_download: true"),
        ({"conditions": [{"image": "p.png", "at": 6}]}, "there is no frame 6 in the clip, which has 6: -6..5"),
        ({"reference_path": ["", ""]}, "reference_path: 2 of them, but only 1 prompts"),
        ({"loop": 2, "condition_frame_length": 6}, "are all of a clip of 6 video frames"),
        ({"start_index": 4}, "no prompts: with start_index 4 none of 1 is left"),
        ({"scheduler": {"type": "rflow", "num_sampling_steps": 0}}, "num_sampling_steps"),
        ({"scheduler": {"type": "rflow", "cfg_scale": float("nan")}}, "cfg_scale"),
        ({"num_frames": "4sec"}, "neither a whole number nor one of"),
        ({"prompts": ["|0|a lake|2|a storm"]}, r"prompt 0: prompt: a text is for loop 2, but only 0\.\.0 are sampled"),
        ({"resolution": "241p", "aspect_ratio": "9:16"}, "there is no '241p'"),
        (
            {"image_size": [8, 16], "resolution": "240p", "aspect_ratio": "9:16"},
            "image_size: 8x16 pixels, and resolution says 240p: a sample has one size",
        ),
        ({"resolution": "240p"}, "aspect_ratio: missing"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_mistake_is_told_before_anything_is_made(
    sample: Callable[..., dict[str, torch.Tensor]],
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    changes: dict[str, Any],
    told: str,
) -> None:
    picture.rename(tmp_path / "p.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        sample(**changes)
    assert not list(tmp_path.glob("samples/*.mp4"))


def test_a_model_that_cannot_be_told_is_refused(tmp_path: Path, picture: Path) -> None:
    latte = {**STDIT3, "type": "Latte", "condition": "text"}
    outputs = tmp_path / "latte"
    vidgen.run(vidgen.load_recipe(merged({**RECIPE, "outputs": str(outputs)}, {**CHANGES, "model": latte})))
    recipe = {"job": "sample", "checkpoint": str(outputs), "prompts": [PROMPT], "outputs": str(tmp_path / "made")}
    with pytest.raises(UserError, match="Latte cannot be told which frames are given: it takes no `x_mask`"):
        vidgen.run(vidgen.load_recipe({**recipe, "conditions": [{"image": str(picture)}]}))


def test_a_dry_run_draws_which_frames_are_given(trained: Path, picture: Path, video: Path) -> None:
    conditions = [{"image": str(picture), "at": 0}, {"video": str(video), "frames": "-2..", "at": 3, "edit": 0.4}]
    recipe = {"job": "sample", "checkpoint": str(trained), "prompts": [PROMPT], "conditions": conditions}
    recipe |= {"loop": 2, "condition_frame_length": 2}
    loaded = vidgen.load_recipe(recipe)
    job = loaded.registry.build(loaded.job, vidgen.interfaces.Context(registry=loaded.registry, recipe=loaded.plain()))
    drawing = job.dry_run()["given frames"]
    assert drawing.startswith("loop 0  #..~~.\nloop 1  ##....\n") and "picture.png" in drawing
    assert "edited with ratio 0.4" in drawing and "frames 0-1 from the clip before, its frames 4-5" in drawing


def test_a_full_disk_leaves_no_file_under_its_name(
    sample: Callable[..., dict[str, torch.Tensor]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(self: Any, frames: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(media._Mp4, "append", full)
    with pytest.raises(RunError, match=r"sample_0000\.mp4 could not be written \(.*No space left"):
        sample(loop=2, condition_frame_length=2)
    assert [path.name for path in (tmp_path / "samples").iterdir() if path.suffix == ".mp4"] == []


def test_a_clip_that_is_stopped_in_the_middle_is_not_kept(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Ctrl-C after the first loop of the second prompt: the first one stays, the others are listed."""
    from vidgen.engine.generation import Generation
    from vidgen.engine.session import Session

    clips, made = Generation.clips, []

    def counted(self: Generation, tasks: Any) -> Any:
        for piece in clips(self, tasks):
            made.append(tasks[0].prompt)
            if made.count("b") == 1:
                monkeypatch.setattr(Session, "stopped", "SIGINT", raising=False)
            yield piece

    monkeypatch.setattr(Generation, "clips", counted)
    monkeypatch.setattr(
        Session,
        "__setattr__",
        lambda self, name, value: None if name == "stopped" else object.__setattr__(self, name, value),
    )
    monkeypatch.setattr(Session, "stopped", "", raising=False)
    recipe = {"job": "sample", "checkpoint": str(trained), "prompts": ["a", "b", "c"], "loop": 3}
    recipe |= {"condition_frame_length": 2, "outputs": str(tmp_path / "made")}
    vidgen.run(vidgen.load_recipe(recipe))
    assert [path.name for path in sorted((tmp_path / "made").glob("*.mp4"))] == ["sample_0000.mp4"]
    assert "not sampled: b; c" in caplog.text


def test_ratios_and_sizes_by_name(tmp_path: Path) -> None:
    recipe = merged({**RECIPE, "job": "sample"}, {"prompts": [PROMPT]})
    for key in ("max_steps", "batch_size", "num_workers", "dataset", "optimizer", "ema", "log", "checkpoint"):
        recipe.pop(key)
    with pytest.raises(RecipeError, match="image_size: missing"):
        vidgen.load_recipe({**recipe, "image_size": None})
    from vidgen.engine.tasks import clip_size

    options = vidgen.load_recipe(
        {**recipe, "num_frames": "4s", "image_size": None, "resolution": "240p", "aspect_ratio": "9:16"}
    ).job.options
    assert clip_size(options, options) == (102, 240, 426)


def test_the_log_says_how_much_memory_it_took(
    sample: Callable[..., dict[str, torch.Tensor]], caplog: pytest.LogCaptureFixture
) -> None:
    sample()
    (line,) = [text for text in caplog.text.splitlines() if "peak memory" in text]
    assert 50 < int(line.partition("peak memory: ")[2].split()[0].replace(",", "")) < 100_000
    assert line.endswith("MB (process)")


@pytest.mark.parametrize("job", ["sample", "train"])
def test_a_metric_that_compares_is_refused_before_anything_is_made(trained: Path, tmp_path: Path, job: str) -> None:
    wanted = {"prompts": [PROMPT], "metrics": [{"type": "psnr"}]}
    recipe = {"job": "sample", "checkpoint": str(trained), **wanted}
    if job == "train":
        recipe = merged(RECIPE, {**CHANGES, "sample": wanted})
    with pytest.raises(UserError, match="psnr compares clips with references, and samples have none"):
        vidgen.run(vidgen.load_recipe({**recipe, "outputs": str(tmp_path / "made")}))
    assert not list(tmp_path.rglob("*.mp4"))
