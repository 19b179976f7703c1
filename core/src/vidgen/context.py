"""What a factory may know of the run around its component."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen

from vidgen.component import Selection

if TYPE_CHECKING:
    import pluggy

Size3 = tuple[int, int, int]


@frozen(kw_only=True)
class Context:
    """What a factory may know of the run around its component. All fields have neutral defaults: built alone
    (`vidgen.build`), a component falls back on its own documented defaults.

    latent_channels, latent_size, latent_stride: of the autoencoder; (T, H, W) of one latent clip and the pixels per
        latent along each axis. latent_size is None when sizes vary.
    text_width, text_length: of the text encoder.
    out_channels: of the model's prediction; twice the latent channels where it learns a variance.
    tokens: video size (T, H, W) -> tokens the model makes of one such clip; None where no model is known.
    rank, num_ranks: among data-parallel ranks.
    seed: the run's seed. outputs: the run's folder. step: the step a resumed run continues from, else 0.
    recipe: the resolved recipe as plain data.
    dtype: `fp32`, `fp16` or `bf16`, of forward passes.
    load_weights: false in a dry run: build the structure, read no weights.
    num_frames, image_size, frame_interval, batch_size: the recipe's shared keys, pixels (for bucketers and datasets).
    registry: for components that build others (jobs).
    """

    latent_channels: int | None = None
    latent_size: Size3 | None = None
    latent_stride: Size3 | None = None
    text_width: int | None = None
    text_length: int | None = None
    out_channels: int | None = None
    tokens: "Callable[[Size3], int] | None" = None
    rank: int = 0
    num_ranks: int = 1
    seed: int = 0
    outputs: Path | None = None
    step: int = 0
    recipe: Mapping[str, Any] = field(factory=dict)
    dtype: str = "fp32"
    load_weights: bool = True
    num_frames: int | None = None
    image_size: tuple[int, int] | None = None
    frame_interval: int = 1
    batch_size: int | None = None
    registry: "Components | None" = None

    @property
    def components(self) -> "Components":
        """The registry of a job, which is always built with one."""
        assert self.registry is not None, "a job is built with a registry"
        return self.registry


class Components(Protocol):
    """The registry as a job sees it. hooks: through which the run is observed."""

    hooks: "pluggy.PluginManager"

    def build(self, selection: Selection, context: Context) -> Any:
        """Build a chosen component. Raises: RunError, when it cannot be imported; whatever its factory raises."""
        ...

    def versions(self) -> dict[str, str]:
        """Distribution -> version of everything loaded."""
        ...
