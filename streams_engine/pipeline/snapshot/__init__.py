"""The load of a stream: plan, preflight, chunks, copy, post-load DDL."""
