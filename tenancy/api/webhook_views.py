"""Webhooks over REST: manage them, try them, read what was sent, send it again."""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django_filters import rest_framework as filters
from rest_framework import mixins, status
from rest_framework.request import Request
from rest_framework.response import Response

from tenancy import webhook_services as services
from tenancy.api import base
from tenancy.api import webhook_serializers as serializers
from tenancy.api.filters import TenantFilter
from tenancy.api.problems import worded_for
from tenancy.queries import webhook_deliveries_visible_to, webhooks_visible_to
from tenancy.webhook_models import EVENT_CHOICES, Webhook, WebhookDelivery

SWITCHED_OFF = {400: base.INVALID}


class WebhookFilter(TenantFilter):
    """What people look for among webhooks."""

    is_active = filters.BooleanFilter()


class WebhookDeliveryFilter(filters.FilterSet):
    """What people look for among deliveries."""

    state = filters.ChoiceFilter(choices=WebhookDelivery.State.choices)
    event = filters.ChoiceFilter(choices=EVENT_CHOICES)


class _Webhooks(base.TenantView):
    """The webhooks of the organizations where the caller may see them."""

    model = Webhook
    serializer_class: Any = serializers.WebhookSerializer

    def get_queryset(self) -> QuerySet[Webhook]:
        """Return them newest first; secrets stay where they are."""
        return webhooks_visible_to(self.request.user).defer("secret")


class WebhookListView(_Webhooks, mixins.ListModelMixin):
    """Webhooks, newest first."""

    filterset_class: Any = WebhookFilter

    @base.operation("users_webhook_list", {200: serializers.WebhookSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List webhooks."""
        return self.list(request)

    @base.operation("users_webhook_create", {201: serializers.IssuedWebhookSerializer, **base.WRITE})
    def post(self, request: Request) -> Response:
        """Create a webhook; its secret is in this answer and nowhere else."""
        sent = self.valid(self.get_serializer(data=request.data))
        with worded_for(Webhook):
            webhook, secret = services.webhook_create(**sent)
        body = {**self.get_serializer(webhook).data, "secret": secret}
        response = Response(body, status=status.HTTP_201_CREATED)
        response["Cache-Control"] = "no-store"
        return response


class WebhookDetailView(_Webhooks):
    """One webhook."""

    serializer_class: Any = serializers.WebhookChangeSerializer

    @base.operation("users_webhook_read", {200: serializers.WebhookChangeSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one webhook."""
        return Response(self.get_serializer(self.get_object()).data)

    @base.operation("users_webhook_update", {200: serializers.WebhookChangeSerializer, **base.WRITE_ONE})
    def put(self, request: Request, pk: str) -> Response:
        """Change a webhook."""
        return self._change(request, partial=False)

    @base.operation(
        "users_webhook_partial_update", {200: serializers.WebhookChangeSerializer, **base.WRITE_ONE}
    )
    def patch(self, request: Request, pk: str) -> Response:
        """Change some fields of a webhook."""
        return self._change(request, partial=True)

    @base.operation("users_webhook_delete", {204: None, **base.READ_ONE})
    def delete(self, request: Request, pk: str) -> Response:
        """Delete a webhook with its log."""
        services.webhook_delete(self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _change(self, request: Request, *, partial: bool) -> Response:
        webhook = self.get_object()
        sent = self.valid(self.get_serializer(webhook, data=request.data, partial=partial))
        with worded_for(Webhook):
            services.webhook_update(webhook, **sent)
        return Response(self.get_serializer(webhook).data)


class WebhookSecretView(_Webhooks):
    """The secret that signs a webhook's messages."""

    serializer_class: Any = serializers.WebhookSecretSerializer

    @base.operation(
        "users_webhook_rotate_secret",
        {200: serializers.WebhookSecretSerializer, **base.READ_ONE},
        request=None,
    )
    def post(self, request: Request, pk: str) -> Response:
        """Replace the secret; the new one is in this answer and nowhere else."""
        response = Response({"secret": services.webhook_secret_rotate(self.get_object())})
        response["Cache-Control"] = "no-store"
        return response


class WebhookTestView(_Webhooks):
    """A message that only shows that a webhook works."""

    serializer_class: Any = serializers.WebhookDeliverySerializer

    @base.operation(
        "users_webhook_test",
        {201: serializers.WebhookDeliverySerializer, **base.READ_ONE, **SWITCHED_OFF},
        request=None,
    )
    def post(self, request: Request, pk: str) -> Response:
        """Send a `webhook.test` message; the answer is its delivery, still on its way."""
        delivery = services.webhook_test(self.get_object())
        return Response(self.get_serializer(delivery).data, status=status.HTTP_201_CREATED)


class _Deliveries(base.TenantView):
    """The messages to one webhook that the caller may see."""

    model = WebhookDelivery
    serializer_class: Any = serializers.WebhookDeliverySerializer

    def get_queryset(self) -> QuerySet[WebhookDelivery]:
        """Return them newest first; a webhook that is not visible does not exist."""
        if getattr(self, "swagger_fake_view", False):
            return WebhookDelivery.objects.none()
        webhook = webhooks_visible_to(self.request.user).filter(pk=self.kwargs["pk"])
        if not webhook.exists():
            raise Http404("No Webhook matches the given query.")
        return webhook_deliveries_visible_to(self.request.user).filter(webhook_id=self.kwargs["pk"])


class WebhookDeliveryListView(_Deliveries, mixins.ListModelMixin):
    """The log of a webhook, newest first."""

    filterset_class: Any = WebhookDeliveryFilter

    @base.operation("users_webhook_delivery_list", {200: serializers.WebhookDeliverySerializer, **base.LIST})
    def get(self, request: Request, pk: str) -> Response:
        """List what was sent to a webhook in the last 30 days."""
        return self.list(request)


class WebhookReplayView(_Deliveries):
    """Sending a message once more."""

    lookup_url_kwarg = "delivery"

    @base.operation(
        "users_webhook_delivery_replay",
        {201: serializers.WebhookDeliverySerializer, **base.READ_ONE, **SWITCHED_OFF},
        request=None,
    )
    def post(self, request: Request, pk: str, delivery: str) -> Response:
        """Send the same body again, as a new delivery."""
        row = services.webhook_delivery_replay(self.get_object())
        return Response(self.get_serializer(row).data, status=status.HTTP_201_CREATED)
