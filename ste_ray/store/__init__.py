"""The artifacts of a run: Parquet tables, manifests and locks, in folders or object storage."""
