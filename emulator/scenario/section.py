"""Base classes and types of all sections of a scenario."""

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


class Section(BaseModel):
    """Immutable; values are not coerced (``"8"`` is no number), and unknown keys, NaN and infinities are errors."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def as_tuple(value: Any) -> Any:
    """A list of YAML as the tuple that an immutable section needs. Raises ValueError for anything else."""
    if isinstance(value, list | tuple):
        return tuple(value)
    raise ValueError(f"{value!r} is not a list")


def as_texts(value: Any) -> Any:
    """Options by name: whatever YAML has read of their values as the text that it was."""
    if not isinstance(value, dict):
        return value
    return {key: json.dumps(one) if isinstance(one, dict | list) else str(one) for key, one in value.items()}


#: A number that YAML 1.1 takes for text, since it wants a dot and a sign (2.5e+9).
_POWER_OF_TEN = re.compile(r"[0-9]+([.][0-9]*)?[eE][+-]?[0-9]{1,3}")


def _as_float(value: Any) -> Any:
    if isinstance(value, str) and _POWER_OF_TEN.fullmatch(value):
        return float(value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else value


def as_int(value: Any) -> Any:
    """2.0 as 2: many programs write every number so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Real = Annotated[float, BeforeValidator(_as_float)]
Int = Annotated[int, BeforeValidator(as_int)]


def _as_rate(value: Any) -> Any:
    """Of something that happens less often than that nobody will see it happen, and dividing by it must give a number."""
    if isinstance(value, float) and 0 < value < 1e-9:
        raise ValueError(f"{value!r} is no rate: allowed are 0, and 1e-9 and more")
    return value


Rate = Annotated[Real, AfterValidator(_as_rate)]
