"""Closures of the cell models as pure array functions, each returning its value and its derivatives."""
