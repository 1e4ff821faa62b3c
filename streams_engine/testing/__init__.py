"""Private servers for tests, demo and benchmarks, and conformance suites for adapters."""
