"""Hostlists both ways."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.hostlist import HostlistError, expand, fold


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n[10-11,15]", ["n10", "n11", "n15"]),
        ("tux[0-3,12,18-20]", ["tux0", "tux1", "tux2", "tux3", "tux12", "tux18", "tux19", "tux20"]),  # topology.conf(5)
        ("node[01-04]", ["node01", "node02", "node03", "node04"]),  # topology.yaml(5)
        ("n[8-11]", ["n8", "n9", "n10", "n11"]),
        ("n[098-101]", ["n098", "n099", "n100", "n101"]),
        ("rack[0-1]_blade[0-1]", ["rack0_blade0", "rack0_blade1", "rack1_blade0", "rack1_blade1"]),  # slurm.conf(5)
        ("a,b[1-2].example.org, c", ["a", "b1.example.org", "b2.example.org", "c"]),
        ("[1101-1103]", ["1101", "1102", "1103"]),
        ("", []),
    ],
)
def test_expand(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["n10", "n11", "n15"], "n[10-11,15]"),
        (["n8", "n9", "n10"], "n[8-10]"),
        (["n08", "n09", "n10", "n9"], "n[08-10,9]"),
        ([f"r{rack:05d}-h{host:02d}" for rack in range(8) for host in range(8)], "r[00000-00007]-h[00-07]"),
        (["r0-h0", "r0-h1", "r1-h0"], "r0-h[0-1],r1-h0"),
        (["a", "b"], "a,b"),
        (["n1", "n1"], "n[1,1]"),
        ([], ""),
    ],
)
def test_fold(names: list[str], text: str) -> None:
    assert fold(names) == text
    assert expand(text) == names


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("n[0-999999999]", 3, "at most 2000000"),
        ("n[0-9999]x[0-9999]", 1, "more than 2000000 names"),
        ("a,b,n[1-2", 6, r"'\[' without '\]'"),
        ("n1]", 3, "without"),
        ("n[[1]]", 3, "inside"),
        ("n[1-]", 3, "not a number"),
        ("n[5-3]", 3, "backwards"),
        ("n[1,x]", 5, "not a number"),
        ("n\x00", 2, "cannot be in a name"),
        ("n[" + "9" * 30 + "]", 3, "not a number"),
        ("a" * 1000, 1, "1000 characters"),
        ("n" + "[0]" * 20, 1, "brackets"),
    ],
)
def test_what_is_no_hostlist(text: str, position: int, problem: str) -> None:
    with pytest.raises(HostlistError, match=problem) as caught:
        expand(text)
    assert caught.value.position == position


def test_most_names() -> None:
    assert len(expand("n[0-9],m[0-9]", 20)) == 20
    with pytest.raises(HostlistError, match="more than 19"):
        expand("n[0-9],m[0-9]", 19)


def test_a_name_that_no_hostlist_holds() -> None:
    with pytest.raises(ValueError, match="white space"):
        fold(["a b"])


_names = st.lists(st.from_regex(r"[a-z]{0,2}[0-9]{0,3}[a-z.-]{0,2}[0-9]{0,2}", fullmatch=True).filter(bool), max_size=30)
_runs = st.tuples(st.sampled_from(["n", "r1-h", "x.2-"]), st.integers(0, 200), st.integers(1, 30), st.integers(1, 4)).map(
    lambda run: [f"{run[0]}{number:0{run[3]}d}" for number in range(run[1], run[1] + run[2])]
)


@given(st.one_of(_names, st.lists(_runs, max_size=4).map(lambda runs: [name for run in runs for name in run])))
def test_round_trip(names: list[str]) -> None:
    assert expand(fold(names)) == names


@given(st.one_of(st.text(max_size=60), st.text("n0123456789[]-, ", max_size=40)))
def test_any_text_is_a_list_or_an_error(text: str) -> None:
    try:
        names = expand(text, 10_000)
    except HostlistError:
        return
    assert all(names)
    assert not any(re.search(r"[\[\],]", name) for name in names)
