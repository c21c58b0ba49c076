"""Who holds which GPUs, who waits, and who is next: the job table, free GPUs by partition, ``policies`` and placement rules."""
