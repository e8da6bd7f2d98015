#!/usr/bin/python3 -IS
# /// bench
# title   = "what the tenant can see and touch"
# area    = "probe"
# needs   = ["python3"]
# args    = {}
# ///
"""Looks around inside a sandbox, for what the host planted and for what it shares with the host."""
