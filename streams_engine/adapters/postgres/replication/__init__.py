"""Logical replication of PostgreSQL: slots, publications, pgoutput."""
