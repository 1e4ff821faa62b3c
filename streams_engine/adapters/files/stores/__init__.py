"""Stores of files: folders and buckets."""
