"""A model without a null caption learns what the encoding of the empty text is instead."""

from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from tiny_run import RECIPE, merged
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
    changes = {"model": {**MODEL, "class_dropout_prob": share}, "scheduler": {"type": "euler-ancestral"}}
    recipe = vidgen.load_recipe(merged(RECIPE, {**changes, "outputs": str(tmp_path)}))
    job = recipe.registry.build(recipe.job, Context(registry=recipe.registry, recipe=recipe.plain()))
    training = Training(job.recipe, job.context, None)
    seen: list[dict[str, Any]] = []
    training.model.register_forward_pre_hook(lambda _, args, given: seen.append(given), with_kwargs=True)
    training.losses(batch_of(CAPTIONS))
    with torch.no_grad():
        wanted = training.parts.text_encoder.encode(["", ""] if share else CAPTIONS)
    torch.testing.assert_close(seen[0]["y"], wanted["y"])
    torch.testing.assert_close(seen[0]["mask"], wanted["mask"])


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
