"""The suites' own modules give the same messages as a test's asserts."""

import pytest

pytest.register_assert_rewrite(
    *(
        f"streams_engine.testing.{name}"
        for name in (
            "conformance_sink",
            "conformance_source",
            "sink_records",
            "sink_refusing",
            "source_reading",
            "source_selecting",
        )
    )
)
