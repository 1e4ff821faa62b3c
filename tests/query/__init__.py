"""Queries over several sources, and help with SQL."""
