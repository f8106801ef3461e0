"""What crosses a process boundary or is written down: values, messages, their versions."""
