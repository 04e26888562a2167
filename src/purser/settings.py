"""Settings: one purser.toml, overridden by PURSER_… variables; every key checked, every mistake located."""
