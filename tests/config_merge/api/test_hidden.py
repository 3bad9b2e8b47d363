"""Secrets in previews, effective configurations, revisions and errors: hidden wherever they went, by whose they are."""

from typing import Any

import pytest
from django.db import connection

from config_merge.api import previews
from config_merge.models import Config, ConfigRevision, Job, JobItem
from config_merge.services import job_runs, jobs, preview, recompute, reports, templates
from core.redaction import mark_of
from tenancy.disclosure import recent
from tenancy.models import AuditEvent, Membership, Organization, Role, User
from tests import factories
from tests.config_merge.api.conftest import Api, api_as

SECRET = "correct-horse"
ZONE = {"general": {"timezone": "{{ zone }}"}}


def wifi(key: str = SECRET) -> dict[str, Any]:
    encryption = {"protocol": "wpa2_personal", "key": key}
    wireless = {"radio": "radio0", "mode": "access_point", "ssid": "guests", "encryption": encryption}
    return {"interfaces": [{"name": "wlan0", "type": "wireless", "wireless": wireless}]}


def said(text: str) -> dict[str, Any]:
    return {"general": {"description": text}}


@pytest.fixture(autouse=True)
def nobody_has_looked_yet() -> None:
    recent.forget()


@pytest.fixture
def blind(org: Organization) -> Api:
    return api_as(factories.without_reveal(factories.operator(org)))


@pytest.fixture
def in_both(org: Organization, other: Organization) -> User:
    """An operator of two organizations who may not see the secrets of the second."""
    person = factories.operator(org)
    factories.tenancy.membership_set(user=person, organization=other, role=Role.OPERATOR)
    Membership.objects.filter(user=person, organization=other).update(can_reveal=False)
    return person


def looks() -> list[tuple[Any, str, str]]:
    rows = AuditEvent.objects.filter(action="secret.revealed").order_by("target_type")
    return [(row.organization_id, row.target_type, row.target_id) for row in rows]


# --- whose secrets a diff shows ---


def moving(org: Organization, other: Organization) -> tuple[Any, dict[str, Any]]:
    """Return a template whose move to another organization shows that one's secrets, and the move."""
    template = factories.template(
        org, config=wifi("{{ site_key }}"), default=True, default_values={"site_key": "weak-secret"}
    )
    factories.fleet_of(other, context={"site_key": "their-secret"})
    factories.configured(other, name="theirs")
    return template, {"organization": str(other.pk)}


def test_a_diff_is_plain_only_for_who_may_see_the_secrets_of_everyone_in_it(
    org: Organization, other: Organization, in_both: User
) -> None:
    template, move = moving(org, other)
    path = f"template/{template.pk}/preview/"
    hidden = api_as(in_both).post(path, move).json()
    assert hidden["changed"] == 1 and hidden["groups"][0]["devices"][0]["name"] == "theirs"
    assert "their-secret" not in str(hidden) and mark_of("their-secret") in str(hidden)
    assert looks() == []
    Membership.objects.filter(user=in_both).update(can_reveal=True)
    assert "their-secret" in str(api_as(User.objects.get(pk=in_both.pk)).post(path, move).json())
    assert looks() == [(other.pk, "organization", str(other.pk))]


def test_a_stored_preview_is_told_to_those_whose_devices_it_concerns(
    org: Organization, other: Organization, in_both: User, operator: Api, root: Api, monkeypatch: Any
) -> None:
    template, move = moving(org, other)
    monkeypatch.setattr(previews, "WAITED_FOR", 0)
    caller = api_as(in_both)
    job = caller.post(f"template/{template.pk}/preview/", move).json()["job"]
    assert not job_runs.run(job)
    mine = caller.get(f"batch/{job}/").json()["result"]
    assert "theirs" in str(mine) and "their-secret" not in str(mine)
    # Only what nobody uses moves: it concerns those whose the template would be.
    assert operator.get(f"batch/{job}/").status_code == 404
    theirs = factories.without_reveal(factories.operator(other))
    told = api_as(theirs).get(f"batch/{job}/").json()["result"]
    assert told["groups"][0]["devices"][0]["name"] == "theirs" and "their-secret" not in str(told)
    assert looks() == []
    assert "their-secret" in str(root.get(f"batch/{job}/").json()["result"])
    assert looks() == [(other.pk, "job", job)]


def test_a_job_of_several_organizations_is_shown_by_whose_secrets_are_in_it(
    org: Organization, other: Organization, root: Api, operator: Api
) -> None:
    shared = factories.template(
        None, config=wifi("{{ site_key }}"), default=True, default_values={"site_key": SECRET}
    )
    for place in (org, other):
        factories.device(place, config={"context": {"site_key": f"key-of-{place.slug}"}})
        factories.configured(place)
    edit = {"config": wifi("{{ site_key }}x")}
    told = preview.template_preview(shared, edit)
    assert {owner for group in told.groups for owner in group.owners} == {None, org.pk, other.pk}
    proposal = previews.job_previews.packed(kind="template", pk=shared.pk, changes=edit)
    job = jobs.preview_job_create(
        proposal=proposal, organization_id=None, creator=factories.superuser(), total=4
    )
    job_runs.run(job.pk)
    assert "key-of-org-b" in root.get(f"batch/{job.pk}/").content.decode()
    assert operator.get(f"batch/{job.pk}/").status_code == 404
    assert (None, "job", str(job.pk)) in looks()
    Job.objects.filter(pk=job.pk).update(organization=org)
    text = operator.get(f"batch/{job.pk}/").content.decode()
    assert "key-of-" not in text and SECRET not in text and "redacted:" in text


