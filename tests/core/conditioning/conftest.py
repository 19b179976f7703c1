"""Autoencoders' ways with time."""

import pytest
from vidgen.conditioning.latent_time import LatentTime


def in_chunks(num_frames: int) -> LatentTime:
    """17 frames in 5 latent frames, each chunk for itself: as Open-Sora 1.2's autoencoder."""
    return LatentTime(
        num_frames=num_frames, count=lambda frames: frames // 17 * 5 + (frames % 17 + 3) // 4, stride=4, chunk=17
    )


def frame_by_frame(num_frames: int) -> LatentTime:
    """A latent frame for every frame."""
    return LatentTime(num_frames=num_frames, count=lambda frames: frames, stride=1, chunk=1)


def as_a_whole(num_frames: int) -> LatentTime:
    """The first frame in a latent frame of its own, then 4 in each; nothing is independent of the rest."""
    return LatentTime(num_frames=num_frames, count=lambda frames: (frames + 6) // 4, stride=4, chunk=None)


@pytest.fixture
def chunked():
    return in_chunks


@pytest.fixture
def framewise():
    return frame_by_frame


@pytest.fixture
def whole():
    return as_a_whole
