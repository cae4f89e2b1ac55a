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
_RESET_PEAK = "5"
_MINUTES = 20


def peak_memory(peer: str, task: Task, place: Place) -> tuple[float, float]:
    """Bytes above what the process had after its imports, and seconds; opening is included."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory"],
        cwd=ROOT,
        input=pickle.dumps((peer, task, place)),
        stdout=subprocess.PIPE,
        check=True,
        timeout=60 * _MINUTES,
    )
    nbytes, seconds = json.loads(done.stdout.splitlines()[-1])
    return nbytes, seconds


def _peak() -> int:
    """The most memory that this process has had so far, in bytes."""
    if not _STATUS.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def _forget_peak() -> None:
    """Let the peak be what there is now, where the system can."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text(_RESET_PEAK)


def main() -> None:
    """Do what standard input asks for; print bytes and seconds."""
    name, task, place = pickle.load(sys.stdin.buffer)
    peer = PEERS[name]
    _forget_peak()
    before, start = _peak(), time.perf_counter()
    # Bound, so that what was read counts while it lives.
    result: Any = peer.act(place, task, peer.ready(place, task))
    seconds, peak = time.perf_counter() - start, _peak()
    del result
    peer.close()
    print(json.dumps([max(0, peak - before), seconds]))


if __name__ == "__main__":
    main()
