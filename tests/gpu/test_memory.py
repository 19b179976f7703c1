"""A memory plan is what a GPU's allocator counts."""

import gc

import attrs
import pytest
import torch
import vidgen
from tiny_run import RECIPE, merged
from vidgen.engine.batch import Batch, Position
from vidgen.engine.features import Features
from vidgen.engine.memory_plan import plan_memory
from vidgen.engine.parts import build_on_meta
from vidgen.engine.train import Training
from vidgen.interfaces import Bucket, Context

MODEL = {"type": "STDiT3", "hidden_size": 576, "depth": 6, "num_heads": 8}


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("policy", ["none", "selective", "full"])
@pytest.mark.parametrize("engine", ["single", "zero2"])
def test_the_plan_is_what_a_gpu_takes(engine: str, policy: str, dtype: str) -> None:
    """Within 25 %, on one GPU."""
    settings = {"model": MODEL, "num_frames": 8, "image_size": [128, 192], "parallel": {"type": engine}, "dtype": dtype}
    recipe = vidgen.load_recipe(merged(RECIPE, {**settings, "grad_checkpoint": policy}))
    job = recipe.registry.build(recipe.job, Context(registry=recipe.registry, recipe=recipe.plain()))
    bucket = Bucket(name="8 frames", num_frames=8, size=(128, 192), batch_size=2)
    plan = plan_memory(job.recipe, build_on_meta(job.recipe, job.context), [bucket], 1)
    measured = peak(Training(job.recipe, attrs.evolve(job.context), None), bucket)
    assert plan.steps[0].peak == pytest.approx(measured, rel=0.25)


def peak(training: Training, bucket: Bucket) -> int:
    """Bytes of the second step, when the optimizer has its state."""
    training.model.train()
    size = (bucket.num_frames, *bucket.size)
    words = "word " * training.parts.text_encoder.max_length
    text = {name: value[0].cpu() for name, value in training.parts.text_encoder.encode([words]).items()}
    vae = training.parts.vae
    features = Features(torch.zeros(vae.latent_channels, *vae.latent_size(size)), text, words, 24.0)
    batch = Batch(
        groups=(),
        sizes=(size,) * bucket.batch_size,
        texts=[words] * bucket.batch_size,
        fps=torch.full((bucket.batch_size,), 24.0),
        rows=tuple(range(bucket.batch_size)),
        epoch=0,
        following=Position(),
        features=dict.fromkeys(range(bucket.batch_size), features),
    )
    training.train_step([batch])
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    training.train_step([batch])
    return torch.cuda.max_memory_allocated()
