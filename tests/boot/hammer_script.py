"""One of the processes of `test_hammer`: boots and says things as fast as it can, and counts what was admitted."""

import json
import os
import sys
import threading
from collections import Counter

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "controller.settings"
django.setup()

from django.db import connections  # noqa: E402

from boot import boots, cattlepi  # noqa: E402
from boot.messages import BootRequest, route_of  # noqa: E402


def say(key: str, device: str) -> int:
    """Write to a track; returns the status."""
    request = BootRequest(
        method="POST", route=route_of(f"/track/{device}".encode()), key=key, body=b'{"info": "x"}',
        headers={}, client=None, origin="http://testserver",
    )  # fmt: skip
    return cattlepi.answer(request).status


def hammer(keys: list[str], rounds: int, found: Counter[str], guard: threading.Lock, offset: int) -> None:
    """Boot in batches of several sizes over all keys, then write to tracks."""
    for turn in range(rounds):
        size = (1, 3, 7)[(turn + offset) % 3]
        batch = [boots.Boot(keys[(turn + n) % len(keys)], f"d{(turn * n) % 5}") for n in range(size)]
        answers = boots.answer_all(batch)
        status = say(keys[turn % len(keys)], f"d{turn % 5}")
        with guard:
            for boot, answer in zip(batch, answers, strict=True):
                found[f"boot {keys.index(boot.key)} {answer.status}"] += 1
            found[f"track {turn % len(keys)} {status}"] += 1
    connections.close_all()


def main() -> None:
    """Read the keys, wait for the word to begin, print what happened."""
    keys, rounds, threads = json.loads(sys.stdin.readline())
    print("ready", flush=True)
    sys.stdin.readline()
    found: Counter[str] = Counter()
    guard = threading.Lock()
    running = [threading.Thread(target=hammer, args=(keys, rounds, found, guard, n)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
