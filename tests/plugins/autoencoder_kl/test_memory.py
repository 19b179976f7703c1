"""A budget of memory is kept: what exists at once is counted, without computing anything."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from vidgen.interfaces import Context

MEGABYTE = 2**20


class Living(TorchDispatchMode):
    """Counts the bytes of all tensors made meanwhile that exist at once; `most` is their largest sum."""

    def __init__(self):
        super().__init__()
        self.users, self.sizes, self.most = {}, {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.enter(tensor)
        return out

    def enter(self, tensor):
        storage = tensor.untyped_storage()
        key = storage._cdata
        self.users[key] = self.users.get(key, 0) + 1
        self.sizes[key] = storage.nbytes()
        self.most = max(self.most, sum(self.sizes.values()))
        weakref.finalize(tensor, self.leave, key)

    def leave(self, key):
        self.users[key] -= 1
        if not self.users[key]:
            del self.users[key], self.sizes[key]


def peak(call):
    with Living() as living:
        call()
    return living.most / MEGABYTE


@pytest.mark.parametrize(
    ("options", "budget"),
    [({}, 100), ({"dtype": "bf16"}, 60), ({"tile_size": 64}, 50)],
    ids=["fp32", "bf16", "tiles"],
)
def test_a_budget_is_kept_and_used(make, options, budget):
    """Clips of 6 frames in the shape of Stable Diffusion's, on the meta device."""
    with torch.device("meta"):
        dry = Context(load_weights=False)
        whole = make(dry, config={}, **options)
        limited = make(dry, config={}, memory_limit_mb=budget, **options)
        video, latents = torch.empty(1, 3, 6, 128, 128), torch.empty(1, 4, 6, 16, 16)
        inputs = 2 * 6 * 3 * 128**2 * 4 / MEGABYTE  # what comes in and goes out, twice
        for call in (lambda vae: vae.encode(video), lambda vae: vae.decode(latents)):
            assert 0.3 * budget < peak(lambda call=call: call(limited)) < budget + inputs
            assert peak(lambda call=call: call(whole)) > budget + inputs


def test_one_frame_at_least_is_worked_on(make, video):
    vae = make(memory_limit_mb=1)
    assert vae.encode(video.repeat(1, 1, 1, 9, 9)).shape == (2, 3, 3, 31, 47)
