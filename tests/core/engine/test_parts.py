"""What the recipe puts on a model from outside: attention kernels, compiled and recomputed blocks."""

from pathlib import Path

import pytest
import torch
import vidgen
import yaml
from tiny_run import RECIPE, merged
from vidgen.attention import AttentionLayer, Explicit, Sdpa
from vidgen.engine.parts import Parts, build_parts, shared_context
from vidgen.engine.train import checkpoint_blocks
from vidgen.interfaces import Context


def parts_of(tmp_path: Path, **changes: object) -> Parts:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(merged(RECIPE, changes)))
    recipe = vidgen.load_recipe(tmp_path / "r.yaml")
    return build_parts(recipe.job.options, shared_context(recipe.job.options, Context(registry=recipe.registry)))


def gradients(parts: Parts) -> list[torch.Tensor]:
    """Of one prediction; weights moved off their start values, alike for the same seed."""
    torch.manual_seed(0)
    model, width = parts.model.eval(), parts.text_encoder.width
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(0.1 * torch.randn_like(value))
    x = torch.randn(2, model.latent_channels, *parts.latent_size)
    model(x, torch.tensor([3.0, 700.0]), torch.randn(2, 5, width), torch.ones(2, 5)).square().mean().backward()
    return [value.grad for value in model.parameters() if value.grad is not None]


@pytest.mark.parametrize(("name", "backend"), [("sdpa", Sdpa), ("explicit", Explicit)])
def test_every_layer_gets_the_recipes_kernels(tmp_path: Path, name: str, backend: type):
    parts = parts_of(tmp_path, **{"attention.type": name})
    layers = [one for one in parts.model.modules() if isinstance(one, AttentionLayer)]
    assert len(layers) == 3 and all(type(one.backend) is backend for one in layers)


def test_compiled_and_recomputed_blocks_give_the_same_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Traced as for any backend, but not turned into machine code, which would take half a minute."""
    compiled: list[object] = []
    compiling = torch.compile

    def eager(function: object) -> object:
        compiled.append(function)
        return compiling(function, backend="aot_eager", fullgraph=True)

    plain = gradients(parts_of(tmp_path))
    monkeypatch.setattr(torch, "compile", eager)
    parts = parts_of(tmp_path, compile=True)
    assert len(compiled) == len(parts.model.repeated_blocks())
    names = list(parts.model.state_dict())
    torch.testing.assert_close(gradients(parts), plain)
    checkpoint_blocks(parts.model)
    torch.testing.assert_close(gradients(parts), plain)
    assert list(parts.model.state_dict()) == names
