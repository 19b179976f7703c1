"""Names of sampled files, without suffix."""

import re
import unicodedata
from hashlib import blake2b

MAX_BYTES = 200  # of 255 that file systems allow; a number and a suffix still follow
MARK = re.compile(r"~[0-9a-f]{12}$")
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)  # Windows' devices
UNSAFE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of characters, line and paragraph separators


def save_name(
    index: int,
    *,
    sample_name: str | None = None,
    prompt: str = "",
    prompt_as_path: bool = False,
    num_samples: int = 1,
    repeat: int = 0,
) -> str:
    """`sample_0007`, or the prompt itself, made safe; with `-2` behind it for the third of several samples.

    index: of the prompt among all. sample_name: in place of `sample`, or in front of the prompt.
    """
    if prompt_as_path:
        name = safe_name(f"{sample_name or ''}{prompt}")
    else:
        name = f"{'sample' if sample_name is None else sample_name}_{index:04d}"
    return f"{name}-{repeat}" if num_samples > 1 else name


def safe_name(text: str) -> str:
    """A file name for any text, at most 200 bytes of UTF-8; two texts never share one.

    A text is its own name where it can be. Else path separators, control characters and leading dots become `_`,
    letters are composed (NFC), a long text is cut, and a mark made from the whole text is put behind it.
    """
    name = "".join("_" if _unsafe(one) else one for one in unicodedata.normalize("NFC", text))
    name = re.sub(r"^\.+", lambda dots: "_" * len(dots[0]), name)
    if name == text and not _taken(name):
        return name
    mark = f"~{blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=6).hexdigest()}"
    name = RESERVED.sub(r"_\g<0>", name) if RESERVED.fullmatch(name) else name
    return _cut(name, MAX_BYTES - len(mark)) + mark


def _taken(name: str) -> bool:
    """Whether it cannot stand as it is: nothing, too long, a device, or what looks like another text's mark."""
    too_long = len(name.encode()) > MAX_BYTES
    return not name.strip() or too_long or bool(MARK.search(name) or RESERVED.fullmatch(name))


def _unsafe(one: str) -> bool:
    return one in "/\\" or unicodedata.category(one) in UNSAFE


def _cut(name: str, limit: int) -> str:
    return name.encode()[:limit].decode(errors="ignore")
