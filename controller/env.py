"""The only place that reads Muster's environment variables.

Why it exists: a misspelt or half-given environment must be refused with one clear sentence before anything
starts, and the table of variables in the documentation must be the very one the program obeys. Invariant:
every variable is one field of `Environment`, whose metadata carries its name, its parser (`env_values`) and its
one-line explanation; no Django here.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from controller import env_values as values
from controller.arguments import PREFIX
from controller.env_secrets import check_secrets
from controller.env_values import ROOT, InvalidEnvironment, Network

WILDCARD_HOSTS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, never listened on from here


def _variable(
    name: str,
    doc: str,
    *,
    parse: Callable[[str], Any] = values.text,
    default: Any = "",
    shown: str = "",
    secret: bool = False,
) -> Any:
    """Declare one variable: `shown` words its default in the table where the value itself does not."""
    return field(
        default=default,
        repr=not secret,
        metadata={"name": PREFIX + name, "doc": doc, "parse": parse, "shown": shown, "secret": secret},
    )


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Every setting a deployment may choose. An empty variable counts as one that is not set."""

    data_dir: Path = _variable(
        "DATA_DIR",
        "Directory of the SQLite database, generated secrets and uploaded files; relative to the checkout.",
        parse=values.path,
        default=ROOT / "var",
        shown="`var/`",
    )
    host: str = _variable("HOST", "Address `manage.py up` listens on.", default="127.0.0.1")
    port: int = _variable(
        "PORT", "TCP port `manage.py up` listens on.", parse=values.integer(1, 65535), default=8000
    )
    secret_key: str = _variable(
        "SECRET_KEY",
        "Signs sessions and form tokens; at least 32 characters. Required with PostgreSQL or Redis.",
        shown="generated into `secrets.json`",
        secret=True,
    )
    encryption_keys: tuple[str, ...] = _variable(
        "ENCRYPTION_KEYS",
        "Keys of stored secrets, comma separated, each 32 bytes in url-safe base64: the first encrypts, "
        "all decrypt. Required with PostgreSQL or Redis.",
        parse=values.encryption_keys,
        default=(),
        shown="generated into `secrets.json`",
        secret=True,
    )
    allowed_hosts: tuple[str, ...] = _variable(
        "ALLOWED_HOSTS",
        "Host names people may use to reach the web pages and the API, comma separated; `.example.org` also "
        "matches its subdomains, `*` any name.",
        parse=values.names,
        default=(),
        shown="loopback names, this machine's name and `MUSTER_HOST`; any name when the default mode listens "
        "on every address",
    )
    database_url: values.PostgresUrl | None = _variable(
        "DATABASE_URL",
        "`postgres://user:password@host:port/name`, libpq parameters after `?`. Without it: SQLite in the "
        "data directory.",
        parse=values.postgres_url,
        default=None,
        shown="SQLite",
        secret=True,
    )
    redis_url: str = _variable(
        "REDIS_URL",
        "`redis://host:port/number`: task broker, cache and channel layer. Without it these live inside the "
        "one process of `manage.py up`.",
        parse=values.redis,
        shown="in memory",
        secret=True,
    )
    nodes_domain: str = _variable(
        "NODES_DOMAIN",
        "Domain with wildcard DNS under which edge nodes and gateways are served as `<device id>.<domain>`.",
        shown="path prefix only",
    )
    admin_password: str = _variable(
        "ADMIN_PASSWORD",
        "Password of the first administrator, used only when `manage.py up` finds an empty database.",
        shown="generated and printed once",
        secret=True,
    )
    trusted_proxies: tuple[Network, ...] = _variable(
        "TRUSTED_PROXIES",
        "Addresses or networks of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.",
        parse=values.networks,
        default=(),
        shown="none",
    )
    tls: bool = _variable(
        "TLS",
        "`yes` when people reach Muster only over HTTPS: cookies are marked secure and HSTS is sent.",
        parse=values.flag,
        default=False,
        shown="`no`",
    )
    csrf_origins: tuple[str, ...] = _variable(
        "CSRF_ORIGINS",
        "Origins trusted for forms when the proxy changes the host name, such as `https://muster.example.org`.",
        parse=values.origins,
        default=(),
        shown="none",
    )
    log_level: str = _variable(
        "LOG_LEVEL",
        "Least severe level written: DEBUG, INFO, WARNING or ERROR.",
        parse=values.choice("DEBUG", "INFO", "WARNING", "ERROR", upper=True),
        default="INFO",
    )
    log_format: str = _variable(
        "LOG_FORMAT",
        "`console`, `json`, or `auto`: console in a terminal and JSON elsewhere.",
        parse=values.choice("auto", "console", "json"),
        default="auto",
    )
    worker_threads: int = _variable(
        "WORKER_THREADS",
        "Threads of the task worker inside `manage.py up`.",
        parse=values.integer(1, 64),
        default=2,
    )
    database_pool: int = _variable(
        "DATABASE_POOL",
        "Most PostgreSQL connections one process keeps open.",
        parse=values.integer(1, 1000),
        default=16,
    )
    token_rate: str = _variable(
        "TOKEN_RATE",
        "How often one address may ask for an API token or sign in to the admin, as number/period.",
        parse=values.rate,
        default="30/min",
    )
    lockout_failures: int = _variable(
        "LOCKOUT_FAILURES",
        "Wrong passwords or codes for one account from one address before that pair is locked out.",
        parse=values.integer(1, 1000),
        default=8,
    )
    lockout_minutes: int = _variable(
        "LOCKOUT_MINUTES",
        "How long such a lock lasts after the last failure, in minutes.",
        parse=values.integer(1, 10080),
        default=15,
    )
    registration_enabled: bool = _variable(
        "REGISTRATION_ENABLED",
        "`no` refuses every device registration, whatever an organization allows.",
        parse=values.flag,
        default=True,
        shown="`yes`",
    )
    registration_self_creation: bool = _variable(
        "REGISTRATION_SELF_CREATION",
        "`no` lets only devices register that somebody created before.",
        parse=values.flag,
        default=True,
        shown="`yes`",
    )
    consistent_registration: bool = _variable(
        "CONSISTENT_REGISTRATION",
        "`no` ignores the key a device sends when it registers: it then cannot come back as the same device.",
        parse=values.flag,
        default=True,
        shown="`yes`",
    )
    hardware_id: bool = _variable(
        "HARDWARE_ID",
        "`yes` derives device keys from the hardware id where there is one, instead of the MAC address.",
        parse=values.flag,
        default=False,
        shown="`no`",
    )
    shared_management_ip: bool = _variable(
        "SHARED_MANAGEMENT_IP",
        "`no` when organizations use overlapping management networks: an address is then unique only within "
        "one.",
        parse=values.flag,
        default=True,
        shown="`yes`",
    )
    poll_seconds: int = _variable(
        "POLL_SECONDS",
        "Mean time between two polls suggested to agents, in seconds; each answer varies it by a tenth.",
        parse=values.integer(1, 86400),
        default=120,
    )
    coalesce_seconds: float = _variable(
        "COALESCE_SECONDS",
        "How long a device that was just sent a configuration waits for the next one, so that a burst of changes is "
        "one push.",
        parse=values.seconds(0, 600),
        default=2.0,
    )
    confirm_seconds: int = _variable(
        "CONFIRM_SECONDS",
        "How long a device may take, after it began to change, to reach the controller again before it puts "
        "everything back.",
        parse=values.integer(5, 3600),
        default=120,
    )
    push_at_once: int = _variable(
        "PUSH_AT_ONCE",
        "How many devices one process sends a configuration to before they have answered.",
        parse=values.integer(1, 10_000),
        default=500,
    )
    push_per_site: int = _variable(
        "PUSH_PER_SITE",
        "How many devices of one site work on a configuration at a time.",
        parse=values.integer(1, 10_000),
        default=500,
    )
    metrics_token: str = _variable(
        "METRICS_TOKEN",
        "Bearer token that opens `/metrics` to other machines, at least 16 characters; without it only "
        "clients on this machine read it.",
        parse=values.token,
        shown="none",
        secret=True,
    )
    webhook_private: bool | None = _variable(
        "WEBHOOK_PRIVATE",
        "`yes` lets webhooks reach private and loopback addresses; link-local and multicast ones never.",
        parse=values.flag,
        default=None,
        shown="`yes` on one machine (neither PostgreSQL nor Redis), else `no`",
    )
    demo_key: bool | None = _variable(
        "DEMO_KEY",
        "Whether the first start makes the boot API's demo key `deadbeef`, which reads and tracks in the demo "
        "organization. Everybody knows it.",
        parse=values.flag,
        default=None,
        shown="yes in the default mode",
    )
    boot_lan_key: str = _variable(
        "BOOT_LAN_KEY",
        "An API key that answers what loopback and private addresses read from the boot API without one, for "
        "devices on a network of your own. Behind a proxy, MUSTER_TRUSTED_PROXIES must name it.",
        shown="no reading without a key",
        secret=True,
    )
    s3_bucket: str = _variable(
        "S3_BUCKET", "Bucket that keeps uploaded files instead of the data directory.", shown="files on disk"
    )
    s3_endpoint: str = _variable(
        "S3_ENDPOINT", "Endpoint of an S3-compatible service.", parse=values.http_url, shown="Amazon's"
    )
    s3_region: str = _variable("S3_REGION", "Region of the bucket.", shown="the SDK's")
    s3_access_key: str = _variable(
        "S3_ACCESS_KEY", "Access key id.", shown="the SDK's own search", secret=True
    )
    s3_secret_key: str = _variable(
        "S3_SECRET_KEY", "Secret access key.", shown="the SDK's own search", secret=True
    )
    s3_prefix: str = _variable("S3_PREFIX", "Folder inside the bucket.", shown="the bucket's top")
    sendfile_prefix: str = _variable(
        "SENDFILE_PREFIX",
        "Path of an `internal` location of nginx that serves the data directory's `media/`, such as `/media-files/`: "
        "nginx then sends boot images itself.",
        parse=values.location,
        shown="Muster sends them",
    )
    image_days: int = _variable(
        "IMAGE_DAYS",
        "Days after its upload from which an image that no stored boot configuration names is removed; 0 keeps all.",
        parse=values.integer(0, 3650),
        default=90,
    )

    public_url: str = _variable(
        "PUBLIC_URL",
        "Address people reach Muster at, such as `https://muster.example.org`: what links in e-mails begin with.",
        parse=values.http_url,
        shown="the address of the request",
    )
    email_url: values.MailUrl | None = _variable(
        "EMAIL_URL",
        "`smtp://user:password@host:port` (`smtp+tls://` for STARTTLS, `smtps://` for TLS): sends the links by "
        "which people set a password. Needs `MUSTER_PUBLIC_URL`.",
        parse=values.mail_url,
        default=None,
        shown="no e-mail is sent",
        secret=True,
    )
    email_from: str = _variable("EMAIL_FROM", "Sender of e-mails.", default="muster@localhost")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, str]) -> "Environment":
        """Read every variable from `mapping` (normally os.environ); InvalidEnvironment names the culprit.

        >>> Environment.from_mapping({"MUSTER_PORT": "9000"}).port
        9000
        """
        values: dict[str, Any] = {}
        for item in fields(cls):
            name, raw = item.metadata["name"], mapping.get(item.metadata["name"], "").strip()
            if not raw:
                continue
            try:
                values[item.name] = item.metadata["parse"](raw)
            except InvalidEnvironment as error:
                raise InvalidEnvironment(f"{name}: {error}") from error
        environment = cls(**values)
        if not environment.default_mode:
            check_secrets(environment.secret_key, environment.encryption_keys)
        if environment.email_url and not environment.public_url:
            raise InvalidEnvironment(
                "MUSTER_PUBLIC_URL is missing: links in e-mails must not begin with what a request claims"
            )
        return environment

    @property
    def default_mode(self) -> bool:
        """True when everything lives in one process and one directory: neither URL was given."""
        return self.database_url is None and not self.redis_url

    @property
    def webhook_private_allowed(self) -> bool:
        """Whether webhooks may lead to private and loopback addresses."""
        return self.default_mode if self.webhook_private is None else self.webhook_private

    @property
    def demo_key_wanted(self) -> bool:
        """Whether the first start makes the demo key."""
        return self.default_mode if self.demo_key is None else self.demo_key

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names the web answers to: those given, or the ones that can only mean this machine."""
        if self.allowed_hosts:
            return self.allowed_hosts
        if self.default_mode and self.host in WILDCARD_HOSTS:
            return ("*",)
        named = {"localhost", ".localhost", "127.0.0.1", "[::1]", socket.gethostname().lower()}
        if self.host not in WILDCARD_HOSTS:
            named.add(f"[{self.host}]" if ":" in self.host else self.host.lower())
        return tuple(sorted(named))


def unknown_names(mapping: Mapping[str, str]) -> list[str]:
    """Names in `mapping` that look like Muster's but are not: most often a misspelling."""
    known = {item.metadata["name"] for item in fields(Environment)}
    return sorted(name for name in mapping if name.startswith(PREFIX) and name not in known)


def table() -> str:
    """The Markdown table of every variable, as docs/environment.md shows it."""
    rows = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for item in fields(Environment):
        shown = item.metadata["shown"] or f"`{item.default}`"
        rows.append(f"| `{item.metadata['name']}` | {shown} | {item.metadata['doc']} |")
    return "\n".join(rows) + "\n"
