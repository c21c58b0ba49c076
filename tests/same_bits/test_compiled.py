"""The compiled loop of the max-min solver has no operation that rounds less often than Python does."""

import platform
import re

import pytest

from emulator.fabric.filling import fill

#: What x86 and ARM call a multiplication and an addition in one.
FUSED = re.compile(r"\b(vfn?m(add|sub)\w*|fn?m(add|sub|la|ls))\b")


def assembly(*, fastmath: bool) -> str:
    import numba

    ints, floats, flags = numba.int64[::1], numba.float64[::1], numba.boolean[::1]
    signature = numba.void(
        *(ints, ints, floats, floats, ints, floats, floats, flags),
        *(ints, ints, ints, floats, ints, floats, floats, floats, floats, ints, ints, ints),
    )
    return str(numba.njit(signature, fastmath=fastmath)(fill).inspect_asm()[signature.args])


def test_nothing_is_fused() -> None:
    found = assembly(fastmath=False)
    assert re.search(r"\bv?mulsd|\bfmul\b", found), "there is a multiplication to be fused"
    assert not FUSED.search(found)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64", "aarch64", "arm64"), reason="names of instructions of other processors")
def test_it_would_be_seen() -> None:
    import llvmlite.binding

    if not llvmlite.binding.get_host_cpu_features().get("fma") and platform.machine() in ("x86_64", "AMD64"):
        pytest.skip("the processor cannot fuse")
    assert FUSED.search(assembly(fastmath=True))
