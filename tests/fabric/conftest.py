"""Small clusters for the fabric's tests."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from topology import catalog
from topology.clos import ClosPlan, build
from topology.cluster import Cluster
from topology.compile import compile_cluster


@pytest.fixture(scope="session")
def clos() -> Callable[..., Cluster]:
    """HGX H100 hosts (8 NICs of 400 Gb/s) under 64-port switches, in arrays of 4 hosts with a leaf per rail, unless asked otherwise."""

    @cache
    def make(**plan: Any) -> Cluster:
        host, switch = plan.pop("host", "hgx-h100"), plan.pop("switch", "qm9700")
        defaults: dict[str, Any] = {"name": "test", "hosts": 16, "hosts_per_rack": 4, "array_hosts": 4, "whole_arrays": True}
        return compile_cluster(build(ClosPlan(host=catalog.host(host), switch=catalog.switch(switch), **(defaults | plan))))

    return make
