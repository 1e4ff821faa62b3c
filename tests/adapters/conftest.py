"""The suites' own modules give the same messages as a test's asserts."""

import pytest

pytest.register_assert_rewrite(
    *(
        f"streams_engine.testing.{name}"
        for name in (
            "change_log_place",
            "conformance_change_log",
            "conformance_change_writer",
            "conformance_sink",
            "conformance_source",
            "sink_records",
            "sink_bad_rows",
            "source_reads",
            "source_selections",
        )
    )
)
