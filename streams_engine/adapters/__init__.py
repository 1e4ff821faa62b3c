"""Adapters: each a package that knows one kind of server or store."""
