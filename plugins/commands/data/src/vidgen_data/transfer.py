"""Batches from one table to another, with a bar."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from vidgen_data.output import written
from vidgen_data.terminal import progress


def transfer(batches: Iterable[pa.RecordBatch], fields: Sequence[pa.Field], output: Path, *, force: bool) -> int:
    """Write all batches; the number of rows. Raises: UserError, RunError, as `written`."""
    rows = 0
    with progress() as bar, written(output, pa.schema(list(fields)), force=force) as writer:
        task = bar.add_task(output.name, total=None)
        for batch in batches:
            writer.write(batch)
            rows += batch.num_rows
            bar.update(task, completed=rows)
    return rows
