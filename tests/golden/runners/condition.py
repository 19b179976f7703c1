"""Cases of Open-Sora's training masks, mask strategies, forms of prompts, names, long videos and size conditioning.

The reference draws masks from Python's `random` and torch's generator; both are handed to vidgen's functions here,
which draw at addresses otherwise.
"""

import random
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from vidgen.conditioning.latent_time import LatentTime
from vidgen.conditioning.long_video import appended, continued, dropped_frames, total_frames
from vidgen.conditioning.mask_ratios import FORMS, complete_ratios
from vidgen.conditioning.masks import draw_mask, training_mask
from vidgen.conditioning.names import save_name
from vidgen.conditioning.placement import place
from vidgen.conditioning.prompt_files import read_prompts
from vidgen.conditioning.prompts import Prompt
from vidgen.conditioning.schedule import merge_schedule, split_schedule, text_of_loop, texts_of_loops
from vidgen.conditioning.scores import with_scores
from vidgen.conditioning.spans import nearest_multiple
from vidgen.conditioning.strategy import Given, parse_strategy
from vidgen.conditioning.suffix import split_suffix
from vidgen.engine.batch import size_numbers
from vidgen.errors import UserError
from vidgen.rng import Draws

NAME = re.compile(
    r"(append_generated|load_prompts|dframe_to_frame|MaskGenerator|apply_mask_strategy|find_nearest_point"
    r"|extract_json_from_prompts|split_prompt|process_prompts|append_score_to_prompts|get_save_path_name"
    r"|prepare_multi_resolution_info)"
)
ENOUGH = 6000  # masks for frequencies

Case = dict[str, Any]


def matches(reference: str, case: Case) -> bool:
    """Whether the case is of what a sample is made of besides noise."""
    return reference.startswith("hpcaitech/Open-Sora") and NAME.search(reference) is not None


def run(case: Case, tensors: dict[str, Tensor], folder: Path) -> None:
    """Run one case. Raises: AssertionError, when a result differs or the case asks for something unknown."""
    reference = case["reference"]
    found = NAME.search(reference)
    assert found and not tensors
    form = next((form for form in ("v1.2", "v1.1") if f", {form}." in reference), None)
    assert form, f"no version in {reference!r}"
    RUN[found[1]](case, form)


def _agrees(make: Callable[[], Any], wanted: Any, what: Any) -> None:
    """`make` gives what is wanted; where that is an error, it must refuse."""
    try:
        made = make()
    except UserError as error:
        assert _refused(wanted), f"{what}: {error}"
        return
    assert not _refused(wanted), f"{what}: {made}, must be refused"
    assert _equal(made, wanted), f"{what}: {made}, wanted {wanted}"


def _refused(wanted: Any) -> bool:
    return isinstance(wanted, dict) and "error" in wanted


