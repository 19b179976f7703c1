"""What a sampling run is asked for: each clip with its texts, its size, the frames it is given, and its file."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from attrs import evolve, frozen

from vidgen import aspect
from vidgen.conditioning.names import safe_name, save_name
from vidgen.conditioning.prompt_files import read_prompts
from vidgen.conditioning.prompts import Prompt
from vidgen.conditioning.schedule import change_texts, check_schedule, split_schedule, text_of_loop
from vidgen.conditioning.scores import with_scores
from vidgen.conditioning.strategy import Given, check_loops, parse_strategy
from vidgen.conditioning.template import with_template
from vidgen.engine.reference_files import ReferenceFiles
from vidgen.errors import UserError
from vidgen.interfaces import Size3
from vidgen.recipe.schema import SampleOptions, SharedRecipe
from vidgen.rng import Address

GRID = "grid"
"""Name of the file with all samples."""


@frozen(kw_only=True)
class Task:
    """One sample to make.

    prompt: as asked for. texts: what the text encoder reads, one for each loop, unless they were `refined`, which are
    then read instead. path: without suffix. seed, address: of its random numbers, which do not depend on what else is
    sampled. size: video (T, H, W) of one loop. fps: told to the model. save_fps: of the file. references: files and
    addresses. given: which of their frames go where.
    """

    prompt: str
    texts: tuple[str, ...]
    negative: str | None
    path: Path
    seed: int
    address: Address
    size: Size3
    fps: float
    save_fps: float
    references: tuple[str, ...] = ()
    given: tuple[Given, ...] = ()
    refined: tuple[str, ...] = ()

    @property
    def encoded(self) -> tuple[str, ...]:
        """What the text encoder reads, one for each loop."""
        return self.refined or self.texts

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name what makes this sample what it is, beside the run's settings; these say
        how texts are refined."""
        about = (self.texts, self.negative, self.address, self.size, self.fps, self.references, self.given)
        return blake2b(repr(about).encode(), digest_size=6).hexdigest()

    def alike(self, other: "Task") -> bool:
        """Whether both can be made in one batch."""
        return (self.size, len(self.texts), self.negative is None) == (
            other.size,
            len(other.texts),
            other.negative is None,
        )


def plan(options: SampleOptions, recipe: SharedRecipe, folder: Path) -> list[Task]:
    """Every sample asked for. Raises: UserError, when there is no prompt, or a wrong one; RunError, when the reference
    that says a sample's shape cannot be read."""
    prompts, files = all_prompts(options), ReferenceFiles.of(options)
    times: Counter[str] = Counter()
    tasks: list[Task] = []
    for index, prompt in enumerate(prompts, start=options.start_index):
        try:
            task = _task(options, recipe, prompt, files=files)
        except UserError as error:
            raise UserError(f"prompt {index}: {error}") from None
        for repeat in range(options.num_samples):
            name = _name(options, task, index, repeat)
            address = (task.prompt, times[task.prompt])
            tasks.append(evolve(task, path=folder / name, address=address))
            times[task.prompt] += 1
    _check_names(tasks)
    if options.grid is not None and any(task.path.name == GRID for task in tasks):
        raise UserError(
            f"a sample would be called {GRID!r}, which is the grid's name: give it another, or set grid: null"
        )
    return tasks


def all_prompts(options: SampleOptions) -> list[Prompt]:
    """Prompts of the recipe, then those of the prompt file, from `start_index` to before `end_index`; with the recipe's
    references and strategies, each for the prompt at its place. Raises: UserError."""
    prompts = [Prompt(text=text) for text in options.prompts]
    prompts += read_prompts(options.prompt_path) if options.prompt_path else []
    for name in ("reference_path", "mask_strategy"):
        given = getattr(options, name)
        if len(given) > len(prompts):
            raise UserError(
                f"{name}: {len(given)} of them, but only {len(prompts)} prompts; use an empty text for none"
            )
        for place, value in enumerate(given):
            if getattr(prompts[place], name) is None:
                prompts[place] = evolve(prompts[place], **{name: value})
    chosen = prompts[options.start_index : options.end_index]
    if not chosen:
        raise UserError(_none_chosen(options, len(prompts)))
    return chosen


def _none_chosen(options: SampleOptions, count: int) -> str:
    if not count:
        return f"no prompts: {options.prompt_path or 'prompts is empty'}"
    end = "" if options.end_index is None else f" and end_index {options.end_index}"
    return f"no prompts: with start_index {options.start_index}{end} none of {count} is left; they are counted from 0"


