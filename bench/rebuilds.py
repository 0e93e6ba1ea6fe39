"""Rebuilds and catch-ups of a cluster's replica, and when they began and ended: the primary's log says it."""
import datetime
import json
import os
import re
import shutil

import harness

LIMIT_SECONDS = 3600


def log_times(node, pattern):
    """When the lines that match were logged."""
    return [datetime.datetime.fromisoformat(line.split()[0]) for line in node.log_text().splitlines() if re.search(pattern, line)]


class Recoveries:
    """Of the first replica, seen from its primary."""

    def __init__(self, cluster, kind):
        """`kind`: of the session, catchup or rebuild."""
        self.primary, self.replica = cluster.primary, cluster.replicas[0]
        self._cluster, self.kind = cluster, kind
        self._begin = rf'replica {self.replica.name} in session \d+ \({kind}\) from Lsn'
        self._end = rf'replica {self.replica.name} is {"rebuilt" if kind == "rebuild" else "in sync"} at Lsn'
        self._begun = len(log_times(self.primary, self._begin))

    def has_begun(self):
        return len(log_times(self.primary, self._begin)) > self._begun

    def wait(self):
        """Until the next one has ended and all is healthy; the seconds that it took, its last flush and proof included."""
        self._cluster.wait_healthy(LIMIT_SECONDS)
        begins = log_times(self.primary, self._begin)
        if len(begins) <= self._begun:
            raise harness.Failure(f'{self.replica.name} is in sync again, but by no {self.kind}\n{self.primary.log_tail()}')
        self._begun = len(begins)
        return (next(when for when in log_times(self.primary, self._end) if when >= begins[-1]) - begins[-1]).total_seconds()


class Rebuilds(Recoveries):
    def __init__(self, cluster):
        super().__init__(cluster, 'rebuild')

    def order(self):
        """Over what the replica has."""
        status, body = self.primary.get('/v1/volumes/vol0/rebuild', 'POST', json.dumps({'replica': self.replica.name}))
        if status != 202:
            raise harness.Failure(f'the order for a rebuild: {status} {body}')
        harness.wait_for(self.has_begun, 'the rebuild to begin')

    def blank(self):
        """New disks for the replica: it is rebuilt by itself."""
        self.replica.stop()
        shutil.rmtree(self.replica.data_directory)
        os.unlink(self.replica.image_path())
        self.replica.start()
        harness.wait_for(self.has_begun, 'the rebuild to begin')

    def done_bytes(self):
        """Of the volume, by the rebuild that goes on; None if there is none."""
        session = self.primary.volume()['replicas'][0]['session']
        return session['base_bytes_done'] if session and session['kind'] == 'rebuild' else None
