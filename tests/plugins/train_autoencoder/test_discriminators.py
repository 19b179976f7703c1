"""Patch discriminators: sizes, start values."""

import pytest
import torch
from vidgen_train_autoencoder.discriminators import NLayerDiscriminator, NLayerDiscriminator3D, initialise
from vidgen_train_autoencoder.recipe import fewest_frames, smallest_side


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_the_smallest_picture_gives_one_logit(n_layers: int) -> None:
    side = smallest_side(n_layers)
    network = NLayerDiscriminator(ndf=2, n_layers=n_layers).eval()
    assert network(torch.zeros(2, 3, side, side + 1)).shape == (2, 1, 1, 1)
    with pytest.raises(RuntimeError):
        network(torch.zeros(2, 3, side - 1, side))


@pytest.mark.parametrize("n_layers", [1, 3])
def test_the_shortest_clip_gives_one_logit(n_layers: int) -> None:
    side, frames = smallest_side(n_layers), fewest_frames(n_layers)
    network = NLayerDiscriminator3D(ndf=2, n_layers=n_layers).eval()
    assert network(torch.zeros(1, 3, frames, side, side)).shape == (1, 1, 1, 1, 1)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 3, frames - 1, side, side))


def test_widths_stop_growing_at_eight_times_the_first() -> None:
    with torch.device("meta"):
        widths = [layer.out_channels for layer in NLayerDiscriminator(ndf=5, n_layers=5).main if hasattr(layer, "bias")
                  and hasattr(layer, "out_channels")]  # fmt: skip
    assert widths == [5, 10, 20, 40, 40, 40, 1]


def test_start_values_are_small_and_come_from_the_global_generator() -> None:
    torch.manual_seed(3)
    network = NLayerDiscriminator3D(ndf=16, n_layers=2)
    initialise(network)
    weight, norm = network.main[2].weight, network.main[3]
    assert weight.mean().abs() < 1e-3 and weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.02) and not norm.bias.any()
    torch.manual_seed(3)
    again = NLayerDiscriminator3D(ndf=16, n_layers=2)
    initialise(again)
    assert torch.equal(again.main[2].weight, weight)
