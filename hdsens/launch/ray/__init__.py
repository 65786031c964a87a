"""Packs as trials of Ray Tune, on this machine or a cluster."""
