"""One revision of a device over REST: what it held, what differs from another, and going back to it.

Files are shown as text with secrets as marks; those who may reveal them get the text as it is, and bytes that are
not text as base64.
"""

import base64
import tarfile
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from config_merge.api.devices import device_errors
from config_merge.api.serializers import RevisionSerializer
from config_merge.engine import File, diff_files
from config_merge.hiding import files_hidden, history_secrets
from config_merge.models import Config, ConfigRevision
from config_merge.queries import files_in
from config_merge.services.revisions import revision_restore
from devices.models import Device
from devices.queries import devices_visible_to
from tenancy.api import base
from tenancy.disclosure import disclosure_of

NUMBERS = [OpenApiParameter("n", int, OpenApiParameter.PATH, description="The revision's number.")]


class FileSerializer(serializers.Serializer[Any]):
    """A file of a revision: `text`, or `base64` for bytes that are none (null without the right to reveal)."""

    path = serializers.CharField()
    mode = serializers.CharField()
    size = serializers.IntegerField()
    text = serializers.CharField(allow_null=True)
    base64 = serializers.CharField(allow_null=True)


class RevisionDetailSerializer(RevisionSerializer):
    """One revision with its files; `restorable` tells whether what it was made from is known."""

    restorable = serializers.BooleanField()
    files = FileSerializer(many=True)

    class Meta(RevisionSerializer.Meta):
        fields = (*RevisionSerializer.Meta.fields, "restorable", "files")  # type: ignore[assignment]
        read_only_fields = fields  # type: ignore[assignment]


class RevisionDiffSerializer(serializers.Serializer[Any]):
    """What a device would see change from one revision to another, as a unified diff of its files."""

    vars()["from"] = serializers.IntegerField()
    to = serializers.IntegerField()
    diff = serializers.CharField(allow_blank=True)


class RestoredSerializer(serializers.Serializer[Any]):
    """The revision now in force; `identical` tells whether its bytes are those of the one asked for."""

    revision = serializers.IntegerField()
    identical = serializers.BooleanField()


class _Revisions(base.TenantView):
    """The revisions of a device of the caller's."""

    model = Device
    queryset = ConfigRevision.objects.none()
    pagination_class = None

    def get_queryset(self) -> QuerySet[Any]:
        """Return the devices the caller may see."""
        return devices_visible_to(self.request.user)

    def revision(self, device: Device, number: str) -> ConfigRevision:
        """Return a revision of a device, with its archive. Raises Http404."""
        found = ConfigRevision.objects.filter(config__device=device, number=int(number)).first()
        if found is None:
            raise Http404("The device has no such revision.")
        return found

    def files(self, device: Device, *revisions: ConfigRevision) -> list[tuple[File, ...]]:
        """Return the files of revisions as the caller may see them, and note it when there are secrets in them."""
        held = [_unpacked(revision) for revision in revisions]
        config = Config.objects.select_related("device").get(device=device)
        secrets = history_secrets(config, revisions)
        hidden = [files_hidden(files, secrets) for files in held]
        disclosure = disclosure_of(self.request)
        if hidden == held or not disclosure.may(device.organization_id):
            return hidden
        disclosure.note(device, organization_id=device.organization_id)
        return held


def _unpacked(revision: ConfigRevision) -> tuple[File, ...]:
    try:
        return files_in(bytes(revision.artefact))
    except (tarfile.TarError, OSError):
        return ()


def _shown(file: File, *, reveal: bool) -> dict[str, Any]:
    try:
        text: str | None = file.contents.decode()
    except UnicodeDecodeError:
        text = None
    raw = base64.b64encode(file.contents).decode() if text is None and reveal else None
    return {"path": file.path, "mode": file.mode, "size": len(file.contents), "text": text, "base64": raw}


class RevisionView(_Revisions):
    """What a device was told to be at one time."""

    serializer_class = RevisionDetailSerializer

    @base.operation(
        "controller_device_revision",
        {200: RevisionDetailSerializer, **base.READ_ONE},
        parameters=NUMBERS,
    )
    def get(self, request: Request, pk: str, n: str) -> Response:
        """Show one revision with its files."""
        device = self.get_object()
        revision = self.revision(device, n)
        reveal = disclosure_of(request).may(device.organization_id)
        (files,) = self.files(device, revision)
        body = {
            **RevisionSerializer(revision).data,
            "restorable": bool(revision.inputs),
            "files": [_shown(file, reveal=reveal) for file in files],
        }
        return Response(body)


class RevisionDiffView(_Revisions):
    """What differs between two revisions."""

    serializer_class = RevisionDiffSerializer

    @base.operation(
        "controller_device_revision_diff",
        {200: RevisionDiffSerializer, **base.READ_ONE},
        parameters=[
            *NUMBERS,
            OpenApiParameter("m", int, OpenApiParameter.PATH, description="The other revision's number."),
        ],
    )
    def get(self, request: Request, pk: str, n: str, m: str) -> Response:
        """Show the unified diff from revision n to revision m."""
        device = self.get_object()
        old, new = self.revision(device, n), self.revision(device, m)
        return Response(
            {"from": old.number, "to": new.number, "diff": diff_files(*self.files(device, old, new))}
        )


class RevisionRestoreView(_Revisions):
    """Goes back."""

    serializer_class = RestoredSerializer
    post_action = "change"

    @base.operation(
        "controller_device_revision_restore",
        {200: RestoredSerializer, 400: base.INVALID, **base.READ_ONE},
        request=None,
        parameters=[
            *NUMBERS,
            OpenApiParameter("skip_missing", str, description="`true` leaves out templates that are gone."),
        ],
    )
    def post(self, request: Request, pk: str, n: str) -> Response:
        """Give the device its own configuration, variables and templates of revision n again."""
        device = self.get_object()
        skip = request.query_params.get("skip_missing") == "true"
        with device_errors():
            done = revision_restore(device, number=int(n), skip_missing=skip, actor_id=request.user.pk)
        return Response({"revision": done.revision, "identical": done.identical})
