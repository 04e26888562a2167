"""Who calls us: HTTP API, command line, pages and the worker; turns requests into flows."""
