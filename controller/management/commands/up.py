"""`manage.py up`: a whole Muster in one process, from nothing to a page one can open."""

import argparse
import contextlib
import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command

from controller import provisioning, server
from controller.env import WILDCARD_HOSTS

LOCK_NAME = "up.lock"


class Command(BaseCommand):
    """Migrate, provision an empty database, then serve everything until told to stop."""

    help = "Migrate, create the first administrator and a demo organization if there are none, and serve."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The three options are read before the settings load: see `controller.env.adopt_arguments`."""
        parser.add_argument("--host", help="address to listen on (MUSTER_HOST, default 127.0.0.1)")
        parser.add_argument("--port", help="port to listen on (MUSTER_PORT, default 8000)")
        parser.add_argument(
            "--data-dir", help="directory of database, secrets and files (MUSTER_DATA_DIR, default var)"
        )

    def handle(self, **options: object) -> None:
        """Run until SIGTERM or SIGINT."""
        environment = settings.MUSTER
        with only_one(environment.data_dir):
            listener = self._listen(environment.host, environment.port)
            with contextlib.closing(listener):
                call_command("migrate", interactive=False, verbosity=0)
                first = provisioning.first_run(password=environment.admin_password or None)
                if first is not None:
                    # Said at once: whatever fails later, nobody could ever learn the password again.
                    self._say(first_secrets(first))
                in_time = server.serve(
                    listener,
                    threads=environment.worker_threads,
                    on_started=lambda: self._say(welcome(host=environment.host, port=environment.port)),
                )
        self._say("Muster stopped.")
        if not in_time:
            # A task that outlived its grace would keep the interpreter waiting; its row will be taken up
            # again.
            sys.stderr.flush()
            os._exit(0)

    def _listen(self, host: str, port: int) -> socket.socket:
        try:
            return server.listen(host=host, port=port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                reason = f"port {port} on {host} is already in use; choose another with --port"
            else:
                reason = f"cannot listen on {host}:{port}: {error.strerror or error}"
            raise CommandError(reason) from error

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


@contextlib.contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Hold the data directory; the kernel lets go of it however we end. CommandError when it is held."""
    with (directory / LOCK_NAME).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise CommandError(
                f"{directory} is in use by another `manage.py up` (process {holder})"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
        lock.truncate(0)


def first_secrets(first: provisioning.FirstRun) -> str:
    """What is said once in the life of a database."""
    lines = [
        "",
        "First start: this is shown once.",
        "",
        f"  User           {first.username}",
        f"  Password       {first.password if first.generated else 'the one in MUSTER_ADMIN_PASSWORD'}",
        f"  Organization   {first.organization}",
        f"  Shared secret  {first.shared_secret}",
    ]
    return "\n".join(lines)


def welcome(*, host: str, port: int) -> str:
    """What is said at every start: where things are."""
    shown = "127.0.0.1" if host in WILDCARD_HOSTS else f"[{host}]" if ":" in host else host
    base = f"http://{shown}:{port}"
    lines = [
        "",
        f"Muster is up on {base}",
        "",
        f"  Admin   {base}/admin/",
        f"  API     {base}/api/v1/docs/",
        f"  Agents  {base}",
    ]
    if host in WILDCARD_HOSTS:
        lines.append("          (devices use this machine's own address instead of 127.0.0.1)")
    return "\n".join([*lines, "", "Stop with Ctrl-C.", ""])
