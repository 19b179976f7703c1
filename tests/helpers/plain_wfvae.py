"""WF-VAE written out as its specification words it, whole or chunk by chunk: to test against.

Nothing is shared with the network but the names of the weights. Wavelets are convolutions with their filters; what a
convolution remembers is kept by its name; every frame of look-ahead is counted where it is cut.

Letters: B clips, C channels, T H W frames/rows/columns.
"""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Frames = Callable[[Tensor], Tensor]


def filters(axes: int, coefficient: float) -> list[Tensor]:
    """Low (1, 1) and high (1, -1) along each axis, the last axis changing fastest."""
    made = []
    for high in product((False, True), repeat=axes):
        one = torch.tensor(coefficient)
        for is_high in high:
            one = one[..., None] * torch.tensor([1.0, -1.0 if is_high else 1.0])
        made.append(one)
    return made


OF_CLIPS = filters(3, 0.3536)
OF_FRAMES = [filters(2, 0.5)[number] for number in (0, 2, 1, 3)]  # bands (y, x): 00, 10, 01, 11


def each_frame(run: Frames, x: Tensor) -> Tensor:
    """`run` on (B T, C, H, W)."""
    return run(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1)).transpose(1, 2)


def wavelet_of_clips(x: Tensor, *, first: bool = True) -> Tensor:
    x = torch.cat([x[:, :, :1], x], dim=2) if first else x
    single = x.flatten(0, 1)[:, None]
    bands = [functional.conv3d(single, one[None, None], stride=2) for one in OF_CLIPS]
    return torch.cat([band[:, 0].unflatten(0, x.shape[:2]) for band in bands], dim=1)


def clips_of_wavelet(x: Tensor, *, first: bool = True) -> Tensor:
    parts = zip(x.chunk(8, dim=1), OF_CLIPS, strict=True)
    made = [functional.conv_transpose3d(band.flatten(0, 1)[:, None], one[None, None], stride=2) for band, one in parts]
    clip = torch.stack(made).sum(0)[:, 0].unflatten(0, (len(x), -1))
    return clip[:, :, 1:] if first else clip


def wavelet_of_frames(x: Tensor) -> Tensor:
    kernel = torch.stack(OF_FRAMES)[:, None].repeat_interleave(3, dim=0)  # of three colours, band by band
    return each_frame(lambda z: functional.conv2d(z.repeat(1, 4, 1, 1), kernel, stride=2, groups=12), x)


def frames_of_wavelet(x: Tensor) -> Tensor:
    kernel = torch.stack(OF_FRAMES)[:, None].repeat_interleave(3, dim=0)
    made = each_frame(lambda z: functional.conv_transpose2d(z, kernel, stride=2, groups=12), x)
    return made.unflatten(1, (4, 3)).sum(1)


