"""What `vidgen show` says of a model: counted on the meta device, checked by hand."""

from pathlib import Path

import pytest
from vidgen.engine.anatomy import CAPTION_TOKENS, LATENT_SIZE, dissect
from vidgen.recipe.structure import Structurer
from vidgen.registry import Registry


@pytest.fixture(scope="module")
def anatomy():
    registry = Registry.discover()
    options = {"type": "STDiT", "hidden_size": 24, "depth": 3, "num_heads": 2, "caption_channels": 10}
    return dissect(registry, Structurer(registry, Path()).selection("model", options))


def test_parts_add_up(anatomy):
    top = [part for part in anatomy.parts if part.depth == 0]
    assert sum(part.parameters for part in top) == anatomy.parameters
    assert sum(part.flops for part in top) == pytest.approx(anatomy.flops)
    inside = [part for part in anatomy.parts if part.depth == 1]
    blocks = next(part for part in top if part.name == "blocks")
    assert blocks.count == 3
    assert sum(part.parameters for part in inside) == blocks.parameters
    assert sum(part.flops for part in inside) == pytest.approx(blocks.flops)


def test_parameters_and_operations_are_those_of_the_formulas(anatomy):
    """An MLP of width D: 8 D^2 + 5 D parameters and 16 D^2 operations a token; attention over n keys: 8 D^2 + 4 n D."""
    width, tokens, frame = 24, 16 * 16 * 16, 16 * 16
    parts = {part.name: part for part in anatomy.parts}
    assert anatomy.tokens == tokens and anatomy.latent_size == LATENT_SIZE
    assert parts["mlp"].parameters == 3 * (8 * width**2 + 5 * width)
    assert parts["mlp"].flops == pytest.approx(3 * 16 * width**2)
    assert parts["attn"].flops == pytest.approx(3 * (8 * width**2 + 4 * frame * width))
    assert parts["attn_temp"].flops == pytest.approx(3 * (8 * width**2 + 4 * 16 * width))
    caption = 2 * width * 2 * width * CAPTION_TOKENS / tokens  # keys and values
    assert parts["cross_attn"].flops == pytest.approx(3 * (4 * width**2 + 4 * CAPTION_TOKENS * width + caption))
    assert parts["tables"].parameters == 3 * 6 * width
