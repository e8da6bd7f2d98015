"""A comparison as the metric families of OpenMetrics, in the classes of prometheus-client.

Apart from the format's own module because importing prometheus-client reads the system: it registers
collectors of this process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)

from bench.exchange._reading import SECONDS, bounds, judgements, ratios, summaries
from bench.exchange._text import clean, finite, timestamp
from bench.model import OUTCOMES, ArmSummary, Comparison

Labels = tuple[str, ...]
ARM = ("arm", "metric", "role", "runtime", "fingerprint")


class Families:
    """What a comparison exposes; `collect` is what prometheus-client asks of a registry."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._time = timestamp(comparison.created)
        self._fingerprint = clean(comparison.fingerprint)

    def collect(self) -> Iterator[Metric]:
        """Every family with its samples, those without samples left out."""
        yield self._info()
        for family in (*self._levels(), *self._counters(), self._ratios(), self._outcomes()):
            if family.samples:
                yield family

    def _info(self) -> Metric:
        found = self._comparison
        info = InfoMetricFamily("isobench_comparison", "What was compared, on what.")
        said = {name: clean(getattr(found, name))
                for name in ("id", "version", "suite", "image", "reference", "fingerprint")}  # fmt: skip
        if found.commit:
            said |= {"commit": clean(found.commit.id), "branch": clean(found.commit.branch)}
        info.add_metric((), said, timestamp=self._time)
        return info

    def _levels(self) -> Iterator[Metric]:
        """Quantiles of seconds, and of whatever has another unit; and the interval of each median."""
        seconds: dict[Labels, float | None] = {}
        others: dict[Labels, float | None] = {}
        ends: dict[Labels, float | None] = {}
        for one in summaries(self._comparison).values():
            arm = self._arm(one)
            median, low, high = bounds(one.median)
            target, unit = (seconds, ()) if one.unit in SECONDS else (others, (clean(one.unit),))
            for quantile, value in {"0.1": one.p10, "0.5": median, "0.95": one.p95, "0.99": one.p99}.items():
                target[*arm, quantile, *unit] = value
            if not unit:
                ends[*arm, "low"], ends[*arm, "high"] = low, high
        yield self._gauge(
            "isobench_start_seconds", "Seconds of a start.", (*ARM, "quantile"), seconds, "seconds"
        )
        yield self._gauge("isobench_start_median_bound_seconds", "Ends of the interval of the median.",
                          (*ARM, "bound"), ends, "seconds")  # fmt: skip
        yield self._gauge(
            "isobench_value", "Metrics that are no seconds.", (*ARM, "quantile", "unit"), others
        )

    def _counters(self) -> Iterator[Metric]:
        arms = {self._arm(one): one for one in summaries(self._comparison).values()}
        excluded: dict[Labels, float | None] = {}
        for reason, count in self._comparison.excluded.items():
            key: Labels = (clean(reason), self._fingerprint)
            excluded[key] = (excluded.get(key) or 0) + count
        for name, help_, labels, values in (
            ("isobench_starts", "Valid starts.", ARM, {k: one.n for k, one in arms.items()}),
            ("isobench_failed_starts", "Failed starts.", ARM, {k: one.failed for k, one in arms.items()}),
            ("isobench_blocks", "Blocks measured.", ("fingerprint",),
             {(self._fingerprint,): self._comparison.blocks}),
            ("isobench_excluded_blocks", "Blocks left out.", ("reason", "fingerprint"), excluded),
        ):  # fmt: skip
            family = CounterMetricFamily(name, help_, labels=labels)
            for key, value in values.items():
                if (number := finite(value)) is not None and number >= 0:
                    family.add_metric(key, number, timestamp=self._time)
            yield family

    def _ratios(self) -> Metric:
        values: dict[Labels, float | None] = {}
        for (arm, metric, against), one in ratios(self._comparison).items():
            for bound, value in zip(("estimate", "low", "high"), bounds(one.ratio), strict=True):
                values[arm, metric, against, self._fingerprint, bound] = value
        labels = ("arm", "metric", "against", "fingerprint", "bound")
        return self._gauge("isobench_start_ratio", "Ratio within blocks, with its interval.", labels, values)

    def _outcomes(self) -> Metric:
        labels = ("arm", "metric", "against", "fingerprint")
        family = StateSetMetricFamily("isobench_outcome", "What the gate said.", labels=labels)
        seen = set()
        for (arm, metric), found in judgements(self._comparison).items():
            for one in found:
                key = (arm, metric, clean(one.against), self._fingerprint)
                if key not in seen:
                    seen.add(key)
                    states = {outcome: outcome == one.outcome for outcome in OUTCOMES}
                    family.add_metric(key, states, timestamp=self._time)
        return family

    def _arm(self, one: ArmSummary) -> Labels:
        return clean(one.arm), clean(one.metric), one.role, clean(one.runtime), self._fingerprint

    def _gauge(
        self, name: str, help_: str, labels: Labels, values: Mapping[Labels, float | None], unit: str = ""
    ) -> Metric:
        """A gauge of those values; what is missing or not finite is left out."""
        family = GaugeMetricFamily(name, help_, labels=labels, unit=unit)
        for key, value in values.items():
            if (number := finite(value)) is not None:
                family.add_metric(key, number, timestamp=self._time)
        return family
