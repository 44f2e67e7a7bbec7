"""The artifacts of a run: layout, Parquet, manifests and locks, local or in object storage."""
