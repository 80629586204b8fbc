"""What `python -m allconv` does: a function a command, which prints what it found."""