def test_a_shared_template_hides_a_diff_only_if_it_holds_secrets(operator: Api, org: Organization) -> None:
    plain = factories.template(None, config=said("a place"))
    secret = factories.template(None, config=wifi("{{ k }}"), default_values={"k": SECRET})
    device = factories.device(org, config={"config": wifi("own-secret"), "templates": [plain]})
    path, edit = f"device/{device.pk}/preview/", {"config": {"config": wifi("new-secret")}}
    assert "own-secret" in str(operator.post(path, edit).json())
    edit["config"]["templates"] = [str(plain.pk), str(secret.pk)]
    assert "new-secret" not in str(operator.post(path, edit).json())


def test_what_is_a_secret_of_another_device_of_the_group_is_hidden_too(org: Organization, blind: Api) -> None:
    template = factories.template(org, config=said("old"), default=True, default_values={"a": "shared-words"})
    factories.device(org, name="ap-1", config={"config": factories.interface()})
    factories.device(
        org, name="ap-2", config={"config": factories.interface(), "context": {"a_password": "shared-words"}}
    )
    (group,) = blind.post(f"template/{template.pk}/preview/", {"config": said("{{ a }}")}).json()["groups"]
    assert group["count"] == 2 and "shared-words" not in str(group)


# --- what the engine says ---


def test_no_error_of_the_engine_quotes_a_secret(blind: Api, org: Organization) -> None:
    factories.fleet_of(org, context={"wifi_password": SECRET, "zone": SECRET})
    factories.template(org, config=wifi("{{ zone }}"))
    device = factories.configured(org)
    for variable in ("wifi_password", "zone"):
        wrong = {"config": {"config": {"general": {"timezone": f"{{{{ {variable} }}}}"}}}}
        for answer in (
            blind.patch(f"device/{device.pk}/", wrong),
            blind.post(f"device/{device.pk}/preview/", wrong),
        ):
            text = answer.content.decode()
            assert mark_of(SECRET) in text and SECRET not in text
    template = factories.template(org, config=wifi("{{ k }}"), default_values={"k": SECRET, "k_pin": 1234567})
    for key in ("k", "k_pin"):
        wrong = {"config": {"general": {"timezone": f"{{{{ {key} }}}}"}, **wifi("{{ k }}")}}
        answer = blind.patch(f"template/{template.pk}/", wrong)
        assert answer.status_code == 400 and "redacted:" in str(answer.json())
        assert SECRET not in str(answer.json()) and "1234567" not in str(answer.json())


def test_no_problem_is_stored_with_a_secret(blind: Api, org: Organization) -> None:
    factories.template(org, config=wifi("{{ zone }}"))
    factories.fleet_of(org, context={"zone": SECRET})
    device = factories.configured(org)
    config = Config.objects.get(device=device)
    outcome = recompute.Computation(
        config.pk, config.generation + 1, None, f"'{SECRET}' is too long", recompute.inputs.load([config])[0]
    )
    recompute.store([outcome])
    config.refresh_from_db()
    assert config.status == "error" and mark_of(SECRET) in config.problem
    assert SECRET not in config.problem + config.error_reason
    assert SECRET not in blind.get(f"device/{device.pk}/").content.decode()


def test_what_a_device_reports_is_stored_without_its_secrets(org: Organization) -> None:
    device = factories.device(org, config={"config": wifi()})
    config = Config.objects.get(device=device)
    reports.take(reports.Report(config.pk, device.pk, "error", f"uci: bad line: {SECRET}"))
    config.refresh_from_db()
    assert config.error_reason == f"uci: bad line: {mark_of(SECRET)}"


def test_no_result_of_a_job_quotes_a_secret(operator: Api, org: Organization) -> None:
    factories.template(org, config=wifi("{{ zone }}"))
    template = factories.template(org, config=ZONE, default_values={"zone": "UTC"})
    device = factories.device(org, config={"config": factories.interface(), "context": {"zone": SECRET}})
    for dry_run in (True, False):
        body = {"action": "assign_template", "devices": [str(device.pk)], "template": str(template.pk)}
        job = operator.post("batch/", body | {"dry_run": dry_run}).json()["id"]
        job_runs.run(job)
        message = JobItem.objects.get(job_id=job).message
        assert mark_of(SECRET) in message and SECRET not in message


# --- revisions ---


