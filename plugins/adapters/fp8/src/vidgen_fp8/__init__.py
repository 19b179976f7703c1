"""Linear layers in 8-bit floating point (arXiv 2209.05433), by torchao.

Offers the adapter `fp8`. Read whenever vidgen starts, so it holds only names and options; the adapter lives in
`vidgen_fp8.adapter`.
"""

from collections.abc import Iterable
from typing import Literal

from attrs import frozen
from attrs.validators import ge, min_len, optional
from vidgen import Component, hookimpl, option


@frozen(kw_only=True)
class Fp8Options:
    """Keys allowed beside `type: fp8`."""

    recipe: Literal["tensorwise", "rowwise", "rowwise_with_gw_hp"] = option(
        "tensorwise", "Which numbers share a scale, as torchao calls it: the first is the fastest, the last most exact."
    )
    targets: list[str] | None = option(
        None,
        "Patterns of the names of linear layers; null: all inside the model's repeated blocks.",
        validator=optional(min_len(1)),
    )
    min_features: int = option(
        512, "Layers with fewer inputs or outputs are left alone: it gains nothing there.", validator=ge(16)
    )
    emulate: bool = option(False, "The same rounding on any device, slowly; to try what it does to a model.")


@hookimpl
def vidgen_adapters() -> Iterable[Component]:
    """List the adapters of this plugin."""
    yield Component(
        name="fp8",
        summary="Linear layers that multiply in 8-bit floating point (torchao); weights stay as they are.",
        options=Fp8Options,
        factory="vidgen_fp8.adapter:build",
    )
