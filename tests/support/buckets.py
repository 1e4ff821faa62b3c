"""Names for buckets of a private S3.

moto keeps its buckets for the whole process, whichever of its servers made them: what two test
files call alike is one bucket.
"""

from __future__ import annotations

import secrets

__all__ = ["bucket_name"]


def bucket_name() -> str:
    """Return a name that no other test uses."""
    return f"box-{secrets.token_hex(6)}"
