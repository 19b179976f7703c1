"""How a picture of one size becomes one of another: scale until it covers, cut the centre."""

from attrs import frozen

Size = tuple[int, int]


@frozen
class Fit:
    """Scale a picture to `scaled` (rows, columns), then cut `size` out of it at row `top` and column `left`."""

    scaled: Size
    top: int
    left: int
    size: Size


def cover(source: Size, size: Size) -> Fit:
    """The fit that fills `size` (rows, columns) wholly, keeps the ratio of `source` and loses the least, evenly from
    both sides."""
    scale = max(size[0] / source[0], size[1] / source[1])
    rows, columns = (max(round(old * scale), new) for old, new in zip(source, size, strict=True))
    return Fit((rows, columns), round((rows - size[0]) / 2), round((columns - size[1]) / 2), size)
