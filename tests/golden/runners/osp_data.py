"""Cases of Open-Sora-Plan's data: which items become samples, which frames, which sizes, in which order, padded how."""

import json
import pickle
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen_opensora_plan_data import GroupedOptions, OpenSoraPlanDataOptions
from vidgen_opensora_plan_data.annotations import read_items
from vidgen_opensora_plan_data.frames import (
    Clip,
    count_resampled,
    last_begin,
    resample,
    sped_up,
    usable_frames,
    window,
)
from vidgen_opensora_plan_data.notices import notices, with_notice
from vidgen_opensora_plan_data.order import arrange, majority
from vidgen_opensora_plan_data.padding import Grid, latent_mask, pad, target
from vidgen_opensora_plan_data.rules import Rules, check, make_rules
from vidgen_opensora_plan_data.selection import Selection, counts, rates, refuse_empty, select
from vidgen_opensora_plan_data.sizes import fit_to_area, fit_to_size, in_ratios
from vidgen_opensora_plan_data.sources import read_sources

PROJECT = "PKU-YuanGroup/Open-Sora-Plan, v1.3.0, "
COPIES = 4
NOT_OF_THE_DATA = {"model_max_length", "cfg", "train_batch_size", "use_decord", "train_sp_batch_size"} | {
    "gradient_accumulation_steps"
}
"""Arguments that in vidgen belong to the text encoder, the model, the recipe and the parallel engine."""

Roots = Sequence[tuple[str, list[dict[str, Any]]]]


def matches(reference: str, case: dict[str, Any]) -> bool:
    """Whether the case is of a part of the data that is named here."""
    return reference.startswith(PROJECT) and reference.removeprefix(PROJECT) in RUN


