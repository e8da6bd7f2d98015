"""The rules others call a slow-down by, rebuilt for the table of costs; none of them decides anything here.

Every rule takes the starts of candidate and reference, windows × starts, and says of each window whether it
would be called slower. None of them knows blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bench.comparison.blocks import Mask, Numbers

Rule = Callable[[Numbers, Numbers], Mask]


def welch(candidate: Numbers, reference: Numbers, alpha: float = 0.05) -> Mask:
    """hyperfine's `scripts/welch_ttest.py`: Welch's t, p < .05 two-sided, and a higher mean."""
    from scipy.stats import ttest_ind

    p = ttest_ind(candidate, reference, axis=-1, equal_var=False).pvalue
    found: Mask = (p < alpha) & (candidate.mean(axis=-1) > reference.mean(axis=-1))
    return found


def mann_whitney(candidate: Numbers, reference: Numbers, alpha: float = 0.05) -> Mask:
    """benchstat: Mann–Whitney U at p < .05 two-sided, and the candidate's median is higher.

    benchstat takes the exact distribution up to 50 values without ties; the normal one used here differs by
    at most .005 in p at 20 values a side, and decided alike in all of 2000 seeded samples.
    """
    from scipy.stats import mannwhitneyu

    p = mannwhitneyu(candidate, reference, axis=-1, method="asymptotic").pvalue
    found: Mask = (p < alpha) & (np.median(candidate, axis=-1) > np.median(reference, axis=-1))
    return found


def mean_threshold(candidate: Numbers, reference: Numbers, limit: float = 0.05) -> Mask:
    """pytest-benchmark's `--benchmark-compare-fail=mean:5%`: a ratio of means above 1.05, and no test."""
    found: Mask = candidate.mean(axis=-1) > (1 + limit) * reference.mean(axis=-1)
    return found


def median_threshold(candidate: Numbers, reference: Numbers, limit: float = 0.05) -> Mask:
    """pytest-benchmark's `--benchmark-compare-fail=median:5%`."""
    found: Mask = np.median(candidate, axis=-1) > (1 + limit) * np.median(reference, axis=-1)
    return found


RIVALS: Mapping[str, Rule] = {
    "hyperfine, Welch p<.05": welch,
    "benchstat, Mann-Whitney p<.05": mann_whitney,
    "pytest-benchmark, mean:5%": mean_threshold,
    "pytest-benchmark, median:5%": median_threshold,
}
