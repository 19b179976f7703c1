"""Text encoders and autoencoders: sizes they declare, samples that do not meet, dtypes, devices."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vidgen.errors import UserError
from vidgen.interfaces import Size3
from vidgen.testing.declared import declares
from vidgen.testing.subject import ROWS, Subject, devices, refused, steady
from vidgen.testing.tiny import draws_of

TEXTS = ("", "a red circle moving left", "Größe 2: " + "ein sehr langer Satz " * 40)
CLASSES = ("1", "0")
DTYPES = (torch.float32, torch.bfloat16)


@torch.no_grad()
def _encodes_texts(subject: Subject) -> Iterator[str]:
    encoder = subject.one.eval()
    if encoder.width == 0:
        yield from _names_classes(encoder)
        return
    out, shape = encoder.encode(TEXTS), (len(TEXTS), encoder.max_length)
    y, mask = out["y"], out["mask"]
    if tuple(y.shape) != (*shape, encoder.width) or not y.is_floating_point():
        yield f"`y` must be floating, {(*shape, encoder.width)}, not {y.dtype}, {tuple(y.shape)}"
    elif tuple(mask.shape) != shape or mask.dtype != torch.int64 or not ((mask == 0) | (mask == 1)).all():
        yield f"`mask` must be int64 of 0 and 1, {shape}, not {mask.dtype}, {tuple(mask.shape)}"
    elif (mask.sum(dim=1) < 1).any():
        yield "`mask` must keep a token of every text, also of '': attention over nothing is not a number"
    elif torch.equal(y[0], y[1]):
        yield "two texts have the same features"
    encoder.release()
    if not torch.equal(encoder.encode(TEXTS)["y"], y):
        yield "after release() the next encode gives other features"
    yield from steady("`y`", lambda rows: encoder.encode([TEXTS[row] for row in rows])["y"])


def _names_classes(encoder: Any) -> Iterator[str]:
    """Class numbers as texts are understood by every encoder of classes."""
    out = encoder.encode(CLASSES)
    if out.keys() != {"y"} or out["y"].dtype != torch.int64 or out["y"].tolist() != [int(text) for text in CLASSES]:
        yield f"at width 0, encode({list(CLASSES)}) must return their numbers as `y` in int64 alone, not {out}"
    if not refused(lambda: encoder.encode(["no such class"])):
        yield "a text that names no class must raise UserError"


@torch.no_grad()
def _text_moves(subject: Subject) -> Iterator[str]:
    texts = CLASSES if subject.one.width == 0 else TEXTS
    for device in devices():
        for dtype in DTYPES:
            out = subject.build().to(device, dtype).encode(texts)
            if {value.device.type for value in out.values()} != {device.type} or not out["y"].isfinite().all():
                yield f"moved to {device} and {dtype}, it returns features on {out['y'].device}, or not finite ones"


@torch.no_grad()
def _goes_there_and_back(subject: Subject) -> Iterator[str]:
    vae = subject.one.eval()
    frames, rows, columns = _video_size(vae)
    if _decodes_alone(vae):
        yield from _decodes(vae, _latents(vae, (frames, rows, columns)), (frames, rows, columns))
        return
    yield from _round_trip(vae, (frames, rows, columns))
    odd = (frames, rows + 1, columns)
    if not refused(lambda: vae.latent_size(odd)):
        yield from _round_trip(vae, odd)


@torch.no_grad()
def _encodes_alike(subject: Subject) -> Iterator[str]:
    vae = subject.one.eval()
    size = _video_size(vae)
    if _decodes_alone(vae):
        yield from steady("decoded video", lambda rows: vae.decode(_latents(vae, size, rows), size[0]))
        return
    yield from steady("latents without draws", lambda rows: vae.encode(_video(size, rows)))
    yield from steady("latents with draws", lambda rows: vae.encode(_video(size, rows), draws_of(rows)))
    yield from steady("decoded video", lambda rows: vae.decode(vae.encode(_video(size, rows)), size[0]))


@torch.no_grad()
def _video_moves(subject: Subject) -> Iterator[str]:
    for device in devices():
        for dtype in DTYPES:
            vae = subject.build().eval().to(device, dtype)
            size = _video_size(vae)
            latents = _latents(vae, size) if _decodes_alone(vae) else vae.encode(_video(size).to(device, dtype))
            out = vae.decode(latents.to(device, dtype), size[0])
            if (out.dtype, out.device.type) != (dtype, device.type) or not out.isfinite().all():
                yield f"on {device} in {dtype}, decoded video is {out.dtype} on {out.device}, or not finite"


@torch.no_grad()
def _codes_chunks_alone(subject: Subject) -> Iterator[str]:
    """What sampling, references and long videos rely on to go through a clip piece by piece."""
    vae = subject.one.eval()
    chunk = getattr(vae, "chunk", 0)
    if chunk is not None and (type(chunk) is not int or chunk < 1):
        yield f"`chunk` must be a whole number above 0, or None where clips are coded as a whole, not {chunk!r}"
        return
    if chunk is None or _decodes_alone(vae):
        return
    _, rows, columns = _video_size(vae)
    frames, piece = 2 * vae.chunk, vae.latent_size((vae.chunk, rows, columns))[0]
    video = _video((frames, rows, columns))
    latents = vae.encode(video)
    apart = torch.cat([vae.encode(part) for part in video.split(vae.chunk, dim=2)], dim=2)
    pieces = [vae.decode(part, vae.chunk) for part in latents.split(piece, dim=2)]
    for what, one, other in (("encode", latents, apart), ("decode", vae.decode(latents, frames), torch.cat(pieces, 2))):
        if one.shape != other.shape or not torch.allclose(one, other, atol=1e-4):
            yield f"{what} of 2 chunks of {vae.chunk} frames differs from each alone: set chunk to None"


def _round_trip(vae: Any, size: Size3) -> Iterator[str]:
    expected = (len(ROWS), vae.latent_channels, *vae.latent_size(size))
    latents = vae.encode(_video(size))
    if tuple(latents.shape) != expected:
        yield f"latent_size({size}) promises latents {expected}, but encode returns {tuple(latents.shape)}"
        return
    yield from _decodes(vae, latents, size)


def _decodes(vae: Any, latents: Tensor, size: Size3) -> Iterator[str]:
    """Rows and columns that are no multiple of the stride may be cut off."""
    video = vae.decode(latents, size[0])
    cut = tuple(length // step * step for length, step in zip(size[1:], vae.stride[1:], strict=True))
    if tuple(video.shape) not in ((len(ROWS), 3, *size), (len(ROWS), 3, size[0], *cut)):
        yield f"decode(latents, {size[0]}) must return video of {size}, not {tuple(video.shape[2:])}"


def _decodes_alone(vae: Any) -> bool:
    """Whether there is no way to latents: some published decoders have none."""
    return refused(lambda: vae.encode(_video(_video_size(vae))))


def _latents(vae: Any, size: Size3, rows: Sequence[int] = ROWS) -> Tensor:
    return draws_of(rows).normal("latents", (vae.latent_channels, *vae.latent_size(size)))


def _video_size(vae: Any) -> Size3:
    """A small clip that the autoencoder takes."""
    frames, rows, columns = vae.stride
    for number in (2 * frames, 4 * frames + 1, frames + 1, 1):
        size = (number, 2 * rows, 3 * columns)
        if not refused(partial(vae.latent_size, size)):
            return size
    raise UserError(f"latent_size refuses {2 * rows}x{3 * columns} pixels in clips of every length tried")


def _video(size: Size3, rows: Sequence[int] = ROWS) -> Tensor:
    return draws_of(rows).uniform("video", (3, *size)) * 2 - 1


TEXT_ENCODER = (declares, _encodes_texts, _text_moves)
AUTOENCODER = (declares, _goes_there_and_back, _encodes_alike, _codes_chunks_alone, _video_moves)
