"""A prompt with what may be said of it alone.

The order in which a prompt becomes what a text encoder reads: `with_suffix`; the file's name from what is left; then
for each text of its schedule (`schedule.change_texts`) refining, `template.with_template`, `scores.with_scores` and
cleaning; last, in every loop, `schedule.text_of_loop`.
"""

from attrs import evolve, frozen

from vidgen.conditioning.suffix import split_suffix
from vidgen.errors import UserError


@frozen(kw_only=True)
class Prompt:
    """One thing to sample; what is None is taken from the recipe.

    text: may be a schedule. negative_prompt: what to steer away from. seed: of its random numbers. num_frames: video
    frames, or a duration such as `4s`. image_size: (rows, columns) in pixels. resolution, aspect_ratio: the same by
    name; the ratio also `reference`, that of the first reference. fps: told to the model. reference_path: files and
    addresses joined with `;`. mask_strategy: which of their frames go where. name: of the file.
    """

    text: str
    negative_prompt: str | None = None
    seed: int | None = None
    num_frames: int | str | None = None
    image_size: tuple[int, int] | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    fps: float | None = None
    reference_path: str | None = None
    mask_strategy: str | None = None
    name: str | None = None

    def with_suffix(self) -> "Prompt":
        """The same with the JSON behind its text taken off and read; what stands there replaces what was said before.

        Raises: UserError, pointing at the character that is wrong.
        """
        text, suffix = split_suffix(self.text)
        return evolve(self, text=text, **suffix)

    @property
    def references(self) -> tuple[str, ...]:
        """Files and addresses one by one. Raises: UserError, for an empty one."""
        return split_references(self.reference_path)


def split_references(path: str | None) -> tuple[str, ...]:
    """Files and addresses joined with `;`, one by one, without blanks around them; none for null or an empty text.

    Raises: UserError, for an empty one among them.
    """
    if not path:
        return ()
    names = tuple(name.strip() for name in path.split(";"))
    if not all(names):
        raise UserError(f"reference_path: {path!r} has an empty name; give names joined with ';', none at the end")
    return names
