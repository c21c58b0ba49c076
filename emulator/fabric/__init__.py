"""The links: the traffic of a placement on them, and how flows share them."""
