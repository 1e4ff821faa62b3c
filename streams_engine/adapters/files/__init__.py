"""Files: CSV, JSONL and Parquet, in a folder or in an S3 bucket, as a source and as a sink."""
