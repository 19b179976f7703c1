"""What a recipe may ask of sampling: which clips, how they are conditioned, how they are written."""

from collections.abc import Iterator
from typing import Any, Literal

from attrs import frozen, validators

from vidgen.aspect import REFERENCE
from vidgen.component import InputPath, Selection, option, section, sections
from vidgen.conditioning.named import ConditionOptions
from vidgen.conditioning.template import check_template
from vidgen.errors import Problem
from vidgen.recipe.checks import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    OPTIONAL_COUNT,
    OPTIONAL_SIZE,
    POSITIVE,
    UP_TO_ONE,
    file_name,
    finite,
    frames,
    named_aspect_ratio,
    named_resolution,
)


def _ratio(instance: Any, attribute: Any, value: str | None) -> None:
    """Raises: ValueError, for what is no name of a ratio."""
    if value == REFERENCE:
        return
    try:
        named_aspect_ratio(instance, attribute, value)
    except ValueError as error:
        raise ValueError(f"{error}\n    or {REFERENCE}: that of the first picture or video that is given") from None


def _template(_: Any, __: Any, value: str | None) -> None:
    if value is not None:
        check_template(value)


@frozen(kw_only=True, slots=False)  # the sample recipe inherits from two classes, and slots allow one
class SampleOptions:
    """What to sample and how to write it."""

    prompts: list[str] = option([], "Prompts.")
    prompt_path: InputPath | None = option(None, "Text file with one prompt a line; comes after `prompts`.")
    negative_prompt: str | None = option(None, "What to steer away from; null uses the model's null caption.")
    num_samples: int = option(1, "Samples per prompt.", validator=AT_LEAST_ONE)
    num_frames: int | str | None = option(
        None, "Frames of a sample, or a name such as 4s or 2x; null takes the recipe's.", validator=frames
    )
    image_size: tuple[int, int] | None = option(
        None, "Rows and columns in pixels; null takes the recipe's.", validator=OPTIONAL_SIZE
    )
    resolution: str | None = option(
        None, "With aspect_ratio, in place of image_size: a name such as 240p.", validator=named_resolution
    )
    aspect_ratio: str | None = option(
        None,
        "Height to width, such as 9:16; `reference` is the one nearest to the first picture or video that is given.",
        validator=_ratio,
    )
    fps: float | None = option(
        None,
        "Frame rate told to models that ask for it; null takes the recipe's.",
        validator=validators.optional(POSITIVE),
    )
    save_fps: float | None = option(
        None,
        "Frame rate of the written file; null takes fps / frame_interval.",
        validator=validators.optional(POSITIVE),
    )
    batch_size: int = option(1, "Samples denoised together; changes no sample.", validator=AT_LEAST_ONE)
    sample_name: str | None = option(
        None,
        "Files are named {sample_name}_{index:04d}; null is `sample`, and nothing in front of prompts as names.",
        validator=file_name,
    )
    prompt_as_path: bool = option(False, "Name files by their prompts, made safe, in place of numbers.")
    start_index: int = option(0, "The first prompt that is sampled, counting from 0.", validator=NOT_NEGATIVE)
    end_index: int | None = option(
        None, "The prompt before which to stop; null goes on to the last.", validator=validators.optional(NOT_NEGATIVE)
    )
    image_format: Literal["png", "jpg"] = option("png", "Of samples of one frame.")
    reference_path: list[str] = option(
        [], "For each prompt, in order: pictures and videos joined by `;`, which mask_strategy puts into the clip."
    )
    mask_strategy: list[str] = option(
        [], "For each prompt, in order: which frames of its references go where; see docs/conditioning.md."
    )
    mask_strategy_format: Literal["v1.2", "v1.1", "v1.0"] = option("v1.2", "Open-Sora's release whose form that is.")
    conditions: list[ConditionOptions] = option(
        [], "Pictures and videos that every sample is given, in video frames: [{image: a.png, at: 0}]."
    )
    allow_download: bool = option(False, "Fetch references that are http(s) addresses, from public hosts alone.")
    loop: int = option(
        1,
        "Clips that follow each other in a sample, each beginning with the end of the last.",
        validator=AT_LEAST_ONE,
    )
    condition_frame_length: int = option(
        5,
        "Latent frames that a clip takes over from the one before; video frames, of models that are shown frames "
        "beside the noise.",
        validator=AT_LEAST_ONE,
    )
    condition_frame_edit: float = option(
        0.0, "How much those are changed: 0 keeps them, 1 makes them anew.", validator=UP_TO_ONE
    )
    align: int | None = option(
        None,
        "Given frames begin at multiples of so many; null: of the latent ones that the autoencoder codes together.",
        validator=OPTIONAL_COUNT,
    )
    aes: float | None = option(None, "Aesthetic score that is added to every prompt, about 4 to 7.", validator=finite)
    flow: float | None = option(None, "Motion score that is added to every prompt, 0 is none.", validator=finite)
    camera_motion: str | None = option(None, "Camera motion that is added to every prompt, such as `pan left`.")
    prompt_refiner: Selection | None = section(
        "prompt_refiner", optional=True, doc="Rewrites prompts before they are encoded; null: they are taken as given."
    )
    prompt_template: str | None = option(
        None,
        "Put around every prompt, with {} for its text, such as `high quality, {}`; after refining, before scores.",
        validator=_template,
    )
    step_cache: Selection | None = section(
        "step_cache", optional=True, doc="Work saved between steps, for clips that are nearly the same; null: none."
    )
    grid: int | None = option(
        None,
        "Columns of grid.mp4 or grid.png, which shows all samples beside each other; null: there is none.",
        validator=OPTIONAL_COUNT,
    )
    upscale: int = option(
        1, "Write clips enlarged this many times by nearest neighbour, for tiny ones.", validator=AT_LEAST_ONE
    )
    ema: bool = option(True, "Sample with the averaged weights where there are any.")
    metrics: list[Selection] = sections("metric", doc="Measures of the sampled clips.")


