"""The recipes of `job: train-autoencoder` and `job: reconstruct`, as typed options. All defaults live here.

Field names follow Open-Sora's, and core's where core has the same. Imports no torch.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen, validators
from vidgen import Problem, Selection, UserError, option, section, sections
from vidgen.component import InputPath
from vidgen.recipe.schema import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    OPTIONAL_COUNT,
    OPTIONAL_SIZE,
    POSITIVE,
    CheckpointOptions,
    Dtype,
    EmaOptions,
    LogOptions,
    OptimizerOptions,
    ReadingOptions,
    SampleRecipe,
)
from vidgen.runfolder import find_checkpoint, read_state

TRAIN, RECONSTRUCT = "train-autoencoder", "reconstruct"
INHERITED = ("vae", "num_frames", "image_size", "frame_interval", "dtype")
"""What a reconstruct recipe takes over from a checkpoint's recipe where it is silent."""

OPTIONAL_WEIGHT = validators.optional(NOT_NEGATIVE)


@frozen(kw_only=True)
class DiscriminatorOptions:
    """A second network, trained beside the autoencoder to tell reconstructions from what is real."""

    type: Literal["2d", "3d"] = option(
        "2d", "2d judges single frames, 3d whole clips; a batch too short for 3d goes without it."
    )
    ndf: int = option(64, "Channels of its first layer.", validator=AT_LEAST_ONE)
    n_layers: int = option(3, "Layers that halve rows and columns.", validator=AT_LEAST_ONE)
    start: int = option(-1, "The first step, counted from 0, in which it counts and learns; -1: from the beginning.")
    factor: float = option(1.0, "Weight of both sides of the game, above 0.", validator=POSITIVE)
    generator_factor: float = option(
        0.5, "Further weight of the autoencoder's side, beside the adaptive one.", validator=POSITIVE
    )
    generator_loss_type: Literal["hinge", "non-saturating"] = option("hinge", "The autoencoder's side.")
    discriminator_loss_type: Literal["hinge", "vanilla", "non-saturating"] = option(
        "hinge", "The discriminator's side."
    )
    lecam_loss_weight: float | None = option(
        None, "Weight of LeCam regularisation (arXiv 2104.03310); null: none.", validator=OPTIONAL_WEIGHT
    )
    gradient_penalty_loss_weight: float | None = option(
        None, "Weight of the gradient penalty (arXiv 1704.00028); null: none.", validator=OPTIONAL_WEIGHT
    )


@frozen(kw_only=True)
class EvaluationOptions:
    """Clips that are reconstructed again and again while training goes on."""

    every: int | None = option(
        None, "Steps between evaluations; null evaluates at the end only.", validator=OPTIONAL_COUNT
    )
    clips: int = option(4, "How many, evenly spread over the rows that are long enough.", validator=AT_LEAST_ONE)
    frames: int = option(8, "Evenly spaced frames of a clip on the sheet.", validator=AT_LEAST_ONE)
    upscale: int = option(1, "Enlarge the sheet this many times, for tiny clips.", validator=AT_LEAST_ONE)
    dataset: Selection | None = section("dataset", doc="Where they come from; null: those trained on.", optional=True)