class PlainWFVAE:
    """state: the weights by name. options: keys of the network."""

    def __init__(self, state: Mapping[str, Tensor], options: Mapping[str, Any]) -> None:
        self.state, self.options = state, options
        self.eight = options["l1_upsample_block"] != "Upsample"
        self.first = True
        self.kept: dict[str, Tensor] = {}

    def encode(self, video: Tensor, step: int | None = None) -> Tensor:
        """Moments, whole or after the first in chunks of `step` pairs of frames."""
        wavelets, made, self.kept = wavelet_of_clips(video), [], {}
        for start, end in self._chunks(wavelets.shape[2], step):
            self.first = start == 0
            made.append(self._encoded(wavelets[:, :, start:end]))
        return torch.cat(made, dim=2)

    def decode(self, z: Tensor, step: int | None = None) -> Tensor:
        """Video, whole or after the first in chunks of `step` latent frames, with one of look-ahead."""
        made, length, self.kept = [], z.shape[2], {}
        for start, end in self._chunks(length, step):
            self.first, ahead = start == 0, int(end < length)
            made.append(self._decoded(z[:, :, start : end + ahead], ahead))
        return clips_of_wavelet(torch.cat(made, dim=2))

    def _chunks(self, length: int, step: int | None) -> list[tuple[int, int]]:
        if step is None:
            return [(0, length)]
        return [(0, 1), *((start, min(start + step, length)) for start in range(1, length, step))]

    def _encoded(self, wavelets: Tensor) -> Tensor:
        first, blocks = self.first, self.options["encoder_num_resblocks"]
        a = wavelet_of_clips(wavelets[:, :3], first=first) if self.eight else wavelet_of_frames(wavelets[:, :3])
        l1 = self._of_frames("encoder.connect_l1", a)
        l2 = self._of_frames("encoder.connect_l2", wavelet_of_clips(a[:, :3], first=first))
        h = self._of_frames("encoder.down1.0", wavelets)
        for number in range(1, blocks + 1):
            h = each_frame(lambda z, n=number: self._frame_block(f"encoder.down1.{n}", z), h)
        h = self._halved(f"encoder.down1.{blocks + 1}.conv", h, time=self.eight)
        h = self._of_frames("encoder.down2.0", torch.cat([h, l1], dim=1))
        for number in range(1, blocks + 1):
            h = self._block(f"encoder.down2.{number}", h, 0)
        h = self._halved(f"encoder.down2.{blocks + 1}.conv", h, time=True)
        h = self._middle("encoder.mid", torch.cat([h, l2], dim=1), 0)
        return self._causal("encoder.conv_out", self._active("encoder.norm_out", h), 0)

    def _decoded(self, z: Tensor, ahead: int) -> Tensor:
        """Wavelets of the video, without those of the look-ahead."""
        width, blocks = self.options["base_channels"], self.options["decoder_num_resblocks"]
        h = self._middle("decoder.mid", self._causal("decoder.conv_in", z, ahead), ahead)
        h, flow = h[:, :-width], h[:, -width:]
        l2 = clips_of_wavelet(self._connected("decoder.connect_l2", flow, ahead), first=self.first)
        for number in range(blocks):
            h = self._block(f"decoder.up2.{number}", h, ahead)
        h = self._doubled(f"decoder.up2.{blocks}", h, self.options["t_interpolation"], ahead)
        ahead *= 2
        h = self._block(f"decoder.up2.{blocks + 1}", h, ahead)
        h, flow = h[:, :-width], h[:, -width:]
        bands = _plus(self._connected("decoder.connect_l1", flow, ahead), l2)
        l1 = clips_of_wavelet(bands, first=self.first) if self.eight else frames_of_wavelet(bands)
        for number in range(blocks):
            h = self._block(f"decoder.up1.{number}", h, ahead)
        if self.eight:
            h = self._doubled(f"decoder.up1.{blocks}", h, "trilinear", ahead)
            ahead *= 2
        else:
            larger = each_frame(lambda z: functional.interpolate(z, scale_factor=2.0, mode="nearest"), h)
            h = self._of_frames(f"decoder.up1.{blocks}.conv", larger)
        for name in (f"up1.{blocks + 1}", "layer.0", "layer.1"):
            h = self._block(f"decoder.{name}", h, ahead)
        made = _plus(self._of_frames("decoder.conv_out", self._active("decoder.norm_out", h)), l1)
        return made[:, :, : made.shape[2] - ahead]

    def _of_frames(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return each_frame(lambda z: functional.conv2d(z, weight, bias, padding=1), x)

    def _causal(self, name: str, x: Tensor, ahead: int, *, stride: int = 1, around: int = 1) -> Tensor:
        weight, bias = self.state[f"{name}.conv.weight"], self.state[f"{name}.conv.bias"]
        size = weight.shape[2]
        if size == 1:
            return functional.conv3d(x, weight, bias)
        before = x[:, :, :1].repeat(1, 1, size - 1, 1, 1) if self.first else self.kept[name]
        x = torch.cat([before, x], dim=2)
        end = x.shape[2] - ahead
        self.kept[name] = x[:, :, end - (size - 1) // stride : end]
        return functional.conv3d(x, weight, bias, stride=stride, padding=(0, around, around))

    def _norm(self, name: str, x: Tensor) -> Tensor:
        if self.options["norm_type"] == "groupnorm":
            return functional.group_norm(x, 32, self.state[f"{name}.weight"], self.state[f"{name}.bias"], 1e-6)
        weight, bias = self.state[f"{name}.norm.weight"], self.state[f"{name}.norm.bias"]
        return functional.layer_norm(x.movedim(1, -1), (x.shape[1],), weight, bias, 1e-6).movedim(-1, 1)

    def _active(self, name: str, x: Tensor) -> Tensor:
        h = self._norm(name, x)
        return h * h.sigmoid()

    def _block(self, name: str, x: Tensor, ahead: int) -> Tensor:
        h = self._causal(f"{name}.conv1", self._active(f"{name}.norm1", x), ahead)
        h = self._causal(f"{name}.conv2", self._active(f"{name}.norm2", h), ahead)
        shortcut = f"{name}.nin_shortcut"
        return h + (self._causal(shortcut, x, ahead) if f"{shortcut}.conv.weight" in self.state else x)

    def _frame_block(self, name: str, x: Tensor) -> Tensor:
        h = x
        for number in (1, 2):
            weight, bias = self.state[f"{name}.conv{number}.weight"], self.state[f"{name}.conv{number}.bias"]
            h = functional.conv2d(self._active(f"{name}.norm{number}", h), weight, bias, padding=1)
        return x + h

    def _middle(self, name: str, x: Tensor, ahead: int) -> Tensor:
        h = self._block(f"{name}.0", x, ahead)
        if self.options["use_attention"]:
            h = self._attended(f"{name}.1", h)
        return self._block(f"{name}.{1 + self.options['use_attention']}", h, ahead)

    def _attended(self, name: str, x: Tensor) -> Tensor:
        h = self._norm(f"{name}.norm", x)
        q, k, v = (self._causal(f"{name}.{letter}", h, 0) for letter in "qkv")
        scores = torch.einsum("bcthw,bctij->bthwij", q, k) / x.shape[1] ** 0.5
        weights = scores.flatten(4).softmax(-1).view_as(scores)
        return x + self._causal(f"{name}.proj_out", torch.einsum("bthwij,bctij->bcthw", weights, v), 0)

    def _connected(self, name: str, x: Tensor, ahead: int) -> Tensor:
        blocks = self.options["connect_res_layer_num"]
        for number in range(blocks):
            x = self._block(f"{name}.{number}", x, ahead)
        return self._of_frames(f"{name}.{blocks}", x)

    def _halved(self, name: str, x: Tensor, *, time: bool) -> Tensor:
        x = functional.pad(x, (0, 1, 0, 1))
        if time:
            return self._causal(name, x, 0, stride=2, around=0)
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return each_frame(lambda z: functional.conv2d(z, weight, bias, stride=2), x)

    def _doubled(self, name: str, x: Tensor, mode: str, ahead: int) -> Tensor:
        """The first chunk remembers its very last frame, others their last one but for the look-ahead."""
        if self.first:
            later = _twice(x[:, :, 1:], mode) if x.shape[2] > 1 else x[:, :, 1:]
            made, end = torch.cat([x[:, :, :1], later], dim=2), x.shape[2]
        else:
            made, end = _twice(torch.cat([self.kept[f"{name} input"], x], dim=2), mode)[:, :, 2:], x.shape[2] - ahead
        self.kept[f"{name} input"] = x[:, :, end - 1 : end]
        made = functional.interpolate(made, scale_factor=(1.0, 2.0, 2.0), mode="trilinear", align_corners=False)
        return self._causal(f"{name}.conv", made, 2 * ahead)


def _twice(x: Tensor, mode: str) -> Tensor:
    return functional.interpolate(
        x, scale_factor=(2.0, 1.0, 1.0), mode=mode, align_corners=None if mode == "nearest" else False
    )


def _plus(bands: Tensor, low: Tensor) -> Tensor:
    return torch.cat([bands[:, :3] + low, bands[:, 3:]], dim=1)
