"""Parts that all SQL databases share; none depends on a driver."""
