"""Power, heat and water beyond the hosts: clocks and what they save, series over time, cooling, swings. Pure formulas, no state."""
