"""How dates are written, by language: Django takes them from here before its own."""
