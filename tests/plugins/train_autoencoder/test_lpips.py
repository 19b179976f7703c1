"""The perceptual distance: facts, and its weights from files of several origins."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from vidgen.errors import UserError
from vidgen_train_autoencoder.lpips import LEVELS, LPIPS, load_lpips


@pytest.fixture(scope="module")
def network() -> LPIPS:
    """With any weights."""
    torch.manual_seed(0)
    return LPIPS()


def pictures(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape))) * 2 - 1


def test_equal_pictures_have_no_distance_and_order_does_not_matter(network: LPIPS) -> None:
    one, other = pictures(2, 3, 16, 23), -pictures(2, 3, 16, 23)
    assert not network(one, one).any()
    distance = network(one, other)
    assert distance.shape == (2, 1, 1, 1)
    torch.testing.assert_close(distance, network(other, one))


def test_a_picture_is_judged_alone(network: LPIPS) -> None:
    one, other = pictures(3, 3, 16, 16), pictures(3, 3, 16, 16).flip(0)
    torch.testing.assert_close(network(one, other)[1:2], network(one[1:2], other[1:2]))


def test_it_is_frozen_and_never_drops_channels(network: LPIPS) -> None:
    assert not any(parameter.requires_grad for parameter in network.parameters())
    one, other = pictures(1, 3, 16, 16), -pictures(1, 3, 16, 16)
    assert torch.equal(network.train()(one, other), network.eval()(one, other))
    one.requires_grad_()
    network(one, other).sum().backward()
    assert one.grad is not None and one.grad.any()


def test_levels_are_those_of_vgg16(network: LPIPS) -> None:
    widths = [tuple(level.shape[1:]) for level in network.net(pictures(1, 3, 35, 48))]
    assert widths == [(64, 35, 48), (128, 17, 24), (256, 8, 12), (512, 4, 6), (512, 2, 3)]


def test_weights_come_from_torchvisions_file_and_lpips_own(network: LPIPS, tmp_path: Path) -> None:
    """Two files, one of them torch's: names are translated, the classifier is left aside."""
    state = network.state_dict()
    features = {"features." + name.split(".", 2)[2]: value for name, value in state.items() if name.startswith("net.")}
    torch.save({**features, "classifier.0.bias": torch.zeros(3)}, tmp_path / "vgg16.pth")
    save_file({name: value for name, value in state.items() if name.startswith("lin")}, tmp_path / "heads.safetensors")
    loaded = load_lpips([tmp_path / "vgg16.pth", tmp_path / "heads.safetensors"]).state_dict()
    assert loaded.keys() == state.keys() and all(torch.equal(loaded[name], state[name]) for name in state)


def test_a_missing_file_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no such file: .*vgg\.pth\. Give VGG16's weights .* perceptual_loss_weight: 0"
    ):
        load_lpips([tmp_path / "vgg.pth"])


def test_files_that_hold_something_else_are_refused_with_names(tmp_path: Path) -> None:
    save_file({"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)}, tmp_path / "heads.safetensors")
    with pytest.raises(UserError, match=r"hold no LPIPS on VGG16; 30 entries are missing: net\.slice1\.0\.weight, "):
        load_lpips([tmp_path / "heads.safetensors"])


def test_entries_of_another_shape_are_refused_with_names(tmp_path: Path) -> None:
    indices = [index for _, numbers in LEVELS for index in numbers]
    state = {f"features.{index}.{kind}": torch.zeros(2) for index in indices for kind in ("weight", "bias")}
    state |= {f"lin{level}.model.1.weight": torch.zeros(1, width, 1, 1) for level, (width, _) in enumerate(LEVELS)}
    save_file(state, tmp_path / "vgg.safetensors")
    with pytest.raises(UserError, match=r"26 have another shape: net\.slice1\.0\.weight \(\(2,\), not \(64, 3, 3, 3\)"):
        load_lpips([tmp_path / "vgg.safetensors"])
