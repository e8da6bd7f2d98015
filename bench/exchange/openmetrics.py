"""OpenMetrics text, for Prometheus and what reads its format; every sample carries the comparison's time.

`promtool tsdb create-blocks-from openmetrics` takes it as history. Specification: OpenMetrics 1.0.
"""

from __future__ import annotations

from bench.exchange import Starts
from bench.model import Comparison

TITLE = "OpenMetrics text"
SUFFIX = ".openmetrics"


def write(comparison: Comparison, starts: Starts) -> str:
    """The comparison as an OpenMetrics exposition that ends in `# EOF`; `starts` is not needed."""
    from prometheus_client.openmetrics.exposition import generate_latest

    from bench.exchange._families import Families

    text: bytes = generate_latest(Families(comparison))  # type: ignore[no-untyped-call]
    return text.decode()
