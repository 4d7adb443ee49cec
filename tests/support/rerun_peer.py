"""Reads a recording with Rerun's own reader: rerun_peer.py FILE.rrd.

Prints a line of JSON for each row of each entity.
"""

import json
import sys
from typing import Any

import pyarrow as pa
from rerun.chunk import RrdReader


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, int | float | str | None) else str(value)


def main() -> None:
    for chunk in RrdReader(sys.argv[1]).stream():
        batch = chunk.to_record_batch()
        columns = {
            name: column.cast("int64") if pa.types.is_timestamp(column.type) else column
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        for row in pa.RecordBatch.from_pydict(columns).to_pylist():
            print(json.dumps({"entity": chunk.entity_path} | plain(row)))


if __name__ == "__main__":
    main()
