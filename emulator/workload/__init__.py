"""What is asked of the cluster: jobs as columns, the training model, a generator of days and readers of traces."""
