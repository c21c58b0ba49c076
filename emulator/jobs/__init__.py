"""The life of a job that holds GPUs: its phases, its progress, and the account of its time."""
