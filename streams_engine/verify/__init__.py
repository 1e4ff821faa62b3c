"""Compare source and target, row by row, by the servers' own texts."""
