"""What makes clips of noise and captions: models, encoders, schedulers, and what is put on them.

Letters: B samples, C channels, T H W frames/rows/columns (of latents unless said otherwise), N text tokens, D text
width. Pixels are (B, 3, T, H, W).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from vidgen.context import Size3

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vidgen.rng import Draws


class Model(Protocol):
    """A denoiser. A `torch.nn.Module`.

    latent_channels: C, channels of x. out_channels: of the prediction, C or 2C.
    patch_size: latent (frames, rows, columns) per token.
    text_width: D of y; 0 where y are class numbers (B,), or the model takes none.
    conditioning: the keyword arguments `forward` takes, of: `y` (B, N, D) caption features; `mask` (B, N), 1 where a
        caption token counts, else 0; `x_mask` (B, T) bool, true where a latent frame carries noise, false where x is
        the given one itself; `masked_video` (B, C, T, H, W) latents of the clip with all frames grey but those it is
        shown, and with it `video_mask` (B, S, T, H, W) float, 1 where a frame is to be made, 0 where it is shown, of
        the S = `Autoencoder.stride[0]` video frames in each latent one: in place of `x_mask`, where frames are given
        beside x, all of which carries noise; `drop_caption` (B,)
        bool, true where the caption is to be replaced by the null caption; `valid` (B, T, H, W) bool on the CPU, where
        sizes can be read without waiting for a device, true where a latent belongs to the clip, false where it pads a
        batch of clips of different sizes (each clip begins at the origin of every axis; results at the padding mean
        nothing); `fps`, `height`, `width`, `num_frames`, `ar` (B,) float numbers of the clip in pixels and video
        frames, ar = height / width. The engine supplies what is named and nothing else.
    caption_dropout: how often a caption is dropped in training, 0 to 1; the engine draws it and passes `drop_caption`,
        or, to a model that does not name it, the encoding of the empty text.
    """

    latent_channels: int
    out_channels: int
    patch_size: Size3
    text_width: int
    conditioning: frozenset[str]
    caption_dropout: float

    def forward(self, x: "Tensor", timestep: "Tensor", **conditioning: "Tensor") -> "Tensor":
        """x: noisy latents (B, C, T, H, W); timestep: (B,), in the scheduler's units. Returns the prediction,
        (B, C or 2C, T, H, W): the second half, when there is one, parametrises the variance."""
        ...

    def encode_text(self, conditioning: Mapping[str, "Tensor"]) -> "dict[str, Tensor]":
        """What depends on the captions alone, worked out once for many calls: the conditioning with other entries in
        place of `y` and `drop_caption`. `forward` takes it instead, with equal results. A model that has nothing to
        save returns what it is given."""
        ...

    def null_conditioning(self, conditioning: Mapping[str, "Tensor"]) -> "dict[str, Tensor] | None":
        """The unconditional counterpart for guidance: same keys and shapes, captions replaced by the learned null
        caption. None when the model has none of its own: the encoding of an empty text is used then."""
        ...

    def repeated_blocks(self) -> "Sequence[torch.nn.Module]":
        """The blocks to checkpoint, compile or shard one by one, in order."""
        ...


class TextEncoder(Protocol):
    """Texts to features, or to class numbers. A `torch.nn.Module`.

    width: D of y; 0 where texts become class numbers. max_length: N of y; 1 of class numbers.
    """

    width: int
    max_length: int

    def encode(self, texts: Sequence[str]) -> "dict[str, Tensor]":
        """`y` (B, N, D) floating and `mask` (B, N) int64, 1 for tokens that count; at least one per text, also for
        the empty text. Or `y` (B,) int64 alone, at width 0. A text is encoded alike alone and in a batch. Needs no
        gradient. Raises: UserError, for a text that names no class."""
        ...

    def release(self) -> None:
        """No text is to be encoded for a while: memory may be given up. The next `encode` brings back what it needs."""
        ...


class PromptRefiner(Protocol):
    """People's short prompts to texts like those that a model was trained with.

    Built before anything is sampled, also where nothing is left to sample: what is large is loaded by the first
    `refine`. It chooses its device itself.
    """

    def refine(self, prompts: Sequence[str]) -> list[str]:
        """A text for each prompt, in order, never an empty one. A function of the prompt, the options and the run's
        seed alone: a prompt is refined alike alone and among others. Raises: UserError, RunError."""
        ...

    def release(self) -> None:
        """No prompt is to be refined for a while: memory may be given up. The next `refine` brings back what it
        needs."""
        ...


class Autoencoder(Protocol):
    """Pixels to latents and back. A `torch.nn.Module`.

    latent_channels: C of the latents. stride: video (frames, rows, columns) per latent along each axis.
    chunk: so many video frames at a time are encoded and decoded independently of all others (1: every frame), counted
        from the first one; a last chunk may be shorter. None: a clip is coded as a whole.
    """

    latent_channels: int
    stride: Size3
    chunk: int | None

    def encode(self, video: "Tensor", draws: "Draws | None" = None) -> "Tensor":
        """video: (B, 3, T, H, W) in [-1, 1]. Returns latents (B, C, *latent_size((T, H, W))). A posterior is sampled
        with `draws`; without, its mode is returned. Raises: UserError, where there is a decoder alone."""
        ...

    def decode(self, latents: "Tensor", num_frames: int | None = None) -> "Tensor":
        """Latents to video (B, 3, T, H, W) in about [-1, 1]; `num_frames` is T where latents alone leave it open. Rows
        and columns beyond a multiple of the stride may be missing."""
        ...

    def latent_size(self, video_size: Size3) -> Size3:
        """Pixels (T, H, W) to latent (T, H, W). Raises: UserError for sizes it cannot take, naming the nearest."""
        ...


class Scheduler(Protocol):
    """A diffusion process: what the model learns and how it is sampled.

    prediction_type: `epsilon` (the noise), `sample` (the data), `v_prediction` (arXiv 2202.00512, appendix D),
        `velocity` (data - noise), `flow` (noise - data); recorded in checkpoints, a mismatch is refused. A scheduler of
        another kind invents a word.
    cfg_scale: default guidance scale. num_sampling_steps: default number of steps.
    """

    prediction_type: str
    cfg_scale: float
    num_sampling_steps: int

    def training_losses(
        self,
        model: "Callable[..., Tensor]",
        x: "Tensor",
        conditioning: Mapping[str, "Tensor"],
        *,
        draws: "Draws | None" = None,
        mask: "Tensor | None" = None,
        noise: "Tensor | None" = None,
        t: "Tensor | None" = None,
        valid: "Tensor | None" = None,
        sizes: "Mapping[str, Tensor] | None" = None,
    ) -> "dict[str, Tensor]":
        """x: clean latents (B, C, T, H, W). mask: (B, T) bool, true where a frame is noised and learned; passed on to
        the model as `x_mask`. noise, t: used as given, else drawn from `draws` (purposes `timestep`, then `noise`).
        valid: (B, T, H, W) bool on the CPU, true where a latent is no padding: the loss is the mean over those alone,
        of the sample or, where so published, of the whole batch. It reaches the model with the conditioning, not from
        here.
        sizes: `height`, `width`, `num_frames`, `fps`, `ar` (B,) of the clips in pixels and video frames, whether or not
        the model takes them. Returns `loss` (B,) and whatever parts of it are worth logging, each (B,)."""
        ...

    def sample(
        self,
        model: "Callable[..., Tensor]",
        z: "Tensor",
        conditioning: Mapping[str, "Tensor"],
        null_conditioning: "Mapping[str, Tensor] | None" = None,
        guidance: float | None = None,
        *,
        draws: "Draws | None" = None,
        mask: "Tensor | None" = None,
        steps: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        sizes: "Mapping[str, Tensor] | None" = None,
    ) -> "Tensor":
        """z: standard normal noise (B, C, T, H, W), with given frames in their place where mask < 1. mask: (B, T) in
        [0, 1]: 1 generate, 0 keep, between edit. draws: for the noise of stochastic steps (purpose `step`, step=i).
        progress(i, n) after step i of n. Returns clean latents."""
        ...


class StepCache(Protocol):
    """Work saved between the steps of a sampler: clips that are made faster and are nearly the same."""

    def applied(self, model: Model, steps: int) -> "AbstractContextManager[Callable[[int, int], None]]":
        """A context in which `model` is put to use by a sampler of so many steps. It gives what is to be called with
        (i, n) after step i of n, as a sampler's `progress` is.

        The sampler may call the model several times a step, and with other numbers of rows in other steps. Calls that
        belong together are given the same tensors of conditioning, but for `x_mask`, in every step; nothing may pass
        from one of these sequences to another. The first step is exact. At the end, also after an error, the model is
        as it was before, and nothing is kept. Raises: UserError, for a model that it does not suit."""
        ...


class Adapter(Protocol):
    """A change of a built model that is put on before it is trained or sampled: small layers beside its own that are
    trained instead of them, or other arithmetic. Made anew for each model.

    merges: whether sampling begins with `merge`. pretrained: whether it brings values of its own entries; else they are
        a checkpoint's, or to be trained.

    An adapter may have a method `misfit(kept)`, where kept is what `config` of one in a checkpoint gave. It returns an
    option, and in words what is asked for here and what is there, such as `rank`, `2`, `3`; None where its weights fit.
    Without it, names and sizes of weights alone are compared.
    """

    merges: bool
    pretrained: bool

    def apply(self, model: "torch.nn.Module") -> None:
        """Change a model in place, which has its weights, or none on the meta device. What it adds, and what is to be
        trained with it, requires a gradient afterwards, what is not does not. Random numbers come from torch's global
        generator, whose seed is the run's. Raises: UserError, for a model that it does not suit."""
        ...

    def own_names(self, model: "torch.nn.Module") -> dict[str, str]:
        """Its own entries in the changed model's state dict -> their names in files of this adapter alone. Empty where
        it has none, such as other arithmetic with the same weights."""
        ...

    def config(self) -> "dict[str, Any]":
        """Plain data that is kept beside such a file as `adapter_config.json`."""
        ...

    def merge(self, model: "torch.nn.Module") -> None:
        """Fold it into the model's weights: predictions stay, up to rounding, and names in the state dict are those
        before `apply`. Not while a model is trained."""
        ...
