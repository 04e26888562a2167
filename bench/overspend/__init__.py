"""Overspend: what gateways bill and serve when more is asked of a budget than it affords."""
