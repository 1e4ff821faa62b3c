"""A snapshot's chunks on the workers of the user's Dask cluster. Needs the extra `cluster`."""
