"""Time: the cycle, leaps to the next event, and what may be asked of a running emulation (``control``). Pure: no clock, no threads."""
