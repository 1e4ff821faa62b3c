"""Chunks that other processes copy."""
