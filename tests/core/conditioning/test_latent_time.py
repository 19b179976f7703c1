"""Video frames and latent frames."""

import pytest
from vidgen.conditioning.latent_time import LatentTime
from vidgen.errors import UserError


class Halving:
    """An autoencoder with one latent frame for two frames, and 8 x 8 pixels a latent."""

    latent_channels, stride, chunk = 4, (2, 8, 8), 2

    def latent_size(self, size):
        return (size[0] + 1) // 2, size[1] // 8, size[2] // 8


class Even(Halving):
    """One that takes even numbers of frames alone."""

    def latent_size(self, size):
        if size[0] % 2:
            raise UserError(f"given frames: {size[0]}")
        return super().latent_size(size)


def test_the_first_latent_frame_of_a_chunk_is_the_short_one(chunked):
    """17 = 1 + 4 + 4 + 4 + 4."""
    time = chunked(51)
    assert (time.latents, time.align) == (15, 5)
    assert [time.frames_of(latents) for latents in range(12)] == [0, 1, 5, 9, 13, 17, 18, 22, 26, 30, 34, 35]


def test_the_first_latent_frame_of_a_clip_without_chunks_is_the_short_one(whole):
    time = whole(13)
    assert (time.latents, time.align) == (4, None)
    assert [time.frames_of(latents) for latents in range(5)] == [0, 1, 5, 9, 13]


def test_frames_and_latent_frames_are_one_where_each_frame_is_coded_alone(framewise):
    time = framewise(7)
    assert (time.latents, time.align, time.frames_of(3), time.latents_in(3)) == (7, None, 3, 3)


@pytest.mark.parametrize("name", ["chunked", "framewise", "whole"])
def test_latent_frames_in_frames_undo_frames_of_latent_frames(name, request):
    time = request.getfixturevalue(name)(53)
    for latents in range(time.latents + 1):
        assert time.latents_in(time.frames_of(latents)) == latents
        assert time.latents_in(time.frames_of(latents + 1) - 1) == latents


def test_an_autoencoder_is_asked_for_its_own_numbers():
    time = LatentTime.of(Halving(), (9, 16, 24))
    assert (time.latents, time.align, time.frames_of(2), time.latents_in(3)) == (5, None, 4, 1)


def test_numbers_that_divide_a_chunk_are_refused(chunked):
    assert chunked(51).frames_of_chunks(10, "key") == 34
    with pytest.raises(UserError, match=r"key: 3 latent frames divide .* 5 of them \(17 video frames\)"):
        chunked(51).frames_of_chunks(3, "key")


def test_a_file_that_cannot_be_encoded_by_itself_is_named():
    vae = Even()
    with pytest.raises(UserError, match=r"reference a.png has 1 frame, .*\n.*given frames: 1"):
        LatentTime.of(vae, (8, 16, 16)).count_reference("a.png", 1)
