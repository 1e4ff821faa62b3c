"""CSV, JSONL and Parquet: readers, writers, and the types of their values."""
