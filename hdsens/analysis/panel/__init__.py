"""Frames made sure of: checked cells as arrays by point and seed, families, settings."""
