"""The hot path: an OpenAI-compatible proxy that authorises in memory, relays and settles."""
