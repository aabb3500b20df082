"""Generates the demo's TPC-H tables as Parquet: data.py DIR SCALE_FACTOR. Owned by tools/demo, which caches DIR."""

import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet

import tpch


def main() -> None:
    target, scale = Path(sys.argv[1]), sys.argv[2]
    raw = target / "raw"
    generator = Path(sys.executable).with_name("tpchgen-cli")
    options = ["--scale-factor", scale, "--tables", ",".join(tpch.TABLES), "--output-dir", raw, "--overwrite"]
    subprocess.run([generator, "parquet", "--quiet", "--no-progress", *options], check=True)
    for table in tpch.TABLES:
        # The generator's files name string_view columns, which pyarrow cannot join on: write plain strings, as other
        # writers of Parquet do, and keep the row groups.
        source = parquet.ParquetFile(raw / f"{table}.parquet")
        plain = pyarrow.schema(
            field.with_type(pyarrow.string()) if field.type == pyarrow.string_view() else field
            for field in source.schema_arrow
        )
        with parquet.ParquetWriter(target / f"{table}.parquet", plain, store_schema=False) as sink:
            for group in range(source.num_row_groups):
                sink.write_table(source.read_row_group(group).cast(plain))
        (raw / f"{table}.parquet").unlink()
    raw.rmdir()


main()
