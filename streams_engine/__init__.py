"""streams_engine: move a database, or keep two in step."""
