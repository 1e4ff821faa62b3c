"""Exported snapshots of PostgreSQL, read by COPY into Arrow."""