@frozen(kw_only=True)
class TrainingSampleOptions(SampleOptions):
    """Sampling from within training."""

    every: int | None = option(None, "Steps between samplings; null samples at the end only.", validator=OPTIONAL_COUNT)
    from_data: int = option(
        0,
        "Also sample the captions of this many first rows, beside the real clip and its reconstruction.",
        validator=NOT_NEGATIVE,
    )


def prompt_problems(options: SampleOptions) -> Iterator[Problem]:
    """Whether there is anything to sample."""
    if not options.prompts and options.prompt_path is None:
        yield Problem(("prompts",), "missing", ("give prompts or prompt_path",))


def size_problems(options: SampleOptions) -> Iterator[Problem]:
    """What is wrong between the keys that say a sample's size; of two sizes none wins in silence."""
    if (options.resolution is None) != (options.aspect_ratio is None):
        missing = "resolution" if options.resolution is None else "aspect_ratio"
        yield Problem((missing,), "missing", ("resolution and aspect_ratio go together, such as 240p and 9:16",))
    if options.image_size is not None and options.resolution is not None:
        rows, columns = options.image_size
        text = f"{rows}x{columns} pixels, and resolution says {options.resolution}: a sample has one size"
        hint = "keep one: image_size: null, or resolution: null and aspect_ratio: null"
        yield Problem(("image_size",), text, (hint,), at_key=True)
        yield Problem(("resolution",), "given beside image_size", at_key=True)
    named = any(condition.image or condition.video for condition in options.conditions)
    if isinstance(options, TrainingSampleOptions) and options.aspect_ratio == REFERENCE and not named:
        text = f"{REFERENCE}: samples within training take the shape of what conditions give, and there are none"
        yield Problem(("aspect_ratio",), text, ("give conditions, or name a ratio such as 9:16",))
