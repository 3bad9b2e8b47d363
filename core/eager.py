"""Beginning a coroutine without a task for it: most of what is sent leaves at once, and a task costs more than that.

What Python 3.12 calls an eager task, for 3.11. What is begun like this must not ask which task it runs in before its
first wait (`asyncio.timeout` does).
"""

import types
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any


def begun(work: Awaitable[None]) -> Awaitable[None] | None:
    """Run a coroutine to its first wait; returns what is left to be awaited, None when it has ended.

    Raises what it raises. An awaitable that is no coroutine is returned as it is.
    """
    if not isinstance(work, types.CoroutineType):
        return work
    try:
        waited = work.send(None)
    except StopIteration:
        return None
    return _rest(work, waited)


@types.coroutine
def _rest(work: Coroutine[Any, Any, None], waited: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that waits for the future `waited`."""
    while True:
        try:
            yield waited
            break
        except BaseException as error:  # noqa: BLE001 - it is the coroutine's, whatever it is
            try:
                waited = work.throw(error)
            except StopIteration:
                return
    yield from work
