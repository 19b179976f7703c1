"""The page on bucketers shows configurations that are accepted."""

import re
from pathlib import Path

import pytest
from vidgen.recipe import load_recipe

PAGE = Path(__file__).parents[3] / "docs" / "bucketers.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
RECIPE = """
job: train
max_steps: 3
dataset: {type: moving-shapes}
vae: {type: pixel, patch: [1, 4, 4]}
text_encoder: {type: hashed-words}
model: {type: STDiT3, hidden_size: 24, depth: 2, num_heads: 2}
scheduler: {type: rflow}
"""


@pytest.mark.parametrize("block", [block for block in BLOCKS if "..." not in block])
def test_a_configuration_of_the_page_is_accepted(tmp_path, block):
    if "bucketer:" not in block:
        block = "bucketer:\n  type: bucket\n" + "".join(f"  {line}\n" for line in block.splitlines())
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE + block)
    assert load_recipe(path).job.options.bucketer.type == "bucket"


def test_the_page_has_configurations():
    assert len(BLOCKS) > 4