@frozen(kw_only=True)
class TrainAutoencoderRecipe(ReadingOptions):
    """`job: train-autoencoder`."""

    seed: int = option(42, "Every random number is a function of it.", validator=NOT_NEGATIVE)
    dtype: Dtype = option("fp32", "Of the forward passes; weights and averages stay float32.")
    outputs: Path = option(Path("outputs/run"), "The run's folder; outputs/{name of the recipe file} when silent.")
    max_steps: int | None = option(None, "Train this many steps in all.", validator=OPTIONAL_COUNT)
    epochs: int | None = option(None, "Train this many passes over the data.", validator=OPTIONAL_COUNT)
    batch_size: int = option(1, "Clips per step and rank.", validator=AT_LEAST_ONE)
    num_frames: int | None = option(None, "Video frames per clip.", validator=OPTIONAL_COUNT)
    image_size: tuple[int, int] | None = option(None, "Rows and columns in pixels.", validator=OPTIONAL_SIZE)
    frame_interval: int = option(1, "Take every n-th frame of a clip.", validator=AT_LEAST_ONE)
    resume: str | None = option(None, "`latest` (of this run's folder, if any), or a checkpoint's or run's folder.")
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
    vae: Selection = section("autoencoder", doc="What is trained, from its own `from_pretrained` or from start values.")
    dataset: Selection = section("dataset", doc="Where clips come from.")
    bucketer: Selection = section("bucketer", {"type": "fixed"}, doc="How rows become batches.")
    parallel: Selection = section("parallel", {"type": "single"}, doc="How devices are used.")
    trackers: list[Selection] = sections("tracker", [{"type": "csv"}], doc="Where numbers and pictures go.")
    mixed_strategy: Literal["mixed_video_image", "mixed_video_random"] | None = option(
        None, "Cut some batches to their first frame, or all to a random number of frames from 1 on; null: neither."
    )
    mixed_image_ratio: float = option(
        0.0,
        "Share of batches that mixed_video_image cuts to their first frame, 0 to 1.",
        validator=validators.and_(validators.ge(0), validators.le(1)),
    )
    use_real_rec_loss: bool = option(True, "Learn from the pixels: their error and the posterior's divergence.")
    use_z_rec_loss: bool = option(False, "Learn from the spatial latents: their error after the temporal part.")
    use_image_identity_loss: bool = option(False, "Of single frames, draw the latents towards the spatial ones.")
    perceptual_loss_weight: float = option(0.0, "Weight of LPIPS in the error of the pixels.", validator=NOT_NEGATIVE)
    perceptual_weights: list[Path] = option(
        [], "Files that together hold VGG16's features and LPIPS' linear heads; see docs/autoencoders.md."
    )
    kl_loss_weight: float = option(1e-6, "Weight of the divergence in nats per clip.", validator=NOT_NEGATIVE)
    logvar_init: float = option(0.0, "Log of the scale of the error, constant.")
    discriminator: DiscriminatorOptions | None = option(None, "A game with a discriminator; null: none.")
    optimizer: OptimizerOptions = field(factory=OptimizerOptions)
    ema: EmaOptions | None = option(None, "An average of the weights; null keeps none.")
    log: LogOptions = field(factory=LogOptions)
    checkpoint: CheckpointOptions = field(factory=CheckpointOptions)
    evaluate: EvaluationOptions | None = field(factory=EvaluationOptions)

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        if self.max_steps is None and self.epochs is None:
            yield Problem(("max_steps",), "missing", ("say how long to train: max_steps or epochs",))
        yield from self._loss_problems()
        yield from self._mixing_problems()
        yield from self._discriminator_problems()

    def _loss_problems(self) -> Iterator[Problem]:
        losses = (self.use_real_rec_loss, self.use_z_rec_loss, self.use_image_identity_loss)
        if not any(losses):
            hint = "set one of use_real_rec_loss, use_z_rec_loss, use_image_identity_loss"
            yield Problem(("use_real_rec_loss",), "every loss is switched off: there is nothing to learn from", (hint,))
        if self.perceptual_loss_weight > 0 and not self.perceptual_weights:
            text = f"perceptual_loss_weight is {self.perceptual_loss_weight:g}, but no file of weights is named"
            hint = "perceptual_weights: [vgg16-397923af.pth, vgg.pth]; or perceptual_loss_weight: 0"
            yield Problem(("perceptual_weights",), text, (hint,))
        if self.perceptual_weights and self.perceptual_loss_weight == 0:
            yield Problem(("perceptual_weights",), "of no use: perceptual_loss_weight is 0", ("set it above 0",))
        if self.perceptual_loss_weight > 0 and not self.use_real_rec_loss and self.discriminator is None:
            text = "counts for the error of the pixels, which this recipe does not learn from"
            yield Problem(("perceptual_loss_weight",), text, ("set it to 0, or use_real_rec_loss: true",))

    def _mixing_problems(self) -> Iterator[Problem]:
        images = self.mixed_strategy == "mixed_video_image"
        if images and self.mixed_image_ratio == 0:
            yield Problem(("mixed_image_ratio",), "with 0, mixed_video_image cuts no batch", ("say a share above 0",))
        if not images and self.mixed_image_ratio > 0:
            hint = "mixed_strategy: mixed_video_image takes it"
            yield Problem(("mixed_image_ratio",), f"no share of images is taken by {self.mixed_strategy}", (hint,))
        if self.use_image_identity_loss and self.mixed_strategy is None and (self.num_frames or 1) > 1:
            text = f"counts for single frames, but every clip has {self.num_frames}"
            hint = "mix images in: mixed_strategy: mixed_video_image, mixed_image_ratio: 0.2"
            yield Problem(("use_image_identity_loss",), text, (hint,))

    def _discriminator_problems(self) -> Iterator[Problem]:
        critic = self.discriminator
        if critic is None:
            return
        if self.max_steps is not None and critic.start >= self.max_steps:
            text = f"the discriminator would start at step {critic.start}, but training ends after {self.max_steps}"
            yield Problem(("discriminator", "start"), text, ("start it earlier, or set discriminator: null",))
        fewest, side = fewest_frames(critic.n_layers), smallest_side(critic.n_layers)
        if critic.type == "3d" and self.num_frames is not None and self.num_frames < fewest:
            text = f"3d with {critic.n_layers} layers needs clips of {fewest} frames, num_frames is {self.num_frames}"
            yield Problem(("discriminator", "type"), text, ("2d judges single frames; fewer n_layers need fewer",))
        if self.image_size is not None and min(self.image_size) < side:
            rows, columns = self.image_size
            text = f"{critic.n_layers} layers need {side} rows and columns, image_size is {rows}x{columns}"
            yield Problem(("discriminator", "n_layers"), text, ("fewer layers need smaller pictures",))


