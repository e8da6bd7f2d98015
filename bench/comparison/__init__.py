"""Starts compared: blocks in, ratios and outcomes out. Pure; no I/O."""
