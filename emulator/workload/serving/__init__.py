"""What a replica of a serving engine takes for a step, by model, GPU, precision and engine."""
