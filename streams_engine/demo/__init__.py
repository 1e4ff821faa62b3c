"""The demo: a generated shop, moved and verified between private servers."""
