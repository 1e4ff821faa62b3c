"""The catalogue of the servers' manuals: each clause, what it does to rows, and our promise."""
