"""The readers there are, by the name a recipe gives them."""

from vidgen_video_text.av_reader import AvReader
from vidgen_video_text.reader import Reader

READERS: dict[str, type[Reader]] = {"av": AvReader}


def open_reader(name: str) -> Reader:
    """The reader a recipe names."""
    return READERS[name]()
