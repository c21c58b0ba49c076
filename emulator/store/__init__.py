"""What is kept on disk so that nothing accepted is lost."""
