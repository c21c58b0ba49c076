"""Pictures of a machine: its tiers, its sites, and how busy its links were."""
