"""What the models say beside what was published: ``gigawatt validate`` and docs/validity.md."""
