"""Frames: whatever arrives is read or refused in JSON-RPC's own words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.link import params, rpc
from devices.link.rpc import Malformed, Request, Response, RpcError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "code", "2.0", "x"])


@given(st.text(max_size=200) | JSON.map(json.dumps))
def test_whatever_is_sent_is_read_or_refused(text: str) -> None:
    try:
        frame = rpc.read(text)
    except Malformed as malformed:
        answer = json.loads(malformed.answer)
        assert answer["jsonrpc"] == "2.0" and answer["error"]["code"] in (-32700, -32600)
    else:
        assert isinstance(frame, Request | Response)


@given(st.dictionaries(MEMBERS, JSON, max_size=6))
def test_objects_that_look_like_frames(frame: dict[str, Any]) -> None:
    test_whatever_is_sent_is_read_or_refused.hypothesis.inner_test(json.dumps({"jsonrpc": "2.0"} | frame))


@given(
    st.text(min_size=1, max_size=20),
    st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    st.integers(0, 9),
)
def test_what_is_asked_is_read_again(method: str, given_params: dict[str, Any], number: int) -> None:
    assert rpc.read(rpc.asked(number, method, given_params)) == Request(method, given_params, number)
    answered = rpc.read(rpc.answered(number, given_params))
    assert isinstance(answered, Response) and answered.result == given_params and answered.error is None
    failed = rpc.read(rpc.failed(number, RpcError(-1, "no", {"a": 1})))
    assert isinstance(failed, Response) and failed.error is not None
    assert (failed.error.code, failed.error.message, failed.error.data) == (-1, "no", {"a": 1})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", -32700), ("{", -32700), ("[" * 100_000, -32700), ('{"jsonrpc":"2.0","method":"x","id":NaN}', -32700),
        ("[]", -32600), ("1", -32600), ("{}", -32600), ('{"jsonrpc":"1.0","method":"x"}', -32600),
        ('{"jsonrpc":"2.0","method":1}', -32600), ('{"jsonrpc":"2.0","method":"x","params":[]}', -32600),
        ('{"jsonrpc":"2.0","method":"x","id":true}', -32600), ('{"jsonrpc":"2.0","method":"x","id":1.5}', -32600),
        ('{"jsonrpc":"2.0","method":"x","id":"%s"}' % ("9" * 65), -32600),
        ('{"jsonrpc":"2.0","method":"x","id":%s}' % ("9" * 400), -32600),
        ('{"jsonrpc":"2.0","id":1}', -32600), ('{"jsonrpc":"2.0","result":1}', -32600),
        ('{"jsonrpc":"2.0","error":"x"}', -32600),
    ],
)  # fmt: skip
def test_malformed_frames(text: str, code: int) -> None:
    with pytest.raises(Malformed) as refused:
        rpc.read(text)
    assert json.loads(refused.value.answer)["error"]["code"] == code


def test_parameters_are_what_they_must_be() -> None:
    assert params.text({"a": "x"}, "a", most=1) == "x"
    assert params.text({"a": None}, "a", most=1, default="") == ""
    assert params.words({"a": "x\x00y\nz"}, "a", most=9) == "x y\nz"
    assert params.hexadecimal({"a": None}, "a", digits=4) == ""
    assert params.number({}, "a") == 0
    assert params.amount({"a": 1}, "a") == 1.0
    wrong: list[tuple[Any, dict[str, Any]]] = [
        (lambda p: params.text(p, "a", most=2), {"a": "xxx"}), (lambda p: params.text(p, "a", most=2), {}),
        (lambda p: params.text(p, "a", most=9), {"a": "\x07"}), (lambda p: params.words(p, "a", most=9), {"a": 1}),
        (lambda p: params.texts(p, "a", most=1, length=9), {"a": ["x", "y"]}),
        (lambda p: params.texts(p, "a", most=1, length=9), {"a": "x"}),
        (lambda p: params.hexadecimal(p, "a", digits=2), {"a": "AB"}),
        (lambda p: params.identifier(p, "a"), {"a": "x"}), (lambda p: params.identifier(p, "a"), {"a": 5}),
        (lambda p: params.number(p, "a"), {"a": -1}), (lambda p: params.number(p, "a"), {"a": 2**31}),
        (lambda p: params.amount(p, "a"), {"a": float("inf")}), (lambda p: params.amount(p, "a"), {"a": True}),
        (lambda p: params.amount(p, "a"), {"a": "1"}),
    ]  # fmt: skip
    for read, sent in wrong:
        with pytest.raises(RpcError) as refused:
            read(sent)
        assert refused.value.code == -32602
