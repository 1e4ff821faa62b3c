"""How fast a log is followed beside peers: ``python -m benchmarks --cdc --help``."""
