"""What crosses a process boundary: subjects, messages, resources. Additive changes only."""
