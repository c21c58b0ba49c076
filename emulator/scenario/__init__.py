"""Scenarios as validated YAML, and the clusters that they describe."""

from emulator.scenario.build import build_cluster
from emulator.scenario.load import ScenarioError, dump, load, presets
from emulator.scenario.models import Scenario

__all__ = ["Scenario", "ScenarioError", "build_cluster", "dump", "load", "presets"]
