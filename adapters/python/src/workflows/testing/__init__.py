"""Workflows in a test: no database, no library, no waiting."""
