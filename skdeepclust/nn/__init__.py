"""Blocks with state: heads, moving averages, ghost batch norm."""
