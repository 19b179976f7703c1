"""Keys of Open-Sora's configurations that search batch sizes, and what its first search script took as flags."""

from vidgen_convert.opensora.changes import buckets, number, resolution
from vidgen_convert.opensora.training_keys import TRAINING
from vidgen_convert.rule import Table, step, to

SEARCH: Table = {
    **TRAINING,
    "bucket_config": to("search.bucket_config", buckets, "each is [guess, range] here as there"),
    "base": step("search.base", "base_step_time goes before it, as in Open-Sora"),
    "base_step_time": to("search.base_step_time", number),
    "resolution": to("search.resolution", resolution),
}
