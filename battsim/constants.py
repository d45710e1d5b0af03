"""Constants: of physics, exact by the SI of 2019, and of the clock."""

FARADAY = 96485.33212331001
"""Charge of a mole of electrons, C/mol."""

GAS_CONSTANT = 8.31446261815324
"""Molar gas constant, J/(mol K)."""

SECONDS_PER_HOUR = 3600.0
"""Of the C-rate, and of ampere-hours."""
