"""Names for buckets of a private S3.

moto keeps its buckets for the whole process, whichever of its servers made them: what two test
files call alike is one bucket.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import sys
import warnings

__all__ = ["bucket_name", "settle"]


def bucket_name() -> str:
    """Return a name that no other test uses."""
    return f"box-{secrets.token_hex(6)}"


def settle() -> None:
    """Have the sessions closed of S3 filesystems that nobody holds any more.

    s3fs waits for that for a tenth of a second; on a busy machine they are left to the collector,
    which would tell of their sockets amid another test.
    """
    if "s3fs" not in sys.modules:
        return
    from fsspec.asyn import get_loop, sync

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
        sync(get_loop(), asyncio.sleep, 0.2)
        gc.collect()
