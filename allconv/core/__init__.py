"""What every folder stands on: files, checks, the runtime."""
