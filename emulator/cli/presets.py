"""``gigawatt presets``: the built-in scenarios."""

from emulator.cli.output import Format, FormatOption, show_rows


def presets(output: FormatOption = Format.TABLE) -> None:
    """List the built-in scenarios, the smallest first."""
    from emulator.scenario import load
    from emulator.scenario import presets as built_in
    from topology import catalog

    rows = []
    for name, description in built_in():
        cluster = load(name).cluster
        fabrics = cluster.parts or (cluster,)
        hosts = [catalog.host(fabric.host) for fabric in fabrics]
        gpus = sum((fabric.host_count or 0) * host.gpus for fabric, host in zip(fabrics, hosts, strict=True))
        kinds = ", ".join(dict.fromkeys(host.name for host in hosts))
        rows.append({"name": name, "gpus": gpus, "host": kinds, "description": description})
    rows.sort(key=lambda row: (row["gpus"], row["name"]))
    show_rows(rows, {"name": "NAME", "gpus": "GPUS", "host": "HOST", "description": "WHAT"}, output)
