"""Move rows and changes from a source to a sink, through the contracts alone."""
