"""Pages and files for people."""
