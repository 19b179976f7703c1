"""The recipes of core's jobs, as typed options. All defaults live here.

Field names follow Open-Sora's. Sizes are pixels (rows, columns); frame counts are video frames; lengths are steps.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen, validators

from vidgen.component import InputPath, Selection, option, section, sections
from vidgen.conditioning.frame_mask_options import FrameMaskOptions
from vidgen.errors import Problem, RecipeError, RunError
from vidgen.recipe.checks import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    OPTIONAL_COUNT,
    OPTIONAL_SIZE,
    POSITIVE,
    SHARE,
    UP_TO_ONE,
    frames,
    ratios,
    share_or_count,
)
from vidgen.recipe.sampling import SampleOptions, TrainingSampleOptions, prompt_problems, size_problems
from vidgen.runfolder import find_checkpoint, read_state

INHERITED = (
    *("model", "adapters", "vae", "text_encoder", "scheduler", "num_frames", "image_size", "frame_interval", "fps"),
    "dtype",
)
"""What a sample recipe takes over from a checkpoint's recipe where it is silent."""

Dtype = Literal["fp32", "fp16", "bf16"]


@frozen(kw_only=True)
class GroupOptions:
    """Parameters that are optimized otherwise than the others."""

    pattern: str = option(doc="Of their names, such as `blocks.*.attn_temp.*`; the first group that fits takes one.")
    lr_scale: float = option(1.0, "Times the learning rate.", validator=POSITIVE)
    weight_decay: float | None = option(
        None, "Decoupled weight decay; null takes the optimizer's.", validator=validators.optional(NOT_NEGATIVE)
    )


@frozen(kw_only=True)
class OptimizerOptions:
    """AdamW (arXiv 1711.05101) and its learning-rate schedule."""

    lr: float = option(1e-4, "Learning rate after warm-up.", validator=POSITIVE)
    betas: tuple[float, float] = option(
        (0.9, 0.999), "Decay of the two moments.", validator=validators.deep_iterable(SHARE)
    )
    eps: float = option(1e-8, "Added to the denominator.", validator=POSITIVE)
    weight_decay: float = option(0.0, "Decoupled weight decay.", validator=NOT_NEGATIVE)
    grad_clip: float = option(1.0, "Largest norm of all gradients together; 0 never clips.", validator=NOT_NEGATIVE)
    warmup_steps: int = option(
        0, "Steps W of linear warm-up: lr * (k + 1) / (W + 1) for k < W.", validator=NOT_NEGATIVE
    )
    decay: Literal["constant", "linear", "cosine"] = option("constant", "Course from warm-up to the last step.")
    min_lr: float = option(0.0, "Where linear and cosine decay end.", validator=NOT_NEGATIVE)
    groups: list[GroupOptions] = option([], "Parameters with a learning rate or weight decay of their own.")
    implementation: Literal["fused", "foreach", "loop"] = option(
        "fused", "All parameters in one kernel, each operation for all of them, or one after the other (least memory)."
    )


@frozen(kw_only=True)
class EmaOptions:
    """Exponential moving average of the weights, kept in float32."""

    decay: float = option(0.9999, "Share of the old average kept per step.", validator=SHARE)


@frozen(kw_only=True)
class TrainingEmaOptions(EmaOptions):
    """As above; beginning late, where the first weights are not worth averaging."""

    start_step: int = option(
        0, "Until so many steps are done, the average is the weights themselves.", validator=NOT_NEGATIVE
    )
    warmup: bool = option(
        False, "The share kept begins with 0 and is at most (1 + n) / (10 + n) n steps later, as diffusers has it."
    )


@frozen(kw_only=True)
class FeatureOptions:
    """Latents and text features worked out once, by `job=encode` or on the way, and read again."""

    cache: Path = option(doc="Folder of the features; every set of encoders and settings has its own place in it.")
    mode: Literal["read", "write-through", "off"] = option(
        "read", "Take all from the cache; or work out what it lacks and keep it; or leave it alone."
    )
    epochs: int = option(
        1, "Keep this many windows of each clip: epoch e sees those of epoch e modulo this.", validator=AT_LEAST_ONE
    )
    shard_size: int = option(256, "Samples per file.", validator=AT_LEAST_ONE)


@frozen(kw_only=True)
class LogOptions:
    """When numbers are read back and written."""

    every: int = option(10, "Steps per row of metrics.csv; a row's loss is the mean over them.", validator=AT_LEAST_ONE)


