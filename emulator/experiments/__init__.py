"""Experiments: many runs of the same thing, and what they say together."""