def _equal(made: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(made, int | float):
        return abs(made - wanted) <= 1e-6
    if isinstance(wanted, dict) and isinstance(made, dict):
        return list(made) == list(wanted) and all(_equal(made[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(made, list):
        return len(made) == len(wanted) and all(map(_equal, made, wanted))
    return bool(made == wanted)


def _masks(case: Case, form: Any) -> None:
    for one in case["cases"]:
        check = next((check for key, check in MASKS.items() if key in one), None)
        assert check, f"no way to try {sorted(one)}"
        check(one, case, form)


def _distribution(one: Case, case: Case, form: Any) -> None:
    if _refused(one["masks"]):
        assert one["frames"] in (2, 3) and one["type"].startswith("quarter_")
        return  # vidgen gives one frame there
    ratios = complete_ratios({one["type"]: 1.0}, form)
    drawn = training_mask(ratios, one["frames"], Draws(7, [(row,) for row in range(ENOUGH)]))
    shares = {text: count / ENOUGH for text, count in Counter(map(_text, drawn)).items()}
    wanted = one["masks"]
    if "masks_seen" in wanted:
        _check_random(shares, wanted, case["tolerance"])
        return
    assert set(shares) == set(wanted), f"{one}: {sorted(shares)}"
    for text, share in wanted.items():
        assert abs(shares[text] - share) <= case.get("tolerance", 1), f"{one}: {text} {shares[text]}"


def _check_random(shares: dict[str, float], wanted: Case, tolerance: float) -> None:
    given = sum(share * text.count("0") / len(text) for text, share in shares.items())
    assert abs(given - wanted["mean_masked_fraction"]) <= tolerance, f"{given}, wanted {wanted}"
    assert any("1" not in text for text in shares) == wanted["all_zero_seen"]
    assert len(shares) == wanted["masks_seen"] or len(next(iter(shares))) > 8, f"{len(shares)}, wanted {wanted}"


def _ratios(one: Case, case: Case, form: Any) -> None:
    given, wanted = dict(one["ratios"]), one["result"]
    if not _refused(wanted) and min(wanted.values()) < 0:
        wanted = {"error": "a probability below 0"}
    names = {kind: name for name, kind in FORMS[form].names.items()}
    _agrees(lambda: {names[kind]: ratio for kind, ratio in complete_ratios(given, form).items()}, wanted, one["ratios"])
    assert given == one["ratios"], "the caller's ratios are changed"


def _named(ratios: dict[str, float], form: Any) -> dict[str, float]:
    """By the names that the version has."""
    names = {kind: name for name, kind in FORMS[form].names.items()}
    return {names[kind]: ratio for kind, ratio in ratios.items()}


class _Reference:
    """The reference's sources of random numbers."""

    def __init__(self, seed: int) -> None:
        self._random, self._generator = random.Random(seed), torch.Generator().manual_seed(seed)

    def fraction(self) -> float:
        return self._random.random()

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def fractions(self, count: int) -> Tensor:
        return torch.rand(count, generator=self._generator)


def _seeded(one: Case, case: Case, form: Any) -> None:
    ratios, chances = complete_ratios(one["ratios"], form), _Reference(one["seed"])
    assert _equal(_named(ratios, form), one["ratios_after_completion"])
    made = [_text(draw_mask(ratios, one["frames"], chances)) for _ in range(one["batch"])]
    assert made == one["masks"], f"seed {one['seed']}"


def _text(mask: Tensor) -> str:
    return "".join(str(int(one)) for one in mask)


MASKS: dict[str, Callable[[Case, Case, Any], None]] = {
    "ratios_after_completion": _seeded,
    "ratios": _ratios,
    "type": _distribution,
}


def _strategies(case: Case, form: Any) -> None:
    for one in [*case["cases"], *case.get("aligned", [])]:
        _agrees(partial(_placed, one, form), one["result"], one)
    for text, wanted in case.get("parsed", []):
        _agrees(lambda text=text: [_numbers(given) for given in parse_strategy(text, form)], wanted, text)


def _numbers(given: Given) -> list[float]:
    return [given.loop, given.reference, given.reference_start, given.start, given.length, given.edit]


def _placed(one: Case, form: Any) -> Case:
    given = [parse_strategy(text, form) for text in one["strategies"]]
    references = [
        [_reference(1000 * (b + 1) + 100 * (r + 1), frames) for r, frames in enumerate(each)]
        for b, each in enumerate(one["ref_frames"])
    ]
    z = torch.zeros(len(given), 2, one["frames"], 1, 1)
    mask = place(z, references, given, one["loop"], one.get("align"), clip=form == "v1.2")
    assert torch.equal(z[:, 0], z[:, 1])
    return {"mask": mask.tolist() or None, "z": z[:, 0, :, 0, 0].int().tolist()}


def _reference(first: int, frames: int) -> Tensor:
    return torch.arange(first, first + frames, dtype=torch.float32).view(1, -1, 1, 1).expand(2, -1, 1, 1)


def _nearest(case: Case, form: Any) -> None:
    for value, point, limit, wanted in case["cases"]:
        assert nearest_multiple(value, point, limit) == wanted, (value, point, limit)


def _append_generated(case: Case, form: Any) -> None:
    for one in case["cases"]:
        _agrees(partial(_appended, one, form), one["result"], one)


def _appended(one: Case, form: Any) -> Case:
    strategies, counts = [], []
    for strategy, count in zip(one["strategies"], one["reference_counts"], strict=True):
        given, references = continued(
            parse_strategy(strategy),
            [None] * (count or 0),
            None,
            loop=one["loop"],
            length=one["condition_frame_length"],
            edit=one["condition_frame_edit"],
        )
        text = appended(strategy, given[-1])
        assert parse_strategy(text) == list(given)
        strategies.append(text)
        counts.append(len(references))
    return {"strategies": strategies, "reference_counts": counts}


def _suffixes(case: Case, form: Any) -> None:
    if form == "v1.1":
        for one in case["cases"]:
            _agrees(lambda one=one: _v1_1_suffixes(one["prompts"]), one["result"], one)
        return
    for one in [*case["cases"], *case.get("overrides", [])]:
        _agrees(partial(_with_suffixes, one), one["result"], one)


def _v1_1_suffixes(prompts: list[str]) -> list[list[Any]]:
    return [list(each) for each in zip(*(split_suffix(prompt, "v1.1") for prompt in prompts), strict=True)]


def _with_suffixes(one: Case) -> Case:
    empty = [""] * len(one["prompts"])
    rows = zip(one["prompts"], one.get("references", empty), one.get("strategies", empty), strict=True)
    read = [Prompt(text=text, reference_path=path, mask_strategy=mask).with_suffix() for text, path, mask in rows]
    return {
        "prompts": [prompt.text for prompt in read],
        "references": [prompt.reference_path for prompt in read],
        "strategies": [prompt.mask_strategy for prompt in read],
    }


def _schedules(case: Case, form: Any) -> None:
    for one in case["cases"]:
        prompt = one["prompt"]
        _agrees(lambda prompt=prompt: list(split_schedule(prompt)), one["split"], prompt)
        if "merged" in one:
            _agrees(lambda prompt=prompt: merge_schedule(*split_schedule(prompt)), one["merged"], prompt)
        for key, make in (("loops", str), ("loops_after_merge", lambda one: merge_schedule(*split_schedule(one)))):
            if key in one:
                _check_loops(one[key], lambda prompt=prompt, make=make: make(prompt), prompt)


def _check_loops(wanted: Any, prompt: Callable[[], str], what: str) -> None:
    """`wanted`: a result for each loop, or one error for all."""
    results = [wanted] if _refused(wanted) else wanted
    for loop, result in enumerate(results):
        _agrees(lambda loop=loop: text_of_loop(prompt(), loop), result, (what, loop))


def _v1_1_schedules(case: Case, form: Any) -> None:
    for one in case["cases"]:
        _agrees(lambda one=one: texts_of_loops(one["prompt"], one["loop"]), one["result"], one)


def _scores(case: Case, form: Any) -> None:
    for one in case["cases"]:
        scores = {name: one.get(name) for name in ("aes", "flow", "camera_motion")}
        made = [with_scores(prompt, **scores) for prompt in one["prompts"]]
        assert made == one["result"], f"{one}: {made}"


def _names(case: Case, form: Any) -> None:
    for one in case["cases"]:
        given = dict(one["args"])
        made = save_name(
            given.pop("sample_idx", 0),
            sample_name=given.pop("sample_name", None),
            prompt=given.pop("prompt", None) or "",
            prompt_as_path=given.pop("prompt_as_path", False),
            num_samples=given.pop("num_sample", 1) or 1,
            repeat=given.pop("k", 0) or 0,
        )
        assert not given, f"no way to try {given}"
        assert f"out/{made}" == one["result"], one


def _prompt_files(case: Case, form: Any) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "prompts.txt")
        path.write_text(case["file_content"], encoding="utf-8")
        for one in case["cases"]:
            made = [prompt.text for prompt in read_prompts(path, one.get("start"), one.get("end"))]
            assert made == one["result"], one


def _lengths(case: Case, form: Any) -> None:
    for one in case["cases"]:
        time = _time(51, form)
        _agrees(lambda one=one, time=time: dropped_frames(one["condition_frame_length"], time), one["dropped"], one)
    for one in case.get("totals", []):
        dropped = dropped_frames(one["condition_frame_length"], _time(one["num_frames"], form))
        assert total_frames(one["num_frames"], one["loop"], dropped) == one["total"], one


def _time(num_frames: int, form: Any) -> LatentTime:
    """Of the autoencoder that the version has."""
    if form == "v1.1":
        return LatentTime(num_frames=num_frames, count=lambda frames: frames, stride=1, chunk=1)
    return LatentTime(
        num_frames=num_frames, count=lambda frames: frames // 17 * 5 + (frames % 17 + 3) // 4, stride=4, chunk=17
    )


def _size_info(case: Case, form: Any) -> None:
    for one in case["cases"]:
        assert (one["kind"] in SIZE_INFO) != _refused(one["result"]), f"model family {one['kind']!r}"
        if not _refused(one["result"]):
            known = size_numbers([(one["num_frames"], *one["image_size"])] * one["batch"], float(one["fps"]))
            made = {name: value.tolist() for name, value in SIZE_INFO[one["kind"]](known).items()}
            assert made.keys() == one["result"].keys(), one
            for name, wanted in one["result"].items():
                torch.testing.assert_close(
                    torch.tensor(made[name]), torch.tensor(wanted), rtol=0, atol=case["tolerance"]
                )


def _hw_and_ar(known: dict[str, Tensor]) -> dict[str, Tensor]:
    """As the reference's models take them; vidgen's put height and width together themselves."""
    return {"hw": torch.stack([known["height"], known["width"]], dim=1), "ar": known["ar"][:, None]}


SIZE_INFO: dict[Any, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    None: lambda known: {},
    "PixArtMS": _hw_and_ar,
    "STDiT2": dict,
    "OpenSora": dict,
}

RUN: dict[str, Callable[[Case, Any], None]] = {
    "append_generated": _append_generated,
    "load_prompts": _prompt_files,
    "dframe_to_frame": _lengths,
    "MaskGenerator": _masks,
    "apply_mask_strategy": _strategies,
    "find_nearest_point": _nearest,
    "extract_json_from_prompts": _suffixes,
    "split_prompt": _schedules,
    "process_prompts": _v1_1_schedules,
    "append_score_to_prompts": _scores,
    "get_save_path_name": _names,
    "prepare_multi_resolution_info": _size_info,
}