@frozen(kw_only=True)
class HeldOutOptions:
    """The loss of rows that are never trained on, always of the same clips with the same noise and timesteps."""

    every: int = option(1000, "Steps between measurements; the last step is always measured.", validator=AT_LEAST_ONE)
    rows: int | float = option(
        16,
        "So many rows, or this share of them: the last ones of the training dataset, which is trained without them; or "
        "the first ones of held_out.dataset.",
        validator=share_or_count,
    )
    dataset: Selection | None = section(
        "dataset", optional=True, doc="Where they come from; null: from the training dataset."
    )
    timesteps: int = option(8, "Timesteps of each row, spread over the schedule.", validator=AT_LEAST_ONE)


@frozen(kw_only=True)
class CheckpointOptions:
    """When states are saved. The last step and a stopped run are always saved."""

    every: int = option(1000, "Steps between checkpoints; 0 saves at the end only.", validator=NOT_NEGATIVE)
    background: bool = option(False, "Write while the run goes on; takes memory for a copy of the state.")
    keep: int | None = option(3, "How many of the newest to keep; null keeps all.", validator=OPTIONAL_COUNT)


@frozen(kw_only=True)
class SharedRecipe:
    """Keys that every job of core has."""

    seed: int = option(42, "Every random number is a function of it.", validator=NOT_NEGATIVE)
    dtype: Dtype = option("fp32", "Of the forward pass; weights and averages stay float32.")
    outputs: Path = option(Path("outputs/run"), "The run's folder; outputs/{name of the recipe file} when silent.")
    num_frames: int | None = option(None, "Video frames per clip.", validator=OPTIONAL_COUNT)
    image_size: tuple[int, int] | None = option(None, "Rows and columns in pixels.", validator=OPTIONAL_SIZE)
    frame_interval: int = option(1, "Take every n-th frame of a clip.", validator=AT_LEAST_ONE)
    fps: float = option(24.0, "Frame rate of sampled clips before frame_interval.", validator=POSITIVE)
    model: Selection = section("model", doc="The denoiser.")
    adapters: list[Selection] = sections("adapter", doc="Changes of the model, in order: see docs/fine-tuning.md.")
    vae: Selection = section("autoencoder", doc="Pixels to latents and back.")
    text_encoder: Selection = section("text_encoder", doc="Captions to features.")
    scheduler: Selection = section("scheduler", doc="The diffusion process.")
    attention: Selection = section("attention", {"type": "sdpa"}, doc="Kernels of every attention layer.")
    compile: bool = option(False, "torch.compile every block: a slow first step per size, faster ones after.")
    parallel: Selection = section("parallel", {"type": "single"}, doc="How devices are used.")
    trackers: list[Selection] = sections("tracker", [{"type": "csv"}], doc="Where numbers and clips go.")


@frozen(kw_only=True, slots=False)  # recipes inherit from it beside another class
class ReadingOptions:
    """How samples are read, and what becomes of those that cannot be."""

    num_workers: int = option(2, "Processes that read data; 0 reads in the main one.", validator=NOT_NEGATIVE)
    sample_timeout: float | None = option(
        60.0,
        "Seconds to read one sample in; another one stands in for what takes longer. null waits.",
        validator=validators.optional(POSITIVE),
    )
    max_bad_fraction: float = option(
        0.01,
        "Stop when more than this share of the samples cannot be read; those are listed in bad_samples.jsonl.",
        validator=UP_TO_ONE,
    )


