"""Text encoders and autoencoders: sizes they declare, samples that do not meet, dtypes, devices."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vidgen.errors import UserError
from vidgen.interfaces import Size3
from vidgen.rng import Draws
from vidgen.testing.subject import Subject, alike, count, declared, devices, refused, size3

TEXTS = ("", "a red circle moving left", "Größe 2: " + "ein sehr langer Satz " * 40)


def text_declares(subject: Subject) -> Iterator[str]:
    """What models read off it."""
    yield from _module(subject)
    yield from declared(subject.one, "width", count, "the width of the features")
    yield from declared(subject.one, "max_length", count, "the number of tokens")


def encodes_texts(subject: Subject) -> Iterator[str]:
    """`y` and `mask`, also of the empty text, alike alone and in a batch."""
    encoder = subject.one.eval()
    shape = (len(TEXTS), encoder.max_length)
    out = _encode(encoder, TEXTS)
    y, mask = out["y"], out["mask"]
    if tuple(y.shape) != (*shape, encoder.width) or not y.is_floating_point() or not y.isfinite().all():
        yield f"`y` must be finite and floating, {(*shape, encoder.width)}; it is {y.dtype}, {tuple(y.shape)}"
        return
    if tuple(mask.shape) != shape or mask.dtype != torch.int64 or not ((mask == 0) | (mask == 1)).all():
        yield f"`mask` must be int64 of 0 and 1, {shape}; it is {mask.dtype}, {tuple(mask.shape)}"
    elif (mask.sum(dim=1) < 1).any():
        yield "`mask` must keep a token of every text, also of '': attention over nothing is not a number"
    if not torch.equal(y, _encode(encoder, TEXTS)["y"]):
        yield "the same texts are encoded otherwise the second time"
    if not alike(_encode(encoder, TEXTS[1:2])["y"], y[1:2]):
        yield "a text is encoded otherwise alone than in a batch: pad to max_length, and mask the padding"
    if torch.equal(y[0], y[1]):
        yield "two texts have the same features"


def text_follows_device_and_dtype(subject: Subject) -> Iterator[str]:
    """`.to` moves it."""
    for device in devices():
        moved = subject.build().to(device)
        for dtype in (torch.float32, torch.bfloat16):
            y, mask = _encode(moved.to(dtype), TEXTS).values()
            if {y.device.type, mask.device.type} != {device.type} or not y.isfinite().all():
                yield f"moved to {device} and {dtype}, it returns features on {y.device}, or not finite ones"
    subject.build(dry=True)


def video_declares(subject: Subject) -> Iterator[str]:
    """What models and recipes read off it."""
    yield from _module(subject)
    yield from declared(subject.one, "latent_channels", count, "the number of latent channels")
    yield from declared(subject.one, "stride", size3, "a tuple of video (frames, rows, columns) per latent")


def there_and_back(subject: Subject) -> Iterator[str]:
    """`latent_size` tells the truth, `decode` returns the video's size; other sizes are refused or work."""
    vae = subject.one.eval()
    size = _video_size(vae)
    yield from _round_trip(vae, size)
    odd = (size[0], size[1] + 1, size[2])
    if not refused(lambda: vae.latent_size(odd)):
        yield from _round_trip(vae, odd)


def encodes_alike(subject: Subject) -> Iterator[str]:
    """The mode without draws; with draws, each sample by its own address."""
    vae = subject.one.eval()
    video, draws = _video(_video_size(vae)), Draws(1, [(0,), (1,)])
    with torch.no_grad():
        latents, drawn = vae.encode(video), vae.encode(video, draws)
        alone = vae.encode(video[1:], Draws(1, [(1,)]))
        again, drawn_again = vae.encode(video), vae.encode(video, draws)
    if not torch.equal(latents, again):
        yield "`encode` without draws must return the mode, the same every time"
    if not torch.equal(drawn, drawn_again) or not alike(alone, drawn[1:]):
        yield "`encode` must take its noise from `draws` alone: draws.normal(purpose, shape of one sample)"


def video_follows_device_and_dtype(subject: Subject) -> Iterator[str]:
    """`.to` moves it."""
    for device in devices():
        for dtype in (torch.float32, torch.bfloat16):
            vae = subject.build().eval().to(device, dtype)
            size = _video_size(vae)
            with torch.no_grad():
                out = vae.decode(vae.encode(_video(size).to(device, dtype)), size[0])
            if (out.dtype, out.device.type) != (dtype, device.type) or not out.isfinite().all():
                yield f"on {device} in {dtype}, decoded video is {out.dtype} on {out.device}, or not finite"
    subject.build(dry=True)


def _module(subject: Subject) -> Iterator[str]:
    if not isinstance(subject.one, nn.Module):
        yield f"the factory must return a torch.nn.Module, not {type(subject.one).__name__}"


def _encode(encoder: Any, texts: tuple[str, ...]) -> dict[str, Tensor]:
    with torch.no_grad():
        out = encoder.encode(list(texts))
    return {"y": out["y"], "mask": out["mask"]}


def _round_trip(vae: Any, size: Size3) -> Iterator[str]:
    expected = (2, vae.latent_channels, *vae.latent_size(size))
    with torch.no_grad():
        latents = vae.encode(_video(size))
        if tuple(latents.shape) != expected:
            yield f"latent_size{size} promises latents of {expected}, encode returns {tuple(latents.shape)}"
            return
        video = vae.decode(latents, size[0])
    if tuple(video.shape) != (2, 3, *size):
        yield f"decode(latents, {size[0]}) must return {(2, 3, *size)}, not {tuple(video.shape)}"
    elif not (latents.isfinite().all() and video.isfinite().all()):
        yield "latents or decoded video are not finite"


def _video_size(vae: Any) -> Size3:
    """A small clip the autoencoder takes."""
    frames, rows, columns = vae.stride
    for number in (2 * frames, 4 * frames + 1, frames + 1, 1):
        if not refused(lambda number=number: vae.latent_size((number, 2 * rows, 3 * columns))):
            return number, 2 * rows, 3 * columns
    raise UserError(f"latent_size refuses clips of {2 * rows}x{3 * columns} pixels, of any length tried")


def _video(size: Size3) -> Tensor:
    return Draws(1, [(0,), (1,)]).uniform("video", (3, *size)) * 2 - 1


TEXT_CHECKS = (text_declares, encodes_texts, text_follows_device_and_dtype)
VIDEO_CHECKS = (video_declares, there_and_back, encodes_alike, video_follows_device_and_dtype)
