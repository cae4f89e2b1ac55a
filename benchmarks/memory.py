"""Peak memory of one action, in a process that does nothing else."""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import ROOT
from benchmarks.peers import PEERS, Task
from benchmarks.store import Place

_STATUS = Path("/proc/self/status")
#: Value that resets the peak: proc(5), ``/proc/pid/clear_refs``.
_RESET_PEAK = "5"
_TIMEOUT = 20 * 60


def peak_memory(peer: str, task: Task, place: Place) -> tuple[float, float]:
    """Measure one action in a new process, opening included.

    Parameters
    ----------
    peer
        Name in `benchmarks.peers.PEERS`.
    task
        What is read.
    place
        Address of the object.

    Returns
    -------
    tuple of float
        Peak memory in bytes above that after imports, and seconds.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory"],
        cwd=ROOT,
        input=pickle.dumps((peer, task, place)),
        stdout=subprocess.PIPE,
        check=True,
        timeout=_TIMEOUT,
    )
    nbytes, seconds = json.loads(done.stdout.splitlines()[-1])
    return nbytes, seconds


def _peak() -> int:
    """Return the peak resident memory of this process in bytes."""
    if not _STATUS.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def _reset_peak() -> None:
    """Set the peak to the present memory, where the system can (Linux)."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text(_RESET_PEAK)


def main() -> None:
    """Run the task that standard input holds, pickled; print bytes and seconds as JSON."""
    name, task, place = pickle.load(sys.stdin.buffer)
    peer = PEERS[name]
    _reset_peak()
    before, start = _peak(), time.perf_counter()
    # Bound to a name, so that the pixels are alive when the peak is read.
    result: Any = peer.act(place, task, peer.ready(place, task))
    seconds, peak = time.perf_counter() - start, _peak()
    del result
    peer.close()
    print(json.dumps([max(0, peak - before), seconds]))


if __name__ == "__main__":
    main()
