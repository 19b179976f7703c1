"""Report: a static page, a loss curve and a contact sheet in the run folder, for looking at a run without any service.

Offers the tracker `report`. Read whenever vidgen starts, so it holds only names and options; the tracker lives in
`vidgen_report.tracker`.
"""

from collections.abc import Iterable

from attrs import frozen, validators
from vidgen import Component, hookimpl, option


@frozen(kw_only=True)
class ReportOptions:
    """Keys allowed beside `type: report`."""

    title: str | None = option(None, "Heading of the page; null takes the name of the run folder.")
    columns: int | None = option(
        None,
        "Columns of the contact sheet, 1 to 8; null chooses them so that the sheet is about as high as wide.",
        validator=validators.optional(validators.and_(validators.ge(1), validators.le(8))),
    )
    frames: int = option(
        8,
        "Evenly spaced frames of a clip on the contact sheet, 1 to 16.",
        validator=validators.and_(validators.ge(1), validators.le(16)),
    )
    max_clips: int = option(
        96,
        "Clips on the contact sheet, 1 or more; the page shows all of them.",
        validator=validators.ge(1),
    )


@hookimpl
def vidgen_trackers() -> Iterable[Component]:
    """The tracker of this plugin."""
    yield Component(
        name="report",
        summary="index.html, loss.png and contact_sheet.png in the run folder",
        options=ReportOptions,
        factory="vidgen_report.tracker:build",
    )
