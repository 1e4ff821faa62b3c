"""Histories composed from the catalogue: many tables, a stream that is stopped and killed."""
