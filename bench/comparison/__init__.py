"""The statistics of the start-up gate: starts by block in, ratios and outcomes out; no clock, no files."""
