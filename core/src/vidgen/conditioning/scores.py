"""What Open-Sora 1.2's models were told behind a caption: how beautiful, how lively, how the camera moves."""


def with_scores(
    text: str, *, aes: float | None = None, flow: float | None = None, camera_motion: str | None = None
) -> str:
    """The text with those of the scores that are given and of which it does not speak already.

    aes: aesthetic score, about 4 to 7. flow: of motion, 0 is none; both with one decimal. camera_motion: in words,
    such as `pan left`.
    """
    told = {
        "aesthetic score:": None if aes is None else f"{aes:.1f}",
        "motion score:": None if flow is None else f"{flow:.1f}",
        "camera motion:": camera_motion,
    }
    return text + "".join(f" {name} {value}." for name, value in told.items() if value is not None and name not in text)
