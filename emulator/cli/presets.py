"""``gigawatt presets``: the built-in scenarios."""

from emulator.cli.output import Format, FormatOption, show_rows


def presets(output: FormatOption = Format.TABLE) -> None:
    """List the built-in scenarios."""
    from dataclasses import asdict

    from emulator.scenario import presets as built_in  # type: ignore[attr-defined,unused-ignore]

    show_rows([asdict(preset) for preset in built_in()], {"name": "NAME", "gpus": "GPUS", "description": "WHAT"}, output)
