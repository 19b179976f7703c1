"""The encoders: the image autoencoder against diffusers' plain call, and captions of many lengths against padding all.

Networks have random weights: what they cost is the same.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vidgen import build
from vidgen.rng import torch_generator

from vidgen_bench.comparison import Alternatives, Comparison, seconds

SIDE = 128
FRAMES = 2
SD = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
CAPTIONS, LENGTH, BATCH = 96, 120, 32
T5: dict[str, Any] = {"vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8, "num_heads": 6}


def comparisons() -> Iterator[Comparison]:
    """All of them, in the order of the documentation."""
    for what in ("encode", "decode"):
        yield _autoencoder(what, "fp32", "diffusers", 1.0, 1e-4)
    for what in ("encode", "decode"):
        yield _autoencoder(what, "bf16", "ours in float32", 2.0, 0.2)
    yield Comparison(
        name=f"T5 of 30 M parameters, {CAPTIONS} captions",
        against=f"padded to {LENGTH}",
        goal=2.0,
        prepare=_captions,
        measure=seconds,
        tolerance=1e-3,
    )


def _autoencoder(what: str, dtype: str, against: str, goal: float, tolerance: float) -> Comparison:
    return Comparison(
        name=f"autoencoder of SD, {what} {FRAMES} frames of {SIDE}x{SIDE}, {dtype}",
        against=against,
        goal=goal,
        prepare=partial(_frames, what, dtype),
        measure=seconds,
        tolerance=tolerance,
    )


def _frames(what: str, dtype: str) -> Alternatives:
    """In half precision against our own in float32, else against diffusers', one frame at a time."""
    vae = _vae()
    shape = (1, 3, FRAMES, SIDE, SIDE) if what == "encode" else (1, 4, FRAMES, SIDE // 8, SIDE // 8)
    x = torch.randn(shape, generator=torch_generator(0, "bench"))
    ours: Callable[[], Tensor] = partial(_call, _vae(dtype) if dtype != "fp32" else vae, what, x)
    theirs = partial(_call, vae, what, x) if dtype != "fp32" else partial(_plain, vae, what, x)

    def difference() -> float:
        made, wanted = ours(), theirs()
        return float((made - wanted).abs().max() / wanted.abs().max())

    return Alternatives(ours=ours, theirs=theirs, difference=difference)


@cache
def _vae(dtype: str = "fp32") -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build("autoencoder", "VideoAutoencoderKL", config=SD, dtype=dtype, micro_batch_size=1).eval()


@torch.no_grad()
def _call(vae: Any, what: str, x: Tensor) -> Tensor:
    return vae.encode(x) if what == "encode" else vae.decode(x, FRAMES)


@torch.no_grad()
def _plain(vae: Any, what: str, x: Tensor) -> Tensor:
    """diffusers' own methods on the same network."""
    frames = x[0].transpose(0, 1).split(1)
    if what == "encode":
        made = [vae.module.encode(frame).latent_dist.mode() * vae.scaling_factor for frame in frames]
    else:
        made = [vae.module.decode(frame / vae.scaling_factor).sample for frame in frames]
    return torch.cat(made).transpose(0, 1)[None]


def _captions() -> Alternatives:
    """Captions of 5 to 120 tokens, most of them short, as captions are; both with the same weights."""
    from transformers import AutoTokenizer, T5EncoderModel

    folder = _t5()
    texts = _texts()
    encoder = build("text_encoder", "t5", from_pretrained=str(folder), model_max_length=LENGTH)
    model, tokenizer = T5EncoderModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)

    @torch.no_grad()
    def padded() -> Tensor:
        made = []
        for start in range(0, CAPTIONS, BATCH):
            told = tokenizer(
                texts[start : start + BATCH],
                padding="max_length",
                truncation=True,
                max_length=LENGTH,
                return_tensors="pt",
            )
            hidden = model(told.input_ids, attention_mask=told.attention_mask).last_hidden_state
            made.append(hidden * told.attention_mask[..., None])
        return torch.cat(made)

    def ours() -> Tensor:
        return encoder.encode(texts)["y"]

    return Alternatives(ours=ours, theirs=padded, difference=lambda: float((ours() - padded()).abs().max()))


def _texts() -> list[str]:
    draw = torch_generator(0, "captions")
    lengths = (torch.randn(CAPTIONS, generator=draw) * 0.7 + 3.2).exp().clamp(5, LENGTH).int() - 1
    return [" ".join(f"w{int(i)}" for i in torch.randint(5000, (int(n),), generator=draw)) for n in lengths]


@cache
def _t5() -> Path:
    """Weights and a tokenizer of words, as published ones lie in a folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    folder = Path(tempfile.mkdtemp(prefix="vidgen-bench-"))
    words = ["<pad>", "</s>", "<unk>", *(f"w{i}" for i in range(5000))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        T5EncoderModel(T5Config(**T5, feed_forward_proj="gated-gelu")).save_pretrained(folder)
    return folder
