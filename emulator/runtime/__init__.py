"""Where shards run: in Ray actors (``ray_shards``) or in this process (``inline``)."""
