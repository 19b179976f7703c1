"""Several tables as one: rows one below the other, the union of columns, types that hold all values."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
from vidgen.errors import UserError

from vidgen_data.source import Source


class MergedSource:
    """See `Source`. Where a table lacks a column, its rows have no value there.

    Raises: UserError, when a column is a text in one table and a number in another.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self.path = sources[0].path
        self.num_rows = sum(source.num_rows for source in sources)
        self.schema = sources[0].schema.remove_metadata()
        for source in sources[1:]:
            try:
                both = [self.schema, source.schema.remove_metadata()]
                self.schema = pa.unify_schemas(both, promote_options="permissive")
            except (pa.ArrowException, TypeError) as error:
                raise UserError(f"{source.path} does not fit the tables before it: {error}") from error

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """See `Source`."""
        names = self.schema.names if columns is None else list(columns)
        schema = pa.schema([self.schema.field(name) for name in names])
        for source in self._sources:
            present = [name for name in names if name in source.schema.names]
            for batch in source.batches(present or source.schema.names[:1]):
                yield _widened(batch, schema)


def _widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    known = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type) if field.name in known else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