def run(case: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, on any difference and on anything it does not know."""
    RUN[case["reference"].removeprefix(PROJECT)](case)


def _selections(case: dict[str, Any]) -> None:
    if "items" not in case and "roots" not in case:
        _errors(case["cases"])
        return
    assert case["cases"], "the case expects nothing"
    roots: Roots = case.get("roots") or [("/data", case["items"])]
    listed_once = any("group_sizes" in one["result"] for one in case["cases"])
    if listed_once:
        roots = [(root, _copies(items)) for root, items in roots]
    for one in case["cases"]:
        made = _result(roots, one["arguments"], one.get("python_seed", 0), one.get("format", "json"))
        wanted = one["result"]
        if "error" in wanted:
            assert made is None, f"{one['arguments']}: refused by the reference ({wanted['error']})"
            continue
        assert made is not None, f"{one['arguments']}: refused"
        if listed_once:
            made["kept"] = [sample for sample in made["kept"] if not Path(sample["path"]).name.startswith("r")]
        for key, value in wanted.items():
            assert made[key] == value, f"{one['arguments']}: {key}: {made[key]}, wanted {value}"


def _copies(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    prefixes = ["", *(f"r{copy}_" for copy in range(1, COPIES))]
    return [{**item, "path": prefix + item["path"]} for prefix in prefixes for item in items]


def _result(roots: Roots, arguments: dict[str, Any], seed: int, form: str) -> dict[str, Any] | None:
    """What a list of sources comes to; None when it is refused."""
    rules = Rules(**arguments)
    with TemporaryDirectory() as name:
        try:
            check(rules)
            sources = read_sources(_write(Path(name).resolve(), roots, form))
            items = read_items(sources)
            selection = select(items, sources, rules)
            refuse_empty(selection, "data.txt")
        except UserError:
            return None
        return _described(items, selection, rules, seed, str(Path(name).resolve()))


def _write(folder: Path, roots: Roots, form: str) -> Path:
    lines = []
    for number, (root, items) in enumerate(roots):
        media, annotations = folder / root.lstrip("/"), folder / f"annotations{number}.{form}"
        media.mkdir(parents=True, exist_ok=True)
        annotations.write_bytes(pickle.dumps(items) if form == "pkl" else json.dumps(items).encode())
        lines.append(f"{media},{annotations}\n\n")
    listed = folder / "data.txt"
    listed.write_text("".join(lines))
    return listed


def _described(items: pa.Table, selection: Selection, rules: Rules, seed: int, folder: str) -> dict[str, Any]:
    frames = _frames(items, selection, rules, seed)
    kept = [
        {
            "path": items.column("path")[row].as_py().removeprefix(folder),
            "shape": f"{selection.num_frames[row]}x{selection.height[row]}x{selection.width[row]}",
            "frames": _short(frames[row]) if selection.video[row] else [0],
        }
        for row in selection.kept.tolist()
    ]
    groups: dict[str, list[int]] = {}
    for place, sample in enumerate(kept):
        groups.setdefault(sample["shape"], []).append(place)
    sizes = {shape: len(places) for shape, places in groups.items()}
    return {"kept": kept, "counts": counts(selection), "group_sizes": sizes, "shape_groups": groups}


def _frames(items: pa.Table, selection: Selection, rules: Rules, seed: int) -> dict[int, list[int]]:
    """Frames of the videos, with windows drawn as the reference draws them: for every clip that is long enough, in
    order, whatever becomes of it afterwards."""
    generator, fps, frames = random.Random(seed), rates(items), {}
    for row in np.flatnonzero(selection.available).tolist():
        clip = Clip(items.column("start")[row].as_py(), items.column("num_frames")[row].as_py(), fps[row])
        every = resample(clip, rules.train_fps)
        assert len(every) == selection.available[row] == count_resampled(clip.num_frames, clip.fps, rules.train_fps)
        chosen = window(every, rules.num_frames, lambda last: generator.randint(0, last))
        frames[row] = chosen[: selection.num_frames[row]].tolist()
    return frames


def _short(frames: list[int]) -> list[int]:
    """Evenly spaced frames as first, count, step."""
    steps = set(np.diff(frames).tolist())
    return [frames[0], len(frames), *steps] if len(steps) == 1 else frames


def _errors(cases: list[dict[str, Any]]) -> None:
    video = {"path": "v.mp4", "cap": ["c"], "resolution": {"height": 720, "width": 1280}, "fps": 24, "num_frames": 93}
    image = {"path": "i.jpg", "cap": ["c"], "resolution": {"height": 720, "width": 1280}}
    usual = {"num_frames": 93, "train_fps": 24, "drop_short_ratio": 1.0, "speed_factor": 1.0, "max_height": 480}
    usual |= {"max_width": 640, "hw_stride": 32, "force_resolution": False, "max_hxw": 262144, "min_hxw": 65536}
    usual |= {"sp_size": 1, "total_batch_size": 1, "ae_stride_t": 4}
    assert cases, "the case expects nothing"
    assert _result([("/data", [video, image] * 4)], usual, 0, "json"), "the usual is refused"
    for one in cases:
        words, items, arguments = one["what"].split(), [video, image] * 4, dict(usual)
        if words[-1] == "item":
            items = [*items, {**image, "path": f"i.{words[0]}"}]
        elif words[1] == "without":
            items = [*items, {key: value for key, value in video.items() if key != words[2]}]
        elif one["what"].startswith("nothing left"):
            arguments["total_batch_size"] = 5
        elif words[1] == "missing":
            arguments |= {words[0]: None}
        elif words[1:] == ["below", "1"]:
            arguments |= {words[0]: 0.9}
        else:
            raise AssertionError(f"no way to make {one['what']!r}")
        assert "error" in one["result"], one["what"]
        assert _result([("/data", items)], arguments, 0, "json") is None, one["what"]


def _defaults(case: dict[str, Any]) -> None:
    made = make_rules(OpenSoraPlanDataOptions(data=Path("data.txt"), force_resolution=True), Context())
    own = OpenSoraPlanDataOptions(data=Path("data.txt"))
    for name, value in case["defaults"].items():
        if name in NOT_OF_THE_DATA:
            continue
        if name == "ae_stride":
            known = make_rules(own_size(own), Context(latent_stride=(8, 2, 2)))
            assert known.ae_stride_t == 8 and value == "from the autoencoder"
        elif name == "group_data":
            assert GroupedOptions().group_data == value
        elif name in ("force_resolution", "max_hxw", "min_hxw"):
            assert getattr(own, name) == value, name
        else:
            assert getattr(made, name) == value, name
    quarter = make_rules(OpenSoraPlanDataOptions(data=Path("data.txt"), max_hxw=1023), Context())
    assert quarter.areas == (255, 1023)
    assert make_rules(own_size(own), Context(batch_size=3, num_ranks=5)).total_batch_size == 15
    assert set(case["derived"]) <= {"total_batch_size", "min_hxw", "min_height_min_width"}


def own_size(options: OpenSoraPlanDataOptions) -> OpenSoraPlanDataOptions:
    """The options with a size forced."""
    return OpenSoraPlanDataOptions(data=options.data, force_resolution=True)


def _resample(case: dict[str, Any]) -> None:
    for fps, train_fps, start, frames, wanted in case["cases"]:
        assert resample(Clip(start, frames, fps), train_fps).tolist() == wanted, (fps, train_fps)
        assert count_resampled(frames, fps, train_fps) == len(wanted)


def _frame_count(case: dict[str, Any]) -> None:
    for available, stride, sp_size, wanted in case["cases"]:
        made = usable_frames(available, stride, sp_size)
        assert made == max(wanted, 0), (available, stride, sp_size)


def _aspect(case: dict[str, Any]) -> None:
    for height, width, greatest, least, wanted in case["cases"]:
        assert in_ratios(height, width, least, greatest) == wanted, (height, width)


def _area(case: dict[str, Any]) -> None:
    for height, width, max_hxw, stride, resized, crop in case["cases"]:
        fit = fit_to_area((height, width), max_hxw, stride)
        assert list(fit.resized) == resized and list(fit.after) == crop, (height, width, max_hxw, stride)
        assert fit.before == (0, 0, height, width)


def _forced(case: dict[str, Any]) -> None:
    for height, width, rows, columns, crop in case["cases"]:
        fit = fit_to_size((height, width), (rows, columns))
        assert list(fit.before) == crop, (height, width, rows, columns)
        assert fit.resized == (rows, columns) and fit.after == (0, 0, rows, columns)


def _actual(case: dict[str, Any]) -> None:
    for one in case["cases"]:
        made = _read(one)
        wanted = None if isinstance(one["frames"], str) else one["frames"]
        assert made == wanted, f"{one}: {made}"


def _read(one: dict[str, Any]) -> list[int] | None:
    """Frames that the reference reads; None where it refuses."""
    generator = random.Random(one["python_seed"])
    every = resample(Clip(one["start"], one["clip_frames"], one["fps"]), one["train_fps"])
    some = sped_up(every, one["num_frames"], one["speed_factor"])
    chosen = window(some, one["num_frames"], lambda last: generator.randint(0, last))
    usable = int(usable_frames(len(chosen), 4, 1))
    short = usable < one["num_frames"] and one["drop_short_ratio"] >= 1
    return None if usable == 0 or usable != one["planned"] or short else chosen[:usable].tolist()


def _temporal(case: dict[str, Any]) -> None:
    for available, size, least, greatest, lengths in case["cases"]:
        indices = np.arange(available)
        assert least == 0 and last_begin(available, size) == greatest, (available, size)
        made = {len(window(indices, size, lambda last, begin=begin: min(begin, last))) for begin in (least, greatest)}
        assert sorted(made) == lengths, (available, size)


def _sampler(case: dict[str, Any]) -> None:
    numbers = {shape: number for number, shape in enumerate(dict.fromkeys(case["lengths"]))}
    shapes = np.array([numbers[shape] for shape in case["lengths"]])
    for one in case["cases"]:
        generator = torch.Generator().manual_seed(42 if one["generator_seed"] is None else one["generator_seed"])
        made = arrange(
            shapes,
            batch_size=one["batch_size"],
            num_ranks=one["world_size"],
            group_data=one["group_data"],
            permute=lambda count, generator=generator: torch.randperm(count, generator=generator).numpy(),
            choose=_chooser(one["python_seed"]),
        )
        skipped = one["initial_global_step"] * one["gradient_accumulation"]
        assert made[skipped:].reshape(-1).tolist() == one["order"], one
        assert len(shapes) - skipped * one["batch_size"] * one["world_size"] == one["reported_length"]


def _chooser(seed: int) -> Callable[[int], int]:
    generator = random.Random(seed)
    return lambda count: generator.choice(range(count))


def _collate(case: dict[str, Any]) -> None:
    for one in case["cases"]:
        shapes = [tuple(shape) for shape in one["shapes"]]
        picked = _picked(shapes, one)
        grid = Grid(tuple(one["ae_stride"]), tuple(one["patch"]))
        collated = _collated([shapes[place] for place in picked], grid, one)
        if "error" in one:
            assert collated is None, f"{one}: refused by the reference"
            continue
        assert collated is not None, f"{one}: refused"
        padded, mask = collated
        assert picked == one["picked"], one
        assert list(padded.shape[2:]) == one["padded"], one
        assert [int(clip.sum()) for clip in padded] == [int(np.prod(shapes[place])) for place in picked]
        assert one["pad_value"] == 0 and padded.min() in (0, 1)
        assert list(mask.shape[1:]) == one["mask_shape"], one
        for row, (frames, rows, columns) in zip(mask, one["mask_valid"], strict=True):
            assert row[:frames, :rows, :columns].all() and row.sum() == frames * rows * columns, one


def _collated(batch: Sequence[Any], grid: Grid, one: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """Clips of ones and the mask of a batch; None when it is refused."""
    grouped = one["group_data"]
    try:
        size = grid.padded(target(batch, tuple(one["max_frames_height_width"]), group_data=grouped))
        mask = latent_mask(batch, size, grid, group_data=grouped)
    except UserError:
        return None
    return pad([torch.ones(1, *shape) for shape in batch], size), mask


def _picked(shapes: list[tuple[int, ...]], one: dict[str, Any]) -> list[int]:
    if not one["group_data"] and one["batch_size"] > 1:
        return list(range(len(shapes)))
    numbers = {shape: number for number, shape in enumerate(dict.fromkeys(shapes))}
    of_shapes = np.array([numbers[shape] for shape in shapes])
    if len(numbers) == 1:
        return list(range(len(shapes)))
    return majority(np.arange(len(shapes)), of_shapes, _chooser(one["python_seed"])).tolist()


def _notices(case: dict[str, Any]) -> None:
    for score, *wanted in case["cases"]:
        for image, text in zip((False, True), wanted, strict=True):
            made = Counter(
                with_notice("a caption", score, np.random.default_rng(seed), image=image) for seed in range(300)
            )
            if text == "unchanged":
                assert set(made) == {"a caption"}, score
                continue
            quality, _, rest = text.partition(" notice, before or after the caption, ")
            assert len(made) == int(rest.split()[0]), score
            sentences = notices(score, image=image)
            assert all(quality in sentence.lower() for sentence in sentences)
            assert set(made) == {f"{s} a caption" for s in sentences} | {f"a caption {s}" for s in sentences}


RUN: dict[str, Callable[[dict[str, Any]], None]] = {
    "train_t2v_diffusers arguments": _defaults,
    "T2V_dataset.define_frame_index": _selections,
    "T2V_dataset (frame-rate resampling)": _resample,
    "find_closest_y": _frame_count,
    "filter_resolution": _aspect,
    "maxhwresize, get_params": _area,
    "center_crop_th_tw": _forced,
    "T2V_dataset.get_actual_frame": _actual,
    "TemporalRandomCrop (same in Open-Sora)": _temporal,
    "LengthGroupedSampler": _sampler,
    "Collate": _collate,
    "add_aesthetic_notice_video / _image": _notices,
}
