"""The life of a job: what its time goes to."""