@frozen(kw_only=True)
class TrainRecipe(SharedRecipe, ReadingOptions):
    """`job: train`."""

    max_steps: int | None = option(None, "Train this many steps in all.", validator=OPTIONAL_COUNT)
    epochs: int | None = option(None, "Train this many passes over the data.", validator=OPTIONAL_COUNT)
    batch_size: int = option(1, "Samples per step and rank.", validator=AT_LEAST_ONE)
    accumulation_steps: int = option(1, "Batches per optimizer step.", validator=AT_LEAST_ONE)
    grad_checkpoint: bool | Literal["none", "full", "selective"] = option(
        "none",
        "Recompute each block in the backward pass: less memory, a third more time; selective: all but products and "
        "attention. true is full, false none.",
    )
    resume: str | None = option(None, "`latest` (of this run's folder, if any), or a checkpoint's or run's folder.")
    force: bool = option(False, "Resume although what changed in the recipe changes the course of the run.")
    step_timeout: float | None = option(
        1800.0,
        "Seconds after which several ranks end a step that does not, and say which of them holds it up; null waits.",
        validator=validators.optional(POSITIVE),
    )
    max_loss_ratio: float | None = option(
        100.0,
        "Stop when the loss exceeds this many times its running mean; null never.",
        validator=validators.optional(validators.gt(1)),
    )
    dataset: Selection = section("dataset", doc="Where clips and captions come from.")
    bucketer: Selection = section("bucketer", {"type": "fixed"}, doc="How rows become batches.")
    mask_ratios: dict[str, float] | None = option(
        None,
        "How often which latent frames of a clip are given instead of learned, such as {image_head: 0.1}: see "
        "docs/conditioning.md; null never.",
        validator=validators.optional(ratios),
    )
    frame_masks: FrameMaskOptions | None = option(
        None,
        "For models that are shown frames beside the noise, such as OpenSoraInpaint_v1_3: how often which ones; null: "
        "never any.",
    )
    dropped_captions: list[str] = option(
        [""],
        "Of models without a null caption of their own: the texts that a caption is replaced by where it is dropped, "
        "each as often.",
        validator=validators.min_len(1),
    )
    features: FeatureOptions | None = option(None, "Where latents and text features are kept; null: nowhere.")
    trainable: list[str] | None = option(
        None,
        "Patterns of names: only these parameters are trained, beside adapters' own; null: what the model and its "
        "adapters train.",
    )
    freeze: list[str] = option([], "Patterns of names: these parameters are not trained.")
    optimizer: OptimizerOptions = field(factory=OptimizerOptions)
    ema: TrainingEmaOptions | None = field(factory=TrainingEmaOptions)
    log: LogOptions = field(factory=LogOptions)
    checkpoint: CheckpointOptions = field(factory=CheckpointOptions)
    sample: TrainingSampleOptions | None = option(None, "Sampling during training and at its end; null never.")
    held_out: HeldOutOptions | None = option(None, "The loss of rows that are not trained on; null never.")

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        if self.max_steps is None and self.epochs is None:
            yield Problem(("max_steps",), "missing", ("say how long to train: max_steps or epochs",))
        yield from (problem.under("sample") for problem in self._sample_problems())

    def _sample_problems(self) -> Iterator[Problem]:
        if self.sample is not None:
            yield from prompt_problems(self.sample) if self.sample.from_data == 0 else ()
            yield from size_problems(self.sample)


@frozen(kw_only=True)
class EncodeRecipe(TrainRecipe):
    """`job: encode`: a training recipe, of which only what makes features matters."""

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        if self.features is None:
            yield Problem(("features",), "missing", ("say where features are kept: features: {cache: FOLDER}",))


@frozen(kw_only=True)
class SampleRecipe(SharedRecipe, SampleOptions):
    """`job: sample`."""

    fps: float = option(24.0, "Frame rate before frame_interval, told to models that ask for it.", validator=POSITIVE)
    num_frames: int | str = option(  # type: ignore[assignment]  # a frozen class may say more than its bases
        doc="Video frames per sample, or a name such as 4s; 1 makes images.", validator=frames
    )
    image_size: tuple[int, int] | None = option(
        None, "Rows and columns in pixels; null: resolution and aspect_ratio say them.", validator=OPTIONAL_SIZE
    )
    checkpoint: InputPath | None = option(
        None, "A run's or checkpoint's folder: gives the weights, and every section this recipe leaves out."
    )
    offload_blocks: bool = option(
        False,
        "Keep the model's blocks in the CPU's memory and bring each to the GPU for its turn: for models too large.",
    )
    trackers: list[Selection] = sections("tracker", doc="Where clips are reported.")

    @staticmethod
    def inherits(data: Mapping[str, Any], folders: Iterable[Path]) -> tuple[str, dict[str, Any]] | None:
        """What a silent key takes over from the checkpoint's own recipe, and the name of where that was read; a
        resolution stands in place of its image_size.

        Raises: RecipeError, when there is nothing to sample from; UserError, when there is no such checkpoint;
        RunError, when it is damaged.
        """
        name = data.get("checkpoint")
        if name is None and not any(key in data for key in INHERITED):
            hint = "a run's folder, such as outputs/quickstart; or write model, vae, text_encoder and scheduler out"
            raise RecipeError([Problem(("checkpoint",), "missing", (hint,))])
        if not isinstance(name, str):
            return None
        path = Path(name).expanduser()
        path = next((place for place in (path, *(folder / path for folder in folders)) if place.exists()), path)
        checkpoint = find_checkpoint(path)
        recipe = read_state(checkpoint).get("recipe")
        if not isinstance(recipe, Mapping):
            raise RunError(f"the checkpoint {checkpoint} is damaged: state.json holds no recipe. Use an earlier one.")
        silent = {key for key in INHERITED if recipe.get(key) is not None}
        silent -= set() if data.get("resolution") is None else {"image_size"}
        return f"{checkpoint}/state.json", {key: recipe[key] for key in INHERITED if key in silent}

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        yield from prompt_problems(self)
        yield from size_problems(self)
        if self.image_size is None and self.resolution is None:
            yield Problem(("image_size",), "missing", ("rows and columns in pixels; or resolution and aspect_ratio",))
