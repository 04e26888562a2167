"""The dashboard: plain pages rendered on the server, without scripts, under a strict content policy."""
