"""Values cross the border as plain data, and compare as Python's `==` does."""

import collections
import decimal
import enum
import fractions
import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl_bench.execution.sandbox.plain_data import Opaque, decode, encode
from marl_bench.execution.values import equal_as_json, equal_to

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.complex_numbers(allow_nan=False),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.just(range(3, 9, 2)),
    st.frozensets(st.integers()),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.sets(st.integers()),
        st.dictionaries(st.one_of(st.text(), st.integers(), st.tuples(st.integers())), inner),
    ),
)


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_values_survive_the_border(value):
    data = json.loads(json.dumps(encode(value)))
    assert decode(data) == value
    assert type(decode(data)) is type(value)
    assert equal_to(data, value)


@given(VALUES, VALUES)
@settings(max_examples=300, deadline=None)
def test_equality_is_that_of_python(first, second):
    assert equal_to(json.loads(json.dumps(encode(first))), second) == (first == second)


class Color(enum.IntEnum):
    RED = 1


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Color.RED, 1),
        (Point(1, 2), (1, 2)),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.defaultdict(int, {1: 2}), {1: 2}),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (decimal.Decimal("0.5"), 0.5),
        (fractions.Fraction(1, 2), 0.5),
        ({1: 2}.keys(), {1}),
        (1.0, 1),
        (True, 1),
        (-0.0, 0),
        (10**30, 10**30),
        (2**5000, 2**5000),
        ("\ud800", "\ud800"),
        (bytearray(b"x"), b"x"),
    ],
)
def test_subclasses_and_kin_equal_as_in_python(value, expected):
    assert equal_to(json.loads(json.dumps(encode(value))), expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1], (1,)),
        ((1,), [1]),
        ([1, 2], [1, 3]),
        ([1], [1, 1]),
        ({1: 2}, {1: 3}),
        ({1: 2}, {2: 2}),
        ({1}, {1, 2}),
        ({1}, [1]),
        ("1", 1),
        (b"a", "a"),
        (None, 0),
        (math.nan, math.nan),
        (object(), None),
        (iter([1]), [1]),
        ((x for x in (1, 2)), [1, 2]),
        (np.array([1]), [1]),
        (50_000_000_000_000_001, 5e16),
        (decimal.Decimal("1e400"), 1.0),
        (lambda: 1, 1),
        (int, int),
    ],
)
def test_other_values_are_not_equal(value, expected):
    assert not equal_to(json.loads(json.dumps(encode(value))), expected)


class Liar(list):
    def __eq__(self, other):
        return True

    def __iter__(self):
        return iter([1, 2, 3])

    __hash__ = None


def test_a_programs_own_methods_decide_nothing():
    assert not equal_to(encode(Liar([9])), [1, 2, 3])
    assert encode(Liar([9])) == ["l", 9]


def test_opaque_values_equal_nothing_not_even_themselves():
    value = decode(encode(object()))
    assert isinstance(value, Opaque)
    assert value != value
    assert len({value, value}) == 1  # yet a set may hold them


@pytest.mark.parametrize(
    "data",
    [
        ["l"],
        [],
        ["x", 1],
        ["d", 1],
        ["d", [1]],
        ["i"],
        ["i", "g"],
        ["t", []],
        ["D", "x"],
        ["q", 1, 0],
        ["r"],
        {"a": 1},
        ["s", ["l"]],
    ],
)
def test_forged_data_equal_nothing_and_raise_nothing(data):
    for expected in (None, 1, "a", [1], (1,), {1: 2}, {1}, {(1, 2)}, {frozenset({1}): 1}, 0.5):
        assert not equal_to(data, expected, tolerance=0.1)
    assert not equal_as_json(data, [1])
    assert not equal_as_json(data, {"a": 1})


def test_crafted_hashes_cost_nothing():
    """Multiples of 2^61 - 1 share one hash: a set of 100,000 of them would take minutes to build."""
    colliding = [n * (2**61 - 1) for n in range(100_000)]
    began = time.process_time()
    for data in (
        ["s", *colliding],
        ["s", ["z", *colliding]],
        ["d", [["z", *colliding], 1]],
        ["c", ["s", *colliding], 0],
        ["r", ["z", *colliding], 1, 1],
    ):
        assert not equal_to(data, {1}) and not equal_to(data, 1) and not equal_as_json(data, 1)
        assert not equal_to(data, {frozenset({1}): 1})
    assert time.process_time() - began < 5  # two orders below what building them takes


def test_json_equality_takes_tuples_for_lists_and_keys_for_texts():
    assert equal_as_json(encode((1, (2, 3))), [1, [2, 3]])
    assert equal_as_json(encode({1: (2,)}), {"1": [2]})
    assert not equal_as_json(encode({1: 2}), {"1": 3})
    assert not equal_as_json(encode([1]), {"0": 1})
    assert not equal_as_json(encode({1, 2}), [1, 2])
    assert equal_as_json(encode(True), True)


@pytest.mark.parametrize("equal", [equal_to, equal_as_json])
def test_tolerance_is_for_numbers(equal):
    assert equal(encode([0.1 + 0.2]), [0.3], tolerance=1e-9)
    assert not equal(encode([0.1 + 0.2]), [0.3])
    assert not equal(encode(["0.30001"]), ["0.3"], tolerance=1.0)
    assert not equal(["D", "1e999999"], 1.0, tolerance=1e-9)
