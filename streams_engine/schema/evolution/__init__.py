"""Schema changes: what differs between two versions of a table, and the DDL for it."""
