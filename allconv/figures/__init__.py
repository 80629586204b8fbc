"""Draws what the other folders compute, and computes nothing."""
