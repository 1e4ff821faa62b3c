"""The structure of PostgreSQL databases, read from pg_catalog."""
