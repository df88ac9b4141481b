"""Price lists as files: a value, its three forms (YAML, CSV, XLSX), and how one is taken into the catalogue."""
