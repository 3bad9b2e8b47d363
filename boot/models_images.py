"""Images that machines boot from: their bytes, the paths they have, and uploads on their way.

Invariant: an `ImageFile` is written once, under a name nobody can guess, and so are paths: what a path names never
changes. Rows say what is in the storage; what no row names any more, `boot.images.collection` removes.
"""

from django.db import models

from core.models import BaseModel
from tenancy.models import ApiKey, Organization

GLOBAL_IS_NOBODYS = models.Q(organization=None, key=None) | models.Q(
    organization__isnull=False, key__isnull=False
)


class ImageFile(BaseModel):
    """Bytes in the storage; images of one organization with equal bytes share them.

    The row is there before the bytes are and until they are gone, so that a killed process leaves nothing unknown.
    It outlives its organization for the same reason.
    """

    class State(models.TextChoices):
        """What there is in the storage."""

        WRITING = "writing", "Being written"
        READY = "ready", "Ready"

    organization = models.ForeignKey(Organization, null=True, on_delete=models.SET_NULL, related_name="+")
    name = models.CharField(max_length=100, unique=True, editable=False)
    state = models.CharField(max_length=16, choices=State.choices, default=State.WRITING)
    size = models.BigIntegerField(default=0)
    md5 = models.CharField("MD5", max_length=32, blank=True)
    sha256 = models.CharField("SHA-256", max_length=64, blank=True)

    class Meta(BaseModel.Meta):
        indexes = (models.Index(fields=("organization", "sha256"), name="image_file_by_digest"),)

    def __str__(self) -> str:
        return self.name


class Image(BaseModel):
    """A path in a space: that of one API key, or the global one, which has no organization and every key reads.

    `recipe` and `build_id` are set for the files of a build, `autobuild/<recipe>/<build id>/<file>`.
    """

    organization = models.ForeignKey(Organization, null=True, blank=True, on_delete=models.CASCADE)
    key = models.ForeignKey(
        ApiKey, null=True, blank=True, on_delete=models.CASCADE, related_name="images", verbose_name="API key"
    )
    path = models.CharField(max_length=255)
    file = models.ForeignKey(ImageFile, on_delete=models.PROTECT, related_name="images")
    content_type = models.CharField(max_length=100)
    recipe = models.CharField(max_length=100, blank=True)
    build_id = models.CharField(max_length=17, blank=True)

    class Meta(BaseModel.Meta):
        indexes = (
            models.Index(fields=("organization", "-created", "id"), name="image_newest_of_org"),
            models.Index(fields=("key", "recipe", "-build_id"), name="image_builds_of_key"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("key", "path"),
                condition=models.Q(key__isnull=False),
                name="image_path_of_key",
                violation_error_message="There is an image at this path already; what a path names never changes.",
            ),
            models.UniqueConstraint(
                fields=("path",),
                condition=models.Q(key__isnull=True),
                name="image_path_global",
                violation_error_message="There is an image at this path already; what a path names never changes.",
            ),
            models.CheckConstraint(condition=GLOBAL_IS_NOBODYS, name="image_of_organization_and_key"),
        )

    def __str__(self) -> str:
        return self.path

    @property
    def file_name(self) -> str:
        """The last name of its path."""
        return self.path.rpartition("/")[2]


class ImageUpload(BaseModel):
    """An image on its way here, in parts; `modified` is when something last came.

    What is being put together without a lease waits for a worker; `checked` is how many bytes have been read again,
    and `actor_name` and `actor_id` are who asked for it.
    """

    class State(models.TextChoices):
        """How far it is."""

        OPEN = "open", "Open"
        FINISHING = "finishing", "Being put together"
        FINISHED = "finished", "Finished"
        FAILED = "failed", "Failed"
        ABANDONED = "abandoned", "Abandoned"

    organization = models.ForeignKey(
        Organization, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )
    key = models.ForeignKey(ApiKey, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    path = models.CharField(max_length=255)
    size = models.BigIntegerField()
    received = models.BigIntegerField(default=0, editable=False)
    md5 = models.CharField("expected MD5", max_length=32, blank=True)
    sha256 = models.CharField("expected SHA-256", max_length=64, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN, editable=False)
    problem = models.CharField(max_length=200, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    checked = models.BigIntegerField(default=0, editable=False)
    actor_name = models.CharField("by", max_length=150, blank=True, editable=False)
    actor_id = models.UUIDField(null=True, editable=False)
    image = models.ForeignKey(Image, null=True, editable=False, on_delete=models.SET_NULL, related_name="+")

    class Meta(BaseModel.Meta):
        constraints = (
            models.CheckConstraint(condition=GLOBAL_IS_NOBODYS, name="upload_of_organization_and_key"),
            models.CheckConstraint(
                condition=models.Q(size__gte=0, received__gte=0, received__lte=models.F("size")),
                name="upload_within_its_size",
            ),
        )

    def __str__(self) -> str:
        return self.path


class ImagePart(models.Model):
    """One part of an upload, as it came."""

    upload = models.ForeignKey(ImageUpload, on_delete=models.CASCADE, related_name="parts")
    offset = models.BigIntegerField()
    name = models.CharField(max_length=120)

    class Meta:
        ordering = ("offset",)
        constraints = (models.UniqueConstraint(fields=("upload", "offset"), name="image_part_unique"),)

    def __str__(self) -> str:
        return self.name


class ImageLimits(models.Model):
    """How much of images an organization may keep, in bytes; without a row the house's own limits hold."""

    organization = models.OneToOneField(
        Organization, primary_key=True, on_delete=models.CASCADE, related_name="image_limits"
    )
    largest = models.BigIntegerField("largest image")
    total = models.BigIntegerField("all images together")

    class Meta:
        verbose_name = verbose_name_plural = "image limits"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(largest__gte=0, total__gte=0), name="image_limits_positive"
            ),
        )

    def __str__(self) -> str:
        return f"Image limits of {self.organization}"