@frozen(kw_only=True)
class ReconstructRecipe:
    """`job: reconstruct`."""

    seed: int = option(42, "Of a dataset that draws which part of a clip it gives.", validator=NOT_NEGATIVE)
    dtype: Dtype = option("fp32", "Of the forward passes.")
    outputs: Path = option(Path("outputs/run"), "Where results go; outputs/{name of the recipe file} when silent.")
    vae: Selection = section("autoencoder", doc="What encodes and decodes.")
    checkpoint: InputPath | None = option(
        None, "Folder of a train-autoencoder run or checkpoint: gives the weights, and what this recipe leaves out."
    )
    ema: bool = option(True, "Take the averaged weights where there are any.")
    input: InputPath | None = option(None, "Folder of videos and pictures, with its subfolders; or a `dataset`.")
    dataset: Selection | None = section("dataset", doc="Where clips come from, in the place of `input`.", optional=True)
    max_clips: int | None = option(None, "Take so many of the first ones; null: all.", validator=OPTIONAL_COUNT)
    num_frames: int | None = option(
        None, "First frames of each clip; null: all of a file, the checkpoint's when there is one.",
        validator=OPTIONAL_COUNT,
    )  # fmt: skip
    image_size: tuple[int, int] | None = option(
        None, "Rows and columns to scale to and cut from the centre; null: as a file is.", validator=OPTIONAL_SIZE
    )
    frame_interval: int = option(1, "Take every n-th frame of a clip.", validator=AT_LEAST_ONE)
    upscale: int = option(1, "Write clips enlarged this many times, for tiny ones.", validator=AT_LEAST_ONE)
    sheet_clips: int = option(8, "Clips on the contact sheet, evenly spread over all.", validator=NOT_NEGATIVE)
    sheet_frames: int = option(4, "Evenly spaced frames of each on the sheet.", validator=AT_LEAST_ONE)
    parallel: Selection = section("parallel", {"type": "single"}, doc="How devices are used.")
    trackers: list[Selection] = sections("tracker", doc="Where pictures and figures go.")

    @staticmethod
    def inherits(data: Mapping[str, Any], folders: Iterable[Path]) -> tuple[str, dict[str, Any]] | None:
        """What a silent key takes over from the checkpoint's own recipe, and the name of where that was read.

        Raises: UserError, when there is no such checkpoint, or it is of a run that trained no autoencoder; RunError,
        when it is damaged.
        """
        found = SampleRecipe.inherits(data, folders) if isinstance(data.get("checkpoint"), str) else None
        if found is None:
            return None
        name, taken = found
        folder = find_checkpoint(Path(name).parent)
        job = read_state(folder)["recipe"].get("job")
        if job != TRAIN:
            raise UserError(
                f"checkpoint: {folder} is of a run of `job: {job}`, which trains no autoencoder. Give the folder of a "
                f"`job: {TRAIN}` run, or name the autoencoder by `vae:` alone."
            )
        return name, {key: value for key, value in taken.items() if key in INHERITED}

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        if (self.input is None) == (self.dataset is None):
            text = "missing" if self.input is None else "given beside `dataset`"
            yield Problem(("input",), text, ("name one of them: a folder as `input`, or a `dataset`",))
        asked = {"num_frames": self.num_frames, "image_size": self.image_size}
        for key in (key for key, value in asked.items() if value is None and self.dataset is not None):
            yield Problem((key,), "missing", ("a dataset gives clips of the size it is asked for",))


def smallest_side(n_layers: int) -> int:
    """The fewest rows and columns in pixels of which a discriminator makes a logit: 3 are left before the two last
    layers, each of which takes one off."""
    return 3 * 2**n_layers


def fewest_frames(n_layers: int) -> int:
    """The shortest clip of which a discriminator of clips makes a logit: half the frames, and each layer but the first
    takes one off."""
    return 2 * (n_layers + 2)
