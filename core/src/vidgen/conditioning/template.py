"""Words around every prompt, such as those that a model's training captions had: `high quality, high aesthetic, {}`."""

PLACE = "{}"


def with_template(text: str, template: str | None) -> str:
    """The template with the text in its place; None is the text alone. Other braces stay as they are."""
    return text if template is None else template.replace(PLACE, text)


def check_template(template: str) -> None:
    """Raises: ValueError, where there is not exactly one place for a text."""
    if template.count(PLACE) != 1:
        raise ValueError(
            f"expected words around one {PLACE}, in place of which a prompt's text stands, such as "
            f"'high quality, {PLACE}', got {template!r}"
        )
