"""What samples are made of items: lengths, rates and sizes, as the options and the run around them say."""

from attrs import frozen
from vidgen.errors import UserError
from vidgen.interfaces import Context

from vidgen_opensora_plan_data import OpenSoraPlanDataOptions
from vidgen_opensora_plan_data.frames import least_usable, usable_frames

NUM_FRAMES, MAX_HEIGHT, MAX_WIDTH, STRIDE_T = 65, 320, 240, 4  # where neither options nor recipe say


@frozen(kw_only=True)
class Rules:
    """The options of the same names, filled in. max_hxw is None only where the resolution is forced."""

    num_frames: int
    train_fps: float
    drop_short_ratio: float
    speed_factor: float
    max_height: int
    max_width: int
    hw_stride: int
    force_resolution: bool
    max_hxw: int | None
    min_hxw: int | None
    sp_size: int
    total_batch_size: int
    ae_stride_t: int
    video_endings: tuple[str, ...] = (".mp4",)
    image_endings: tuple[str, ...] = (".jpg",)

    @property
    def areas(self) -> tuple[int, int]:
        """Smallest and largest area of a sample in pixels, where the resolution is not forced."""
        assert self.max_hxw is not None, "checked before"
        return self.max_hxw // 4 if self.min_hxw is None else self.min_hxw, self.max_hxw


def check(rules: Rules) -> None:
    """Raises: UserError, for rules that no sample can be made by."""
    if not rules.force_resolution and rules.max_hxw is None:
        raise UserError(
            "dataset: how large samples are is left open. Set `max_hxw` (the largest area, such as 262144), or "
            "`max_height`, `max_width`, `min_height` and `min_width`, or `force_resolution: true` for one size."
        )
    if rules.speed_factor < 1:
        raise UserError(f"dataset.speed_factor: {rules.speed_factor} slows clips down; it must be at least 1.")


def check_length(rules: Rules) -> None:
    """Raises: UserError, where every clip has to have num_frames and none can."""
    usable = int(usable_frames(rules.num_frames, rules.ae_stride_t, rules.sp_size))
    if rules.drop_short_ratio < 1 or usable == rules.num_frames or rules.num_frames == 1:
        return
    step = rules.ae_stride_t * rules.sp_size
    first = usable or least_usable(rules.ae_stride_t, rules.sp_size)
    raise UserError(
        f"dataset.num_frames: no clip can have {rules.num_frames} frames: with {rules.ae_stride_t} frames to a latent "
        f"frame and sp_size {rules.sp_size} clips have {first}, {first + step}, {first + 2 * step}, ... frames. "
        "Choose one of these, or 1 for images alone, or let clips be shorter with `drop_short_ratio` below 1."
    )


def make_rules(options: OpenSoraPlanDataOptions, context: Context) -> Rules:
    """The options with what they leave to the recipe and to the autoencoder. Raises: UserError."""
    height, width = context.image_size or (MAX_HEIGHT, MAX_WIDTH)
    height, width = options.max_height or height, options.max_width or width
    stride = context.latent_stride[0] if context.latent_stride else STRIDE_T
    total = (context.batch_size or 1) * context.num_ranks * int(context.recipe.get("accumulation_steps", 1))
    max_hxw, min_hxw = options.max_hxw, options.min_hxw
    if max_hxw is None and options.min_height and options.min_width:
        max_hxw, min_hxw = height * width, min_hxw or options.min_height * options.min_width
    rules = Rules(
        num_frames=options.num_frames or context.num_frames or NUM_FRAMES,
        train_fps=options.train_fps,
        drop_short_ratio=options.drop_short_ratio,
        speed_factor=options.speed_factor,
        max_height=height,
        max_width=width,
        hw_stride=options.hw_stride,
        force_resolution=options.force_resolution,
        max_hxw=max_hxw,
        min_hxw=min_hxw,
        sp_size=options.sp_size,
        total_batch_size=total if options.total_batch_size is None else options.total_batch_size,
        ae_stride_t=options.ae_stride_t or stride,
        video_endings=tuple(options.video_endings),
        image_endings=tuple(options.image_endings),
    )
    check(rules)
    check_length(rules)
    return rules
