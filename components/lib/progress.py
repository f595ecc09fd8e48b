"""How far long work is: one line in the log every now and then."""

import time

INTERVAL_S = 10.0  # between two lines


class Progress:
    """Counts what is done of `total` (0: nobody knows how much there is) and says so at most every INTERVAL_S.

    `unit` says what is counted, as "rows".
    """

    def __init__(self, label: str, unit: str, total: int = 0) -> None:
        self.label, self.unit, self.total, self.done = label, unit, total, 0
        self.began = self.said = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def add(self, count: int, note: str = "") -> None:
        """Count what was done; a line, if it is time for one or all is done, ends in `note`."""
        self.done += count
        now = time.monotonic()
        if now - self.said >= INTERVAL_S or self.done == self.total:
            self.said = now
            print(f"{self.label}: {self._line()}{note and f', {note}'}", flush=True)

    def _line(self) -> str:
        rate = self.done / max(self.seconds, 1e-9)
        line = f"{self.done:,}{f' of {self.total:,}' if self.total else ''} {self.unit}, {rate:,.1f}/s"
        return f"{line}, {(self.total - self.done) / rate:,.0f} s left" if self.total else line
