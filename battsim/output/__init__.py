"""Files from numbers: tables, fields, records, pictures."""
