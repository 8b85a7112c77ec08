"""Whole runs as functions: what the command line offers, for use from Python."""
