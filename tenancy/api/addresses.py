"""The e-mail address of a person over REST, in the shape of a list of addresses (OpenWISP spec, 1B.10)."""

from typing import Any

from django.http import Http404
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Conflict
from tenancy import people
from tenancy.api import base
from tenancy.api import people_serializers as shapes
from tenancy.api.people import PeopleView
from tenancy.api.problems import worded_for
from tenancy.authority import may_read_account
from tenancy.models import User

ONE_ADDRESS = "A person has one e-mail address here: change it instead."
ADDRESS_ID = 1


class _Addresses(PeopleView):
    """The address of a person."""

    serializer_class = shapes.AddressSerializer

    def person(self) -> User:
        """Return the person in the path, if the caller may know the address."""
        person: User = self.get_object()
        if not may_read_account(self.request.user, person):
            self.permission_denied(self.request, message="This person's address is not yours to see.")
        return person

    def addressed(self, number: str) -> User:
        """Return the person, if they have an address of this number."""
        person = self.person()
        if int(number) != ADDRESS_ID or not person.email:
            raise Http404
        return person

    def row(self, person: User) -> dict[str, Any]:
        """Return the address as a row."""
        return {"id": ADDRESS_ID, "email": person.email, "verified": False, "primary": True}

    def store(self, person: User) -> None:
        """Write what was sent."""
        sent, caller = self.valid(self.get_serializer(data=self.request.data)), self.request.user
        with worded_for(User):
            people.person_update(person, by=caller, email=sent["email"])  # type: ignore[arg-type]


class AddressListView(_Addresses):
    """The address of a person, as a list."""

    @base.operation("users_email_list", {200: shapes.AddressSerializer(many=True), **base.LIST})
    def get(self, request: Request, pk: str) -> Response:
        """List the one address there is."""
        person = self.person()
        rows: Any = [self.row(person)] if person.email else []
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(page)

    @base.operation("users_email_create", {201: shapes.AddressSerializer, **base.WRITE_ONE})
    def post(self, request: Request, pk: str) -> Response:
        """Give an address to who has none."""
        person = self.person()
        if person.email:
            raise Conflict(ONE_ADDRESS)
        self.store(person)
        return Response(self.row(person), status=status.HTTP_201_CREATED)


class AddressDetailView(_Addresses):
    """The address of a person."""

    @base.operation("users_email_read", {200: shapes.AddressSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str, number: str) -> Response:
        """Show the address."""
        return Response(self.row(self.addressed(number)))

    @base.operation("users_email_update", {200: shapes.AddressSerializer, **base.WRITE_ONE})
    def put(self, request: Request, pk: str, number: str) -> Response:
        """Change the address."""
        return self._change(number)

    @base.operation("users_email_partial_update", {200: shapes.AddressSerializer, **base.WRITE_ONE})
    def patch(self, request: Request, pk: str, number: str) -> Response:
        """Change the address."""
        return self._change(number)

    @base.operation("users_email_delete", {400: base.INVALID, **base.READ_ONE})
    def delete(self, request: Request, pk: str, number: str) -> Response:
        """Refuse: the only address stays."""
        self.addressed(number)
        raise Conflict(ONE_ADDRESS)

    def _change(self, number: str) -> Response:
        person = self.addressed(number)
        self.store(person)
        return Response(self.row(person))
