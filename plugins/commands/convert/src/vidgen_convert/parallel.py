"""How ranks share work."""

from vidgen_convert.draft import Draft

SEQUENCE = "zero2-seq"


def choose_parallel(kind: str, sp_size: int, draft: Draft) -> None:
    """Write the section `parallel`. sp_size: ranks that share one clip."""
    draft.put("parallel.type", "zero2" if kind == SEQUENCE and sp_size == 1 else kind)
    if sp_size != 1:
        draft.put("parallel.sp_size", sp_size)
