"""`manage.py collect_images`: remove boot images that no configuration names, or say which these are."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from boot.images import collection, uploads


class Command(BaseCommand):
    """Does what the hourly job does, now."""

    help = "Remove boot images that no stored boot configuration names, and uploads that nobody finished."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--dry-run", action="store_true", help="only say what would go")
        parser.add_argument(
            "--days",
            type=int,
            default=settings.MUSTER.image_days,
            help="days an image is kept after its upload (MUSTER_IMAGE_DAYS)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Collect, and name what went."""
        dry_run: bool = options["dry_run"]
        collected = collection.images_collect(dry_run=dry_run, days=options["days"])
        for image in collected.images:
            space = image.key.key_id if image.key else "global"
            self.stdout.write(f"{space}/{image.path}\t{image.file.size}\t{image.file.md5}")
        word = "would go" if dry_run else "removed"
        self.stdout.write(f"{len(collected.images)} images, {collected.size} bytes {word}")
        if not dry_run:
            self.stdout.write(
                f"{uploads.uploads_collect()} uploads, {collection.files_collect()} lost files removed"
            )
