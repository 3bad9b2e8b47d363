"""`manage.py verify_audit`: is the audit trail what was written? Exit status 1 when it is not."""

import argparse
import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tenancy import audit_chain
from tenancy.models import AuditEvent, AuditHead


def _pinned(text: str) -> tuple[int, str]:
    match = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64}|)", text)
    if match is None or bool(int(match[1])) != bool(match[2]):
        raise argparse.ArgumentTypeError("expected NUMBER:SEAL as an earlier run printed it")
    return int(match[1]), match[2]


class Command(BaseCommand):
    """Reads all of the trail; may run beside a live server."""

    help = "Seal what waits and check the audit trail's chain."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--head",
            type=_pinned,
            metavar="NUMBER:SEAL",
            help="the head an earlier run printed, kept elsewhere: that event must still have that seal",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Seal, check, print."""
        audit_chain.seal_all()
        faults = [fault.text for fault in audit_chain.verify()]
        if options["head"] is not None:
            faults += _contradictions(*options["head"])
        for fault in faults:
            self.stdout.write(f"FAULT {fault}")
        count = AuditEvent.objects.filter(sequence__isnull=False).count()
        head = AuditHead.objects.first()
        number, seal = (head.sequence, head.seal) if head else (0, "")
        self.stdout.write(f"{count} events")
        self.stdout.write(f"head {number}:{seal}")
        if faults:
            raise CommandError(f"The audit trail was tampered with: {len(faults)} faults.")


def _contradictions(number: int, seal: str) -> list[str]:
    """Return what is wrong when an earlier head is not part of the trail any more."""
    if not number:
        return []
    stored = AuditEvent.objects.filter(sequence=number).values_list("seal", flat=True).first()
    if stored == seal:
        return []
    return [f"event {number} " + ("is missing" if stored is None else "is not the one of the given head")]
