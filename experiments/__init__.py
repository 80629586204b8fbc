"""Claims, one module each: what is claimed, the command, the minutes, the number."""
