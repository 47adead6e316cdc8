"""A program that measures: writes down what it did, leaves `loss.json` and, if it is told to, `data`.

    python program.py TRIAL ATTEMPT

It stands alone, since it is started once a trial. Every execution measures another value.
"""

# ruff: noqa: PTH110, PTH123
import hashlib
import json
import os
import sys
import time


def note(path, what, **details):
    """As in `tests/faults/diary.py`."""
    line = json.dumps({"what": what, "pid": os.getpid(), "at": time.time(), **details}).encode() + b"\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line)
    os.fsync(file)
    os.close(file)


def main():
    """Measure once."""
    trial, attempt = (int(word) for word in sys.argv[1:])
    orders = json.loads(os.environ["MATLOOP_FAULTS_ORDERS"])
    told = {"trial": trial, "attempt": attempt, "odd": ""}
    note(orders["diary"], "begun", **told)
    if os.path.exists(orders["useless"]):
        sys.exit("the lamp is broken")
    time.sleep(orders["sleep_s"])
    unique = int.from_bytes(os.urandom(4), "big")
    content = unique.to_bytes(8, "big") * (1 + unique % 3000)
    sha256 = hashlib.sha256(content).hexdigest() if orders["artifacts"] else ""
    with open("loss.json", "w") as file:
        json.dump({"loss": float(unique)}, file)
    if orders["artifacts"]:
        with open("data", "wb") as file:
            file.write(content)
    note(orders["diary"], "returned", loss=float(unique), cost=None, sha256=sha256, **told)


main()
