"""Whole databases, moved end to end and checked without the engine's own code."""
