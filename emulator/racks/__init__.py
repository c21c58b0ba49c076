"""The hardware: GPU and host state, power, energy, faults; a shard of whole racks (``shard``) and its messages (``messages``)."""
