"""The locks hold what pyproject.toml asks for, by hash, and name no registry."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("run", "build", "dev")


def group(name: str) -> list[str]:
    """The requirements of a dependency group, those of the groups in it included."""
    found = []
    for entry in PROJECT["dependency-groups"][name]:
        found += [entry] if isinstance(entry, str) else group(entry["include-group"])
    return found


def locked(lock: str) -> dict[str, set[str]]:
    """The versions of each package: several where they differ by Python or system."""
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / f"requirements/{lock}.txt").read_text(), re.MULTILINE):
        versions.setdefault(canonicalize_name(name), set()).add(version)
    return versions


@pytest.mark.parametrize(
    ("lock", "asked"),
    [
        ("run", PROJECT["project"]["dependencies"]),
        ("build", PROJECT["build-system"]["requires"]),
        ("dev", [*PROJECT["project"]["dependencies"], *group("dev")]),
    ],
    ids=LOCKS,
)
def test_what_is_asked_for_is_locked(lock: str, asked: list[str]) -> None:
    versions = locked(lock)
    wrong = [
        f"{text}: {version}"
        for text in asked
        for version in versions.get(canonicalize_name(Requirement(text).name), {"none"})
        if version == "none" or version not in Requirement(text).specifier
    ]
    assert wrong == [], "make lock writes them anew"


def test_the_locks_agree() -> None:
    """One environment holds all three."""
    everything = locked("dev")
    for lock in ("run", "build"):
        assert {name: versions for name, versions in locked(lock).items() if versions != everything.get(name)} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_hashes_and_none_an_address(lock: str) -> None:
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    entries = re.findall(r"^[A-Za-z0-9._-]+==[^\n]*\\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE)
    assert len(entries) == len(re.findall("==[0-9]", re.sub(r" ;.*", "", text)))
    assert not re.search(r"https?:|file:|--index-url|--find-links|--trusted-host", text)


def test_groups_of_the_build_are_those_of_the_build_system() -> None:
    assert set(PROJECT["build-system"]["requires"]) <= set(group("build"))
