"""Memory that a clip takes, counted tensor by tensor on the meta device: the figures of docs/autoencoders.md."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from vidgen.interfaces import Context
from vidgen_wfvae import EightOptions
from vidgen_wfvae.build import build

ROWS, COLUMNS = 352, 640


class Living(TorchDispatchMode):
    """Counts the bytes of tensors that live at once, without those of `given`; `most` is the largest number."""

    def __init__(self, given):
        super().__init__()
        self.known, self.now, self.most = {given.untyped_storage()._cdata}, 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.count(tensor.untyped_storage())
        return out

    def count(self, storage):
        if storage._cdata not in self.known:
            self.known.add(storage._cdata)
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.forget, storage._cdata, storage.nbytes())

    def forget(self, storage, size):
        self.known.discard(storage)
        self.now -= size


def gigabytes(vae, frames):
    """Of encoding and of decoding one clip in float32, beside the weights and the input."""
    video = torch.empty(1, 3, frames, ROWS, COLUMNS)
    with Living(video) as encoding:
        vae.encode(video)
    latents = torch.empty(1, 8, (frames - 1) // 4 + 1, ROWS // 8, COLUMNS // 8)
    with Living(latents) as decoding:
        for piece in vae.decode_stream(latents):
            del piece
    return encoding.most / 1e9, decoding.most / 1e9


@pytest.mark.parametrize(
    ("keys", "of_33", "of_93"),
    [
        ({}, (1.64, 3.83), (4.54, 10.60)),
        ({"tiling": True}, (1.75, 3.35), (1.75, 3.35)),
        ({"save_memory": True}, (0.97, 3.35), (0.97, 3.35)),
        ({"tiling": True, "t_chunk_enc": 2, "t_chunk_dec": 1}, (0.40, 2.09), (0.40, 2.09)),
    ],
    ids=["whole", "tiling", "save_memory", "smallest"],
)
def test_a_clip_in_chunks_takes_the_memory_of_a_chunk(keys, of_33, of_93):
    with torch.device("meta"), torch.inference_mode():
        vae = build(EightOptions(**keys), Context(load_weights=False)).eval()
        assert gigabytes(vae, 33) == pytest.approx(of_33, rel=0.03)
        assert gigabytes(vae, 93) == pytest.approx(of_93, rel=0.03)
