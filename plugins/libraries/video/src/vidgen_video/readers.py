"""The readers there are, by the name a recipe gives them. Each brings its own library, imported when it is opened."""

from collections.abc import Callable

from vidgen.errors import UserError

from vidgen_video.reader import Reader


def open_reader(name: str) -> Reader:
    """The reader a recipe names. Raises: UserError, when its library is not installed or does not start."""
    try:
        return READERS[name]()
    except (ImportError, OSError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"reader: {name} cannot be used: {reason}\n"
            f"    install it: pip install 'vidgen-video-text[{name}]'{NEEDS.get(name, '')}; or set `reader: av`"
        ) from error


def _av() -> Reader:
    from vidgen_video.av_reader import AvReader

    return AvReader()


def _decord() -> Reader:
    from vidgen_video.decord_library import Decord
    from vidgen_video.guarded import GuardedReader

    return GuardedReader(Decord())


def _torchcodec() -> Reader:
    from vidgen_video.guarded import GuardedReader
    from vidgen_video.torchcodec_library import TorchCodec

    return GuardedReader(TorchCodec())


READERS: dict[str, Callable[[], Reader]] = {"av": _av, "decord": _decord, "torchcodec": _torchcodec}
NEEDS = {"torchcodec": ", and FFmpeg's shared libraries (Debian: apt-get install ffmpeg)"}
