"""``gigawatt compare``: policies and placements side by side, over seeds or windows of a trace.

``cells`` says what is run, ``one_run`` runs it, ``metrics`` and ``fairness`` measure a run, ``intervals`` and ``comparison`` put the runs
together, ``tables``, ``plots`` and ``files`` show that.
"""
