"""Waiting for a machine that has nothing else to do."""
import time

import facts

BUSY_CORES_MAX = 0.2
LOOK_SECONDS_MAX = 1.0


class IdleGate:
    """Before each measurement. Without `wanted` it lets everything pass and knows nothing."""

    def __init__(self, wanted, limit_seconds):
        self.wanted, self.limit_seconds = wanted, limit_seconds
        self._look_seconds = min(LOOK_SECONDS_MAX, limit_seconds)

    def wait(self):
        """{'idle': whether it is, None if nobody looked}, and the cores that were busy when it last looked."""
        if not self.wanted:
            return {'idle': None}
        begin = time.monotonic()
        while True:
            busy = self._look()
            waited = time.monotonic() - begin
            if busy <= BUSY_CORES_MAX or waited >= self.limit_seconds:
                return {'idle': busy <= BUSY_CORES_MAX, 'busy_cores_before': busy, 'waited_idle_seconds': waited}

    def _look(self):
        busy, begin = facts.machine_busy_seconds(), time.monotonic()
        time.sleep(self._look_seconds)
        return (facts.machine_busy_seconds() - busy) / (time.monotonic() - begin)
