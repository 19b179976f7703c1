"""FlashAttention (arXiv 2307.08691): exact attention whose scores never reach memory, also for packed sequences.

Offers the attention backend `flash-attn`. Read whenever vidgen starts, so it holds only names and options; the backend
lives in `vidgen_flash_attn.backend`.
"""

from collections.abc import Iterable

from attrs import frozen
from vidgen import Component, hookimpl, option


@frozen(kw_only=True)
class FlashAttnOptions:
    """Keys allowed beside `type: flash-attn`."""

    required: bool = option(
        False, "Refuse to start where the kernels cannot be used, instead of taking torch's own with a line in the log."
    )


@hookimpl
def vidgen_attention() -> Iterable[Component]:
    """List the attention backends of this plugin."""
    yield Component(
        name="flash-attn",
        summary="FlashAttention 2 kernels where installed, on NVIDIA GPUs in fp16 or bf16; torch's own elsewhere.",
        options=FlashAttnOptions,
        factory="vidgen_flash_attn.backend:build",
    )
