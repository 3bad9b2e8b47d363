"""The command line: turns options and environment into Settings, and the end of a run into an exit code.

Invariant: 2 and 3 mean a missing URL or secret, as on OpenWrt; a mistyped option is 64, so that a supervisor
can tell them apart.
"""

import argparse
import os
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from muster_agent import __version__, facts
from muster_agent.errors import AgentExit, ExitCode
from muster_agent.hooks import SECRET_VARIABLE
from muster_agent.log import LEVELS, EventLog
from muster_agent.loop import run
from muster_agent.protocol import device_name
from muster_agent.settings import STATE_DIR, Facts, Settings, Timing, timing_with

URL_VARIABLE = "MUSTER_AGENT_URL"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    """All options; the defaults are the OpenWrt agent's where it has one."""
    parser = _Parser(prog="muster-agent", description="Reference device agent of the Muster controller.")
    parser.add_argument("--version", action="version", version=f"muster-agent {__version__}")
    parser.add_argument("--url", help=f"the controller, e.g. https://muster.example (or {URL_VARIABLE})")
    parser.add_argument("--root", type=Path, default=Path("/"), help="the tree to configure (default: /)")
    parser.add_argument("--state-dir", type=Path, help=f"the agent's own files (default: ROOT/{STATE_DIR})")
    parser.add_argument(
        "--once", action="store_true", help="one turn; exit 0 in sync, 10 failed, 11 rejected"
    )
    parser.add_argument(
        "--paths", choices=("legacy", "new"), default="legacy", help="form of the URLs' paths"
    )
    parser.add_argument(
        "--no-link", dest="link", action="store_false", help="only poll; do not keep a link to the controller"
    )
    _add_identity(parser.add_argument_group("who this device is"))
    _add_applying(parser.add_argument_group("applying"))
    _add_timing(parser.add_argument_group("timing"))
    tls = parser.add_argument_group("TLS")
    tls.add_argument("--no-verify", action="store_true", help="accept any certificate")
    tls.add_argument("--ca-file", type=Path, help="trust these certificates")
    tls.add_argument("--ca-dir", type=Path, help="trust the certificates in this directory")
    logs = parser.add_argument_group("log (on stderr)")
    logs.add_argument("--log-level", choices=tuple(LEVELS), default="info")
    logs.add_argument("--log-format", choices=("text", "json"), default="text")
    return parser


