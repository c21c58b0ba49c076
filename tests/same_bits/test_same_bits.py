"""The same bits on every kind of machine that this one can be: without AVX-512, without AVX2, under other versions of Python and numpy."""

import json
from functools import cache

import pytest

from tests.same_bits import machines

PRESETS = ("laptop", "eagle", "colossus", "frontier", "stargate-abilene")
OTHERS = [name for name in machines.disabled_features() if name != "all"]


@cache
def digest(preset: str, python: str | None = None, features: str = "all") -> str:
    """Of six hours; every kind of machine has another order of sets of strings."""
    arguments = ("-m", "emulator.cli", "run", preset, "--until", "6h", "--seed", "1", "--actors", "inline", "--json", "-q")
    options = {} if python is None else {"python": python}
    done = machines.run(*arguments, disabled=machines.disabled_features()[features], hash_seed=len(f"{python}{features}"), **options)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["digest"])


@cache
def bits(features: str) -> dict[str, str]:
    """The hash of every function's results, by name."""
    done = machines.run("-m", "tests.same_bits.print_bits", disabled=machines.disabled_features()[features])
    assert done.returncode == 0, done.stderr
    return {name: found for found, name in (line.split(" ", 1) for line in done.stdout.splitlines())}


@pytest.mark.parametrize("features", OTHERS)
def test_functions_have_the_same_bits_without_some_vector_instructions(features: str) -> None:
    ours, others = ({name: found for name, found in bits(kind).items() if name != "numpy's exp"} for kind in ("all", features))
    assert ours == others


def test_numpys_own_functions_do_not() -> None:
    """Were they the same everywhere, ours would not be needed, and the test above could not fail."""
    if "without AVX-512" not in OTHERS:
        pytest.skip("the processor has no AVX-512, which numpy has an exp of its own for")
    assert len({bits(kind)["numpy's exp"] for kind in machines.disabled_features()}) > 1


@pytest.mark.parametrize("features", OTHERS)
@pytest.mark.parametrize("preset", PRESETS)
def test_digests_are_the_same_without_some_vector_instructions(preset: str, features: str) -> None:
    assert digest(preset, features=features) == digest(preset)


@pytest.mark.parametrize("python", machines.pythons())
def test_digests_are_the_same_under_other_versions_of_python_and_numpy(python: str) -> None:
    try:
        done = machines.run("-c", "import emulator.runtime.session, emulator.report.summary, numpy", python=python)
    except FileNotFoundError:
        pytest.skip(f"{python} is not on the path")
    if done.returncode:
        why = next((line for line in done.stderr.splitlines() if "Error" in line or "not found" in line), "no reason given")
        pytest.skip(f"{python} cannot import gigawatt ({why}); `make digests` makes environments that can")
    assert {preset: digest(preset, python) for preset in PRESETS} == {preset: digest(preset) for preset in PRESETS}
