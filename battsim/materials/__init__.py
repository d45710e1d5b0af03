"""Electrolytes, active materials and counter electrodes, one file per published set, with its source."""
