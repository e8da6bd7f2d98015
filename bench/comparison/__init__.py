"""The statistics of the start-up gate: starts by block in, ratios and outcomes out. Pure; no clock, no files."""
