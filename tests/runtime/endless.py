"""Reads two actors until it is interrupted, then once more; run by test_interrupt as a program."""

import signal

from emulator.fabric.settings import FabricSettings
from emulator.racks.shard import RackSettings
from emulator.runtime.ray_shards import RayShards
from tests.runtime.conftest import make_cluster


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts the tests in the background has it ignored
    shards = RayShards(make_cluster(), RackSettings(), FabricSettings(), 5, actors=2)
    try:
        print("running", flush=True)
        while True:
            shards.read(0)
    except KeyboardInterrupt:
        print(sum(len(reading.gpus) for reading in shards.read(0).racks), "racks", flush=True)
    finally:
        shards.close()


main()
