"""The simulator: the real product in a seeded world of failing processes, lost messages and wrong clocks."""
