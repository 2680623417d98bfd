"""Pure helpers for numbers: human units, percentiles, axis ticks. No I/O."""

import math

KIB = 1024
MIB = 1024 * 1024


def human_bytes(count):
    """1536 -> '1.5 KiB'; None -> 'n/a'."""
    if count is None:
        return "n/a"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024 or unit == "GiB":
            break
        value /= 1024
    if unit == "B":
        return f"{int(value)} B"
    digits = 0 if abs(value) >= 99.95 else 1
    return f"{value:.{digits}f} {unit}"


def human_count(count):
    """1234567 -> '1.23 million'; small numbers as they are."""
    if count is None:
        return "n/a"
    if count >= 1_000_000:
        return f"{count / 1e6:.3g} million" if count < 1e9 else f"{count / 1e6:.0f} million"
    return str(int(count))


def human_micros(micros):
    """Microseconds in the unit that suits: '0.8 us', '85 us', '1.25 ms', '2.1 s'."""
    if micros is None:
        return "n/a"
    if micros < 1000:
        return f"{micros:.3g} us"
    if micros < 1_000_000:
        return f"{micros / 1000:.3g} ms"
    return f"{micros / 1e6:.3g} s"


def human_seconds(seconds):
    """Seconds with as many digits as matter: '0.42 s', '7.3 s', '95 s'."""
    if seconds is None:
        return "n/a"
    digits = 2 if seconds < 1 else 1 if seconds < 60 else 0
    return f"{seconds:.{digits}f} s"


def percentile(values, percent):
    """Nearest-rank percentile of a list; None when the list is empty."""
    if not values:
        return None
    ordered = sorted(values)
    rank = math.ceil(percent / 100 * len(ordered))
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def axis_ticks(maximum, wanted=5):
    """Round tick values from 0 to the first one at or above `maximum`; at most `wanted` + 1 steps."""
    if not maximum > 0:
        maximum = 1.0
    raw = maximum / wanted
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
    steps = max(1, math.ceil(maximum / step - 1e-9))
    return [i * step for i in range(steps + 1)]


def tick_label(value):
    """A tick value without a trailing '.0'."""
    return f"{value:g}"
