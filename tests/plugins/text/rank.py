"""One rank of a run that shares an encoder out: started by test_sharding.py, writes what it made to a file.

Arguments: the rank, the number of ranks, the encoder's folder, a folder in which the ranks meet.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from vidgen.interfaces import Context
from vidgen.weights import fingerprint
from vidgen_text import T5Options
from vidgen_text.t5 import T5, build

TEXTS = {0: ["the red car runs", "a cat", "", "a slow dog sits on the blue car", "night"], 1: ["a dog in the street"]}
PRECISIONS = ("fp32", "bf16", "int8")
RELEASES = ("cpu", "free")


def make(folder: str, dtype: str, after_use: str) -> T5:
    options = T5Options(
        from_pretrained=folder,
        model_max_length=9,
        micro_batch_size=2,
        shardformer=True,
        dtype=dtype,
        after_use=after_use,
    )
    return build(options, Context())


def main(rank: int, ranks: int, folder: str, meeting: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{meeting / 'store'}", rank=rank, world_size=ranks)
    made: dict[str, object] = {"texts": TEXTS[rank]}
    for dtype in PRECISIONS:
        encoder = make(folder, dtype, "keep")
        made[dtype] = encoder.encode(TEXTS[rank])["y"]
        made[f"{dtype} fingerprint"] = fingerprint(encoder)
        made[f"{dtype} share"] = torch.tensor(sum(p.to_local().numel() for p in encoder.parameters()))
    for after_use in RELEASES:
        encoder = make(folder, "fp32", after_use)
        with torch.inference_mode():
            encoder.encode(TEXTS[rank])
        encoder.release()
        made[after_use] = encoder.encode(TEXTS[rank] if rank else [])["y"]
    torch.save(made, meeting / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
