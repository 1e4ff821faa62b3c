"""What tests, demo and benchmarks stand on: private servers, started and stopped here."""
