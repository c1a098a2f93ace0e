"""Blocks with state: heads, moving averages, banks, ghost batch norm."""
