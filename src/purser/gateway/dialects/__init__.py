"""The dialects that clients speak: how much each request's text is, and how its answers tell what was used."""
