"""Whether a device has what it confirmed, over REST; and accepting what was edited on it by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from config_merge.api.previews import Previews, PreviewSerializer
from config_merge.api.tasks import Late
from config_merge.delivery import adopt
from config_merge.models import Config, ConfigRevision, Drift
from config_merge.services import job_previews
from core.errors import Conflict
from devices.models import Device
from devices.queries import devices_visible_to
from tenancy.api import base
from tenancy.api.problems import worded_for
from tenancy.disclosure import disclosure_of

CONFLICT = {
    409: base.said("The device cannot be asked, has something else by now, or is yet to get its files.")
}


class DriftSerializer(serializers.Serializer[Any]):
    """What a device measured (`actual`) beside what it should have (`expected`); empty where nobody knows."""

    drift = serializers.ChoiceField(choices=Drift.choices)
    actual = serializers.CharField(allow_blank=True)
    expected = serializers.CharField(allow_blank=True)
    actual_at = serializers.DateTimeField(allow_null=True)


class LeftOutSerializer(serializers.Serializer[Any]):
    """An edit that the device's own settings cannot express."""

    place = serializers.CharField()
    reason = serializers.CharField()


class AdoptionSerializer(serializers.Serializer[Any]):
    """What accepting would do to the files the device is given; what it cannot express; and what it is made from.

    `actual` is to be sent back to accept exactly this.
    """

    actual = serializers.CharField(allow_blank=True)
    left_out = LeftOutSerializer(many=True)
    preview = PreviewSerializer()


class AcceptSerializer(serializers.Serializer[Any]):
    """What was seen: the digest that the proposal names."""

    actual = serializers.CharField(max_length=64, allow_blank=True)


@contextmanager
def _conflicts() -> Iterator[None]:
    try:
        with worded_for(Device):
            yield
    except Conflict as error:
        raise Late(str(error)) from error


class _Drift(Previews):
    """The drift of the device in the path."""

    model = Config
    post_action = "change"
    serializer_class: Any = DriftSerializer
    pagination_class = None

    def get_queryset(self) -> Any:
        """Return the devices the caller may see."""
        return devices_visible_to(self.request.user)

    def adoption(self, device: Device, proposal: adopt.Proposal) -> Response:
        """Print a proposal as the caller may see it, and note which secrets it shows."""
        disclosure, owner = disclosure_of(self.request), device.organization_id
        shown = job_previews.shown(job_previews.as_json(proposal.preview), disclosure)
        job_previews.looks_noted(disclosure, shown.owners, of=device, organization_id=owner)
        left_out = [{"place": place, "reason": reason} for place, reason in proposal.adopted.left_out]
        return Response({"actual": proposal.actual, "left_out": left_out, "preview": shown.body})


class DeviceDriftView(_Drift):
    """Whether a device has what it confirmed."""

    @base.operation("controller_device_drift", {200: DriftSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Tell what the device measured last, and what it should have measured."""
        return Response(self.get_serializer(drift_of(self.get_object())).data)

    @base.operation(
        "controller_device_drift_accept",
        {200: AdoptionSerializer, **base.WRITE_ONE, **CONFLICT},
        request=AcceptSerializer,
    )
    def post(self, request: Request, pk: str) -> Response:
        """Make what was edited on the device by hand its own settings; `actual` is that of the proposal."""
        device = self.get_object()
        sent = self.valid(AcceptSerializer(data=request.data))
        with _conflicts():
            found = adopt.ask(device)
            return self.adoption(
                device, adopt.accept(device, found, seen=sent["actual"], actor_id=request.user.pk)
            )


class DeviceDriftPreviewView(_Drift):
    """What accepting would do."""

    serializer_class = AdoptionSerializer

    @base.operation(
        "controller_device_drift_preview",
        {200: AdoptionSerializer, **base.WRITE_ONE, **CONFLICT},
        request=None,
    )
    def post(self, request: Request, pk: str) -> Response:
        """Ask the device what it has, and tell what accepting that would change; writes nothing."""
        device = self.get_object()
        with _conflicts():
            return self.adoption(device, adopt.propose(device, adopt.ask(device)))


def drift_of(device: Device) -> dict[str, Any]:
    """Return what is known of a device's drift (two queries)."""
    config = Config.objects.filter(device_id=device.pk).defer("config", "context").first()
    if config is None:
        return {"drift": Drift.UNKNOWN, "actual": "", "expected": "", "actual_at": None}
    held = ConfigRevision.objects.filter(config_id=config.pk, checksum=config.applied_checksum)
    expected = held.order_by("-number").values_list("digest", flat=True).first()
    return {
        "drift": config.drift,
        "actual": config.actual,
        "expected": expected or "",
        "actual_at": config.actual_at,
    }
