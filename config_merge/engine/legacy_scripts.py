"""The shell scripts OpenWISP 1.x firmware expects in an archive, by netjsonconfig's own templates.

Invariant: same scripts and order as netjsonconfig 1.3.1's OpenWisp back end, from templates compiled once
per process.
"""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, TemplateError
from netjsonconfig import OpenWisp

from config_merge.engine.errors import InvalidConfiguration
from config_merge.engine.sections import LIBRARY_ERRORS, with_sorted_keys

# Shell scripts, not HTML: escaping would break them.
_ENVIRONMENT = Environment(  # noqa: S701
    loader=PackageLoader("netjsonconfig.backends.openwisp", "templates"), trim_blocks=True
)


class _Scripts(OpenWisp):  # type: ignore[misc]
    """The library's back end without its copy of the configuration and its template environment per call."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def _render_template(self, template: str, context: Mapping[str, Any] | None = None) -> str:
        return _ENVIRONMENT.get_template(template).render(**(context or {}))


def with_explicit_radios(tree: Mapping[str, Any]) -> dict[str, Any]:
    """OpenWISP 1.x wants `disabled` spelled out for every radio.

    >>> with_explicit_radios({"radios": [{"name": "radio0"}]})
    {'radios': [{'disabled': False, 'name': 'radio0'}]}
    """
    radios = tree.get("radios")
    if not isinstance(radios, list):
        return dict(tree)
    return {
        **tree,
        "radios": [{"disabled": False, **item} if isinstance(item, dict) else item for item in radios],
    }


def with_scripts(tree: Mapping[str, Any], *, files: list[Any]) -> list[Any]:
    """`files` and the scripts after them. Raises InvalidConfiguration when the tree does not allow writing
    them."""
    scripts = _Scripts(with_sorted_keys({**tree, "files": files}))
    try:
        context = scripts._get_install_context()
        scripts._add_install(context)
        scripts._add_uninstall(context)
        scripts._add_openvpn_scripts()
        scripts._add_tc_script()
    except (*LIBRARY_ERRORS, TemplateError) as error:
        raise InvalidConfiguration(f"install scripts cannot be written ({type(error).__name__})") from error
    result: list[Any] = scripts.config["files"]
    return result
