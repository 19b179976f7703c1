"""Fixtures about video files, shared with the datasets that read them."""

from video_files import clips, numbers_in, reader, write_video

__all__ = ["clips", "numbers_in", "reader", "write_video"]
