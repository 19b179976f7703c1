"""Which of N steps are kept."""

from vidgen.errors import UserError

STRIDE = "ddim"


def kept_steps(num_steps: int, spacing: str) -> list[int]:
    """Numbers, rising, out of 0..num_steps-1. spacing: see `IDDPMOptions.timestep_respacing`; empty keeps all.

    Sections are as even as they can be, first ones longer; both ends of each are kept. Raises: UserError, when more are
    asked for than there are, or no whole stride gives so many.
    """
    if not spacing:
        return list(range(num_steps))
    if spacing.startswith(STRIDE):
        return _strided(num_steps, int(spacing.removeprefix(STRIDE)))
    counts = [int(count) for count in spacing.split(",")]
    size, longer = divmod(num_steps, len(counts))
    kept, start = list[int](), 0
    for section, count in enumerate(counts):
        length = size + (section < longer)
        if count > length:
            raise UserError(
                f"{count} steps cannot be kept of a section of {length} (timestep_respacing {spacing!r}, "
                f"{num_steps} steps in all): ask for 1 to {length}."
            )
        kept += _spread(start, length, count)
        start += length
    return kept


def _strided(num_steps: int, count: int) -> list[int]:
    for stride in range(1, num_steps):
        if len(range(0, num_steps, stride)) == count:
            return list(range(0, num_steps, stride))
    raise UserError(
        f"no whole stride keeps exactly {count} of {num_steps} steps (timestep_respacing 'ddim{count}'): choose "
        f"another number, or {count} without 'ddim'."
    )


def _spread(start: int, length: int, count: int) -> list[int]:
    """Added up, as the published spacing is: products would round otherwise in places."""
    stride = (length - 1) / (count - 1) if count > 1 else 1.0
    kept, at = list[int](), 0.0
    for _ in range(count):
        kept.append(start + round(at))
        at += stride
    return kept
