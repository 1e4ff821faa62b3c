"""Map a source's tables to the target's: one module a route."""
