"""How ranks share work, as far as what is installed can do it."""

from vidgen.registry import Registry

from vidgen_convert.draft import Draft
from vidgen_convert.settings import Setting

SEQUENCE = "zero2-seq"


def choose_parallel(kind: str, sp_size: int, draft: Draft, source: Setting) -> None:
    """Write the section `parallel`, or tell why it is left out.

    sp_size: ranks that share one clip. source: the setting it comes from.
    """
    kind = "zero2" if kind == SEQUENCE and sp_size == 1 else kind
    installed = {offer.component.name for offer in Registry.discover().offers("parallel")}
    if kind not in installed:
        sequence = f", sp_size: {sp_size}" if sp_size != 1 else ""
        why = f"no installed plugin offers it; with one that does, write parallel: {{type: {kind}{sequence}}}"
        draft.lose(source, why)
        return
    draft.put("parallel.type", kind)
    if sp_size != 1:
        draft.put("parallel.sp_size", sp_size)
