"""Pure rules: values in, values out. No I/O, no clock, no id made here (import-linter keeps it)."""
