"""The one place where numbers become text; a minus is a hyphen here, and formats set it as they can."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Form = Callable[[float], str]

MISSING = "–"
tenths: Form = "{:.1f}".format
hundredths: Form = "{:.2f}".format
thousandths: Form = "{:.3f}".format
whole: Form = "{:.0f}".format
grouped: Form = "{:,.0f}".format
grouped_tenths: Form = "{:,.1f}".format
ten_thousandths_percent: Form = "{:.4%}".format


def signed(value: float) -> str:
    """A difference with its sign; +0.00 if it rounds to zero."""
    return f"{round(value, 2) + 0.0:+.2f}"


def signed_or_zero(value: float) -> str:
    """A difference with its sign; 0.00 if it rounds to zero."""
    return signed(value) if abs(value) >= 0.005 else "0.00"


def half(interval: float) -> str:
    """Half the width of an interval around a mean, empty for NaN."""
    return "" if math.isnan(interval) else f"± {abs(interval):.2f}"


def bounds(lower: float, upper: float, form: Form) -> str:
    """An interval by its bounds, empty for NaN."""
    return "" if math.isnan(lower) or math.isnan(upper) else f"[{form(lower)}, {form(upper)}]"


def time_spent(seconds: float) -> tuple[str, str]:
    """A time and its unit: seconds below a minute, hours from three on."""
    seconds_each, unit = (1, "seconds") if seconds < 60 else (60, "minutes") if seconds < 3 * 3600 else (3600, "hours")
    return f"{seconds / seconds_each:,.1f}", unit


def percent(share: float) -> str:
    """A share in per cent, to six digits."""
    return f"{100 * share:.6g}%"


def tenths_percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def three_digits_percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def percentage(sparsity: float, decimals: int = 1) -> str:
    """A sparsity in per cent with so many decimals, or as many as it takes to see how many weights are left.

    Zeros at its end are left out.
    """
    left = 100 * (1 - sparsity)
    needed = max(decimals, 1 - math.floor(math.log10(left))) if left > 0 else decimals
    return f"{100 * sparsity:.{needed}f}".rstrip("0").rstrip(".") + "%"


def distinct_percents(sparsities: Sequence[float]) -> list[str]:
    """Sparsities in per cent, with as few decimals as tell them apart and show how many weights are left."""
    texts = [[percentage(sparsity, decimals) for sparsity in sparsities] for decimals in range(1, 9)]
    return next((percents for percents in texts if len(set(percents)) == len(sparsities)), texts[-1])


def probability(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def prefixed(value: float) -> str:
    """A number to three digits with a decimal prefix: 1.24 M."""
    size = min(max(int(math.log10(1.0005 * value) // 3), 0), 6) if 0 < value < math.inf else 0
    return f"{value / 1000**size:.3g} {' kMGTPE'[size]}".strip()


def prefixed_bytes(value: float) -> str:
    shown = prefixed(value)
    return f"{shown}B" if shown[-1].isalpha() else f"{shown} B"


def three_digits(value: float) -> str:
    return f"{value:.3g}"


def short(value: float) -> str:
    """A number to three digits, or whole from a thousand on."""
    return grouped(value) if 1e3 <= abs(value) < 1e9 else three_digits(value)


def times(ratio: float) -> str:
    return f"{ratio:.3g}×" if ratio < math.inf else "∞"


def times_apart(ratio: float) -> str:
    return f"{ratio:.3g} ×"


def hundredths_of_milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms"


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 3600:.1f} h"


def count(value: float) -> str:
    """A count, or a mean of counts to one decimal."""
    return f"{value:.1f}".removesuffix(".0")
