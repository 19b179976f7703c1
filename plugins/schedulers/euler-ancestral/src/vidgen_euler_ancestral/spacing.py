"""Which steps of the whole process a sampler or a rank takes; counted in whole numbers, where those are meant.

Letters: N steps of the whole process, 0 (data) to N - 1 (noise).
"""


def timesteps(spacing: str, steps: int, total: int, offset: int = 0) -> list[float]:
    """Falling times of a sampler with so many steps. `trailing` begins with N - 1, `leading` ends with `offset`,
    `linspace` does both (0), with fractions. Source: arXiv 2305.08891, table 2."""
    if spacing == "trailing":
        return [float(rounded(total * (steps - k), steps) - 1) for k in range(steps)]
    if spacing == "leading":
        return [float(k * (total // steps) + offset) for k in reversed(range(steps))]
    return [(total - 1) * (steps - 1 - k) / (steps - 1) for k in range(steps)] if steps > 1 else [float(total - 1)]


def bounds(rank: int, ranks: int, total: int) -> tuple[int, int]:
    """First and last time that a rank draws in training, its share of the whole; all, where there are more ranks."""
    if ranks > total:
        return 0, total - 1
    return max(0, rounded(total * rank, ranks)), min(rounded(total * (rank + 1), ranks) - 1, total - 1)


def rounded(dividend: int, divisor: int) -> int:
    """The nearest whole number to dividend / divisor, an even one where two are as near."""
    whole, rest = divmod(dividend, divisor)
    return whole + (2 * rest > divisor or (2 * rest == divisor and whole % 2 == 1))
