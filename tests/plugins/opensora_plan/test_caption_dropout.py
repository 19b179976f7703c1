"""A model without a null caption learns what the encoding of the empty text is instead."""

from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from tiny_run import RECIPE, merged
from vidgen import UserError
from vidgen.engine.batch import Batch, Group, Position
from vidgen.engine.train import Training
from vidgen.interfaces import Context

MODEL = {
    "type": "OpenSoraT2V_v1_3",
    "num_layers": 2,
    "num_attention_heads": 2,
    "attention_head_dim": 6,
    "cross_attention_dim": 12,
}
CAPTIONS = ["a red circle", "a blue square moving up"]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_dropped_captions_are_the_empty_text(tmp_path: Path, share: float) -> None:
    training, seen = recorded(tmp_path, share)
    training.losses(batch_of(CAPTIONS))
    with torch.no_grad():
        wanted = training.parts.text_encoder.encode(["", ""] if share else CAPTIONS)
    torch.testing.assert_close(seen[0]["y"], wanted["y"])
    torch.testing.assert_close(seen[0]["mask"], wanted["mask"])


def test_dropped_captions_are_one_of_the_texts_for_them(tmp_path: Path) -> None:
    training, seen = recorded(tmp_path, 0.5, dropped_captions=["", "anything at all"])
    training.losses(batch_of(["a red circle"] * 60))
    with torch.no_grad():
        texts = training.parts.text_encoder.encode(["a red circle", "", "anything at all"])["y"]
    which = [[bool(torch.equal(one, text)) for text in texts] for one in seen[0]["y"]]
    kept, empty, other = (sum(column) for column in zip(*which, strict=True))
    assert kept + empty + other == 60 and min(empty, other) > 5 and kept > 15


def test_a_model_with_a_null_caption_has_no_texts_for_dropped_ones(tmp_path: Path) -> None:
    recipe = merged(RECIPE, {"dropped_captions": ["", "anything"], "outputs": str(tmp_path)})
    with pytest.raises(UserError, match="dropped_captions: STDiT has a null caption of its own"):
        vidgen.run(vidgen.load_recipe(recipe))


def recorded(outputs: Path, share: float, **more: Any) -> tuple[Training, list[dict[str, Any]]]:
    """A training, and what its model is told from now on."""
    changes = {"model": {**MODEL, "class_dropout_prob": share}, "scheduler": {"type": "euler-ancestral"}, **more}
    recipe = vidgen.load_recipe(merged(RECIPE, {**changes, "outputs": str(outputs)}))
    job = recipe.registry.build(recipe.job, Context(registry=recipe.registry, recipe=recipe.plain()))
    training = Training(job.recipe, job.context, None)
    seen: list[dict[str, Any]] = []
    training.model.register_forward_pre_hook(lambda _, args, given: seen.append(given), with_kwargs=True)
    return training, seen


def batch_of(texts: list[str]) -> Batch:
    video = torch.randint(256, (len(texts), 3, 2, 8, 16), dtype=torch.uint8)
    return Batch(
        groups=(Group(tuple(range(len(texts))), video),),
        sizes=((2, 8, 16),) * len(texts),
        texts=texts,
        fps=torch.full((len(texts),), 8.0),
        rows=tuple(range(len(texts))),
        epoch=0,
        following=Position(0, 1),
    )