def _add_identity(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--secret", help=f"shared secret (or {SECRET_VARIABLE}; better: --secret-file)")
    group.add_argument("--secret-file", type=Path, help="file with the secret; emptied once registered")
    group.add_argument("--name", help="default: the host name, or the MAC where that says nothing")
    group.add_argument("--default-hostname", default="", help="a host name that says nothing; * means any")
    group.add_argument("--mac", help="default: that of --mac-interface")
    group.add_argument("--mac-interface", default="", help="default: the first one that is not lo")
    group.add_argument("--hardware-id", default="")
    group.add_argument("--hardware-id-key", action="store_true", help="derive the key from the hardware id")
    group.add_argument("--consistent-key", action=argparse.BooleanOptionalAction, default=True)
    group.add_argument("--backend", default="netjsonconfig.OpenWrt")
    group.add_argument("--model", help="default: what the board says")
    group.add_argument("--os", help="default: what the distribution says")
    group.add_argument("--system", help="default: the system on chip")
    group.add_argument("--tags", default="", help="words separated by spaces")
    group.add_argument("--management-ip", default="")
    group.add_argument("--management-interface", default="", help="announce this interface's address")


def _add_applying(group: "argparse._ArgumentGroup") -> None:
    mode = group.add_mutually_exclusive_group()
    mode.add_argument(
        "--merge", dest="mode", action="store_const", const="merge", help="merge UCI files (default)"
    )
    mode.add_argument(
        "--overwrite", dest="mode", action="store_const", const="overwrite", help="replace UCI files"
    )
    group.set_defaults(mode="merge")
    group.add_argument("--hooks-dir", type=Path, help="executables named after events")
    group.add_argument("--test-script", type=Path, help="decides whether the device is still fine: exit 0")


def _add_timing(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--interval", type=float, help="seconds between polls (default: 120, or the server's hint)"
    )
    group.add_argument("--registration-interval", type=float, help="default: a quarter of the interval")
    group.add_argument("--bootup-delay", type=float, default=10.0, help="longest random wait after a boot")
    group.add_argument(
        "--timing",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any wait or count of settings.Timing",
    )


def settings_from(options: argparse.Namespace, *, timing: Timing) -> Settings:
    """Raises AgentExit when the URL, the tree or the MAC is missing, ValueError for a wrong --timing."""
    url = options.url or os.environ.get(URL_VARIABLE, "")
    if not url:
        raise AgentExit(ExitCode.URL_MISSING, f"no controller: give --url or {URL_VARIABLE}")
    if not url.startswith(("http://", "https://")):
        raise ValueError("--url must start with http:// or https://")
    if not options.root.is_dir():
        raise AgentExit(ExitCode.USAGE, f"--root {options.root} is not a directory")
    mac = options.mac or facts.mac_address(options.mac_interface)
    if not mac:
        raise AgentExit(ExitCode.USAGE, "no network interface tells its MAC: give --mac")
    named = {"interval": options.interval, "registration_interval": options.registration_interval}
    words = [f"{name}={value}" for name, value in named.items() if value is not None]
    timing = timing_with(
        timing, assignments=[f"bootup_delay={options.bootup_delay}", *words, *options.timing]
    )
    return Settings(
        url=url,
        root=options.root,
        facts=_facts(options, mac),
        secret=_secret(options),
        secret_file=options.secret_file,
        state_dir=options.state_dir,
        backend=options.backend,
        consistent_key=options.consistent_key,
        hardware_id_key=options.hardware_id_key,
        management_ip=options.management_ip,
        management_interface=options.management_interface,
        mode=options.mode,
        paths=options.paths,
        hooks_dir=options.hooks_dir,
        test_script=options.test_script.resolve() if options.test_script else None,
        verify_tls=not options.no_verify,
        ca_file=options.ca_file,
        ca_dir=options.ca_dir,
        once=options.once,
        link=options.link,
        honour_poll_hint=options.interval is None,
        timing=timing,
    )


def _facts(options: argparse.Namespace, mac: str) -> Facts:
    name = options.name or device_name(
        hostname=facts.hostname(), mac=mac, default_hostname=options.default_hostname
    )
    return Facts(
        name=name,
        mac=mac,
        hardware_id=options.hardware_id,
        model=facts.model() if options.model is None else options.model,
        os=facts.os_name() if options.os is None else options.os,
        system=facts.system() if options.system is None else options.system,
        tags=options.tags,
    )


def _secret(options: argparse.Namespace) -> str:
    if options.secret:
        return str(options.secret)
    if options.secret_file is not None and options.secret_file.is_file():
        return str(options.secret_file.read_text().strip())
    return os.environ.get(SECRET_VARIABLE, "")


def main(argv: Sequence[str] | None = None, *, timing: Timing = Timing()) -> int:  # noqa: B008  (frozen)
    """Run the agent with these arguments; `timing` is what the options change. Returns the exit code."""
    parser = build_parser()
    options = parser.parse_args(argv)
    log = EventLog(level=options.log_level, fmt=options.log_format)
    try:
        settings = settings_from(options, timing=timing)
        log.info(
            "starting", version=__version__, url=settings.url, root=settings.root, name=settings.facts.name
        )
        return int(run(settings, log=log))
    except AgentExit as stop:
        log.error("exiting", code=int(stop.code), reason=stop.reason)
        return int(stop.code)
    except ValueError as error:
        parser.error(str(error))
    except (OSError, ssl.SSLError) as error:
        log.error("exiting", code=1, reason=error)
        return 1


def entry() -> NoReturn:
    """The console script."""
    sys.exit(main())
