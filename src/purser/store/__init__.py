"""What is remembered: the only SQL; rows in, core values out."""