def test_a_key_that_was_replaced_stays_hidden_in_old_revisions(
    blind: Api, operator: Api, org: Organization
) -> None:
    script = {"path": "/etc/join", "mode": "0755", "contents": "join {{ site_key }} {{ k }}\n"}
    template = factories.template(
        org,
        config={**wifi("{{ k }}"), "files": [script]},
        default_values={"k": "first-secret", "site_key": "old-site"},
    )
    device = factories.device(org, config={"templates": [template]})
    templates.template_update(template, default_values={"k": "second-secret", "site_key": "new-site"})
    recompute.drain()
    for path in ("revisions/1/", "revisions/1/diff/2/"):
        text = blind.get(f"device/{device.pk}/{path}").content.decode()
        for secret in ("first-secret", "second-secret", "old-site", "new-site"):
            assert secret not in text, path
        assert mark_of("first-secret") in text and mark_of("old-site") in text
    assert looks() == []
    assert "first-secret" in operator.get(f"device/{device.pk}/revisions/1/").content.decode()
    assert looks() == [(org.pk, "device", str(device.pk))]
    assert operator.get(f"device/{device.pk}/revisions/1/diff/2/").json()["diff"].count("first-secret") == 2
    ConfigRevision.objects.filter(number=1).update(inputs={})
    old = blind.get(f"device/{device.pk}/revisions/1/").json()
    assert "option key 'redacted:" in str(old)
    assert blind.post(f"device/{device.pk}/revisions/2/restore/").json()["identical"] is True


# --- places ---


def test_secrets_are_hidden_in_paths_and_headers(blind: Api, operator: Api, org: Organization) -> None:
    factories.fleet_of(org, context={"site_key": SECRET})
    file = {"path": "/etc/{{ site_key }}/x", "mode": "0644", "contents": "one\n"}
    device = factories.device(org, config={"config": {"files": [file]}})
    edit = {"config": {"config": {"files": [{**file, "contents": "two\n"}]}}}
    told = blind.post(f"device/{device.pk}/preview/", edit)
    assert f"--- a/etc/{mark_of(SECRET)}/x" in told.json()["groups"][0]["diff"]
    blind.patch(f"device/{device.pk}/", edit)
    paths = ("revisions/1/", "revisions/1/diff/2/", "effective/")
    for text in (
        told.content.decode(),
        *(blind.get(f"device/{device.pk}/{p}").content.decode() for p in paths),
    ):
        assert SECRET not in text and mark_of(SECRET) in text
    shown = operator.get(f"device/{device.pk}/revisions/1/").json()
    assert shown["files"][-1]["path"] == f"etc/{SECRET}/x"


def test_a_variable_that_is_secret_elsewhere_is_hidden_at_harmless_places(
    blind: Api, operator: Api, org: Organization
) -> None:
    factories.fleet_of(org, context={"guests": SECRET})
    factories.template(org, config=wifi("{{ guests }}"), default_values={"guests": "weak-secret"})
    device = factories.configured(org)
    edit = {"config": {"config": said("say {{ guests }}")}}
    answers = [blind.post(f"device/{device.pk}/preview/", edit)]
    own = factories.template(org, default=True, config=said("x"))
    answers.append(blind.post(f"template/{own.pk}/preview/", {"config": said("say {{ guests }}")}))
    assert blind.patch(f"device/{device.pk}/", edit).status_code == 200
    number = factories.config_of(device).revision_number
    paths = ("effective/", f"revisions/{number}/", f"revisions/1/diff/{number}/")
    answers += [blind.get(f"device/{device.pk}/{path}") for path in paths]
    for answer in answers:
        text = answer.content.decode()
        assert answer.status_code == 200 and SECRET not in text and mark_of(SECRET) in text
    assert SECRET in operator.get(f"device/{device.pk}/revisions/{number}/").content.decode()


def test_looks_at_effective_configurations_and_previews_are_written_down(
    operator: Api, blind: Api, org: Organization
) -> None:
    template = factories.template(org, config=wifi("{{ k }}"), default=True, default_values={"k": SECRET})
    device = factories.configured(org)
    path, edit = f"template/{template.pk}/preview/", {"default_values": {"k": "next-secret"}}
    assert blind.get(f"device/{device.pk}/effective/").status_code == 200
    assert blind.post(path, edit).status_code == 200
    assert looks() == []
    operator.get(f"device/{device.pk}/effective/")
    operator.post(path, edit)
    assert looks() == [(org.pk, "device", str(device.pk)), (org.pk, "template", str(template.pk))]
    assert operator.post(path, {"notes": "x"}).status_code == 200
    assert len(looks()) == 2


def test_a_template_that_cannot_be_read_stops_nobody_and_hides_no_less(blind: Api, org: Organization) -> None:
    factories.fleet_of(org, context={"guests": SECRET})
    factories.template(org, config=wifi("{{ guests }}"), default_values={"guests": "weak-secret"})
    poisoned = factories.template(org)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE config_merge_template SET config = 'no token' WHERE name = %s", [poisoned.name]
        )
    device = factories.device(org, config={"config": said("say {{ guests }}")})
    answer = blind.get(f"device/{device.pk}/effective/")
    assert answer.status_code == 200 and SECRET not in answer.content.decode()
    assert "secrets" in ConfigRevision.objects.get(config__device=device).inputs
