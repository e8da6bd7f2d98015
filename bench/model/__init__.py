"""The nouns of the program: frozen dataclasses, no behaviour.

Units are SI throughout: seconds, bytes, cores, hertz, bytes per second. A missing number is
`None` with a reason beside it; it is never 0. Times are seconds of the host's monotonic clock,
counted from the start of the trial unless a field says otherwise.
"""

from __future__ import annotations

from bench.model.asked import (
    ENTRIES,
    ENTRY,
    GRACE,
    VERDICTS,
    Arm,
    Case,
    Experiment,
    Judgement,
    Metric,
    Plan,
    PlannedTrial,
    Policy,
    Role,
    Scalar,
    Skipped,
    Suite,
    Tenant,
    TenantSpec,
    Verdict,
    Workload,
)
from bench.model.compared import (
    OUTCOMES,
    ArmSummary,
    Commit,
    Comparison,
    Judged,
    Outcome,
    Ratio,
    Stop,
)
from bench.model.happened import (
    Exit,
    HostFacts,
    Missing,
    Observation,
    Reading,
    Rusage,
    Sample,
    TenantRecord,
    TrialRecord,
)
from bench.model.meant import (
    Finding,
    Interval,
)

__all__ = [
    "ENTRIES",
    "ENTRY",
    "GRACE",
    "OUTCOMES",
    "VERDICTS",
    "Arm",
    "ArmSummary",
    "Case",
    "Commit",
    "Comparison",
    "Exit",
    "Experiment",
    "Finding",
    "HostFacts",
    "Interval",
    "Judged",
    "Judgement",
    "Metric",
    "Missing",
    "Observation",
    "Outcome",
    "Plan",
    "PlannedTrial",
    "Policy",
    "Ratio",
    "Reading",
    "Role",
    "Rusage",
    "Sample",
    "Scalar",
    "Skipped",
    "Stop",
    "Suite",
    "Tenant",
    "TenantRecord",
    "TenantSpec",
    "TrialRecord",
    "Verdict",
    "Workload",
]
