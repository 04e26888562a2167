"""The command line: one module per noun; the parts they need are imported when they run."""