def clip_size(
    options: SampleOptions,
    recipe: SharedRecipe,
    prompt: Prompt | None = None,
    *,
    files: ReferenceFiles | None = None,
) -> Size3:
    """Video (frames, rows, columns). What a prompt says counts before the options, those before the recipe; each of
    them says a size, or a resolution with an aspect ratio.

    prompt: without its suffix; None: any, without references of its own. files: that were looked at before.
    Raises: UserError, when sizes are said nowhere or unknown; RunError, for a reference that cannot be read.
    """
    prompt, files = prompt or Prompt(text=""), files or ReferenceFiles.of(options)
    frames = prompt.num_frames or options.num_frames or recipe.num_frames
    size = prompt.image_size or _named_size(options, prompt, files) or options.image_size or recipe.image_size
    if frames is None or size is None:
        raise UserError(
            "say num_frames and image_size (or resolution and aspect_ratio), for the samples or the whole recipe"
        )
    return (aspect.num_frames(frames), *size)


def _named_size(options: SampleOptions, prompt: Prompt, files: ReferenceFiles) -> tuple[int, int] | None:
    resolution, ratio = prompt.resolution or options.resolution, prompt.aspect_ratio or options.aspect_ratio
    if resolution is None and ratio is None:
        return None
    if resolution is None or ratio is None:
        missing = "aspect_ratio, such as 9:16" if ratio is None else "resolution, such as 240p"
        raise UserError(f"resolution and aspect_ratio go together: {missing}, is missing")
    if ratio == aspect.REFERENCE:
        return aspect.resolution(resolution).closest_size(*files.size(_first_reference(options, prompt)))
    return aspect.image_size(resolution, ratio)


def _first_reference(options: SampleOptions, prompt: Prompt) -> str:
    """Of what a sample is given: the prompt's own, then those of conditions."""
    named = (condition.image or condition.video for condition in options.conditions)
    name = next((name for name in (*prompt.references, *named) if name), None)
    if name is None:
        raise UserError(
            f"aspect_ratio: {aspect.REFERENCE} is the shape of the first picture or video that a sample is given, and "
            "this one is given none\n    give it a reference_path or conditions, or name a ratio such as 9:16"
        )
    return name


def _task(options: SampleOptions, recipe: SharedRecipe, prompt: Prompt, *, files: ReferenceFiles) -> Task:
    """Without its place among the others."""
    said, prompt = prompt.text, prompt.with_suffix()
    given = parse_strategy(prompt.mask_strategy, options.mask_strategy_format)
    check_loops(given, options.loop)
    check_schedule(prompt.text, options.loop)
    fps = (prompt.fps or options.fps or recipe.fps) / recipe.frame_interval
    return Task(
        prompt=said,
        texts=encoded_texts(prompt.text, options, lambda text: text),
        negative=options.negative_prompt if prompt.negative_prompt is None else prompt.negative_prompt,
        path=Path(prompt.name or ""),
        seed=recipe.seed if prompt.seed is None else prompt.seed,
        address=(),
        size=clip_size(options, recipe, prompt, files=files),
        fps=fps,
        save_fps=options.save_fps or fps,
        references=prompt.references,
        given=tuple(given),
    )


def encoded_texts(prompt: str, options: SampleOptions, refine: Callable[[str], str]) -> tuple[str, ...]:
    """Of a prompt without its suffix what the text encoder reads, one for each loop: each text of a schedule refined,
    in the template, with the scores behind it. Raises: UserError, for a schedule that is none."""
    written = [_written(refine(text), options) for text in split_schedule(prompt)[0]]
    places = iter(range(len(written)))
    numbers = change_texts(prompt, lambda _: str(next(places)))  # for what is written may look like a schedule
    return tuple(written[int(text_of_loop(numbers, loop))] for loop in range(options.loop))


def _written(text: str, options: SampleOptions) -> str:
    text = with_template(text, options.prompt_template)
    return with_scores(text, aes=options.aes, flow=options.flow, camera_motion=options.camera_motion)


def _name(options: SampleOptions, task: Task, index: int, repeat: int) -> str:
    if str(task.path) not in ("", "."):
        name = safe_name(str(task.path))
        return f"{name}-{repeat}" if options.num_samples > 1 else name
    return save_name(
        index,
        sample_name=options.sample_name,
        prompt=Prompt(text=task.prompt).with_suffix().text,
        prompt_as_path=options.prompt_as_path,
        num_samples=options.num_samples,
        repeat=repeat,
    )


def _check_names(tasks: Sequence[Task]) -> None:
    names = Counter(task.path.name for task in tasks)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise UserError(
            f"{names[twice]} samples would be called {twice!r}: give each prompt once, or names of their own, or leave "
            "prompt_as_path out"
        )


def batches(tasks: Sequence[Task], batch_size: int) -> Iterator[list[Task]]:
    """Tasks that follow each other and can be made together, at most so many at once."""
    batch: list[Task] = []
    for task in tasks:
        if batch and (len(batch) == batch_size or not task.alike(batch[0])):
            yield batch
            batch = []
        batch.append(task)
    if batch:
        yield batch
