"""What `vidgen show` says of a model: counted on the meta device, checked by hand."""

from pathlib import Path
from typing import Any

import pytest
from vidgen.engine.anatomy import CAPTION_TOKENS, LATENT_SIZE, Anatomy, dissect
from vidgen.recipe.structure import Structurer
from vidgen.registry import Registry


def dissected(**options: Any) -> Anatomy:
    registry = Registry.discover()
    return dissect(registry, Structurer(registry, Path()).selection("model", options))


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return dissected(type="STDiT", hidden_size=24, depth=3, num_heads=2, caption_channels=10)


UNEQUAL: dict[str, dict[str, Any]] = {
    "attend alike": {"type": "STDiT", "hidden_size": 24, "depth": 3, "num_heads": 2},
    "attend within sub-sequences from the third on": {
        **{"type": "OpenSoraInpaint_v1_3", "num_layers": 4, "num_attention_heads": 2, "attention_head_dim": 12},
        **{"cross_attention_dim": 24, "caption_channels": 10},
    },
    "compress keys in the second": {
        **{"type": "PixArt_Sigma", "hidden_size": 24, "depth": 3, "num_heads": 2},
        "kv_compress_config": {"sampling": "conv", "scale_factor": 2, "kv_compress_layer": [1]},
    },
}


@pytest.mark.parametrize("blocks", UNEQUAL)
def test_parts_add_up(blocks: str) -> None:
    """Also where blocks differ."""
    anatomy = dissected(**UNEQUAL[blocks])
    top = [part for part in anatomy.parts if part.depth == 0]
    assert sum(part.parameters for part in top) == anatomy.parameters
    assert sum(part.flops for part in top) == pytest.approx(anatomy.flops)
    inside = [part for part in anatomy.parts if part.depth == 1]
    listed = next(part for part in top if part.name.endswith("blocks"))
    assert listed.count == UNEQUAL[blocks].get("depth", UNEQUAL[blocks].get("num_layers"))
    assert sum(part.parameters for part in inside) == listed.parameters
    assert sum(part.flops for part in inside) == pytest.approx(listed.flops)


def test_a_model_that_may_be_shown_frames_is_counted_with_none() -> None:
    """It then does what a model of text does, and embeds what is not there."""
    options = UNEQUAL["attend within sub-sequences from the third on"]
    inpaint, of_text = dissected(**options), dissected(**{**options, "type": "OpenSoraT2V_v1_3"})
    shown = [part for part in inpaint.parts if part.name in ("pos_embed_masked_hidden_states", "pos_embed_mask")]
    assert len(shown) == 2 and all(part.flops > 0 for part in shown)
    assert inpaint.flops - sum(part.flops for part in shown) == pytest.approx(of_text.flops)


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
